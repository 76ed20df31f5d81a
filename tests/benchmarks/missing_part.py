"""A benchmark that can measure only half of what it is for on this machine."""

from collections.abc import Iterator

from benchmarks.contract import Bar, Bench, Benchmark, Measures, Skipped


def measure(bench: Bench) -> Iterator[Measures]:
    yield {"first": 1.0}
    raise Skipped("no such device")


BENCHMARK = Benchmark("T2", "half of its measures", {"second": Bar(least=1)}, measure)
