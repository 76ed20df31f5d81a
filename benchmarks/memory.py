"""B3: whether memory climbs: resident memory of each process while a job of 10,000 items runs.

Growth is what a process reaches after the first 1,000 items, finish included, beyond what it held when they were done.
The finish is in it because that is where a burst could come to hold all items at once. The job's last chunks are as
large as its first ones, so what is kept for each item shows.
"""

from collections.abc import Iterator

import psutil

from benchmarks.contract import Bar, Bench, Benchmark, Measures
from benchmarks.processes import resident_mb
from benchmarks.resident import BenchmarkFailed
from benchmarks.rig import Rig, rig
from storage.ledger.records import Progress

ITEMS = 10_000
FIRST = 1_000
LIMIT_MB = 50.0
ROLES = {"worker": "worker", "child": "child", "command": "burst", "server": "server"}  # of the rig -> as reported
EVERY = 0.2  # seconds

BARS = {f"{name}_growth_mb": Bar(most=LIMIT_MB) for name in ROLES.values()}

Sample = tuple[int, dict[str, float]]  # items ended, MB by role


def measure(bench: Bench) -> Iterator[Measures]:
    """MB of growth by process, and what each held after the first items."""
    count, first = bench.count(ITEMS, least=100), bench.count(FIRST, least=10)
    with rig(bench.folder, store="s3") as place:
        place.warm_up()
        samples = _run(place, count)
    bench.details["samples"] = [{"items": items, **held} for items, held in samples[:: max(1, len(samples) // 200)]]
    for role, name in ROLES.items():
        held, most = growth(samples, role, first)
        yield {f"{name}_growth_mb": most - held, f"{name}_mb_after_first": held}


def growth(samples: list[Sample], role: str, first: int) -> tuple[float, float]:
    """MB when `first` items were done, and the most ever after. Raises BenchmarkFailed without such samples."""
    after = [held[role] for items, held in samples if items >= first]
    if len(after) < 2:
        raise BenchmarkFailed("the job was too short to see memory grow")
    return after[0], max(after)


def _run(place: Rig, count: int) -> list[Sample]:
    samples: list[Sample] = []

    def look(progress: Progress) -> None:
        try:
            samples.append((progress.total - progress.pending, resident_mb(place.family)))
        except psutil.NoSuchProcess as gone:
            raise BenchmarkFailed(f"process {gone.pid} ended while the job ran") from gone

    place.run(place.job("memory", count, seed=2), look=look, every=EVERY)
    return samples


BENCHMARK = Benchmark("B3", f"growth of resident memory over {ITEMS:,} items, MB", BARS, measure)
