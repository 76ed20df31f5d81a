"""A benchmark whose measures are known."""

from collections.abc import Iterator

from benchmarks.contract import Bar, Bench, Benchmark, Measures


def measure(bench: Bench) -> Iterator[Measures]:
    yield {"items": bench.count(1000)}
    yield {"ratio": 0.9}


BENCHMARK = Benchmark("T1", "known measures", {"ratio": Bar(least=0.95)}, measure)
