"""B1: the starter recipe through Prefect, ledger and S3, against the bare loop over the same models.

Both run in processes that are warm, models loaded. Ours is timed from submission to the moment the ledger has the last
item as done, which is after its final is stored; the bare loop keeps its images in memory. They take turns as
ours, bare, bare, ours: a machine that grows slower meanwhile slows both alike.
"""

from collections.abc import Iterator

from benchmarks.contract import Bar, Bench, Benchmark, Measures
from benchmarks.job_files import starter_items
from benchmarks.processes import cpu_seconds, rounded, spent
from benchmarks.resident import Resident
from benchmarks.rig import rig, run_until_stored

ITEMS = 512
TURNS = ("ours", "bare", "bare", "ours")
WARM_UP = 28  # items: some of every kind

BARS = {"ours_over_bare": Bar(least=0.95)}


def measure(bench: Bench) -> Iterator[Measures]:
    """Images a second of both, and their ratio."""
    count = bench.count(ITEMS, least=7)
    with rig(bench.folder, store="s3") as place:
        bare = Resident(["benchmarks.bare_process"], place.environment, bench.folder / "bare.log")
        try:
            warm_up = place.job("warm-up", 0, recipe="starter", items=starter_items(WARM_UP), seed=1)
            place.run(warm_up)
            bare.ask({"job": str(warm_up)})
            seconds: dict[str, list[float]] = {"ours": [], "bare": []}
            cpu: dict[str, list[dict[str, float]]] = {"ours": [], "bare": []}
            finished: list[float] = []
            for turn, who in enumerate(TURNS):
                # Seeds of their own, or else the second job would find its images made.
                job = place.job(f"turn-{turn}", 0, recipe="starter", items=starter_items(count), seed=turn + 2)
                if who == "bare":
                    before = cpu_seconds({"bare": [bare.process]})
                    seconds[who].append(float(bare.ask({"job": str(job)})["seconds"]))
                    used = spent(before, cpu_seconds({"bare": [bare.process]}))
                else:
                    stored, run = run_until_stored(place, job)
                    seconds[who].append(stored)
                    finished.append(run.seconds)
                    used = run.cpu
                cpu[who].append(used)
                bench.log(f"  {who}: {count / seconds[who][-1]:.2f} images/s, CPU {rounded(used)}")
        finally:
            bare.close()
    bench.details.update(items=count, seconds=seconds, seconds_with_finish=finished, cpu=cpu)
    ratios = [bare / ours for ours, bare in zip(seconds["ours"], seconds["bare"], strict=True)]
    yield {f"{who}_images_per_s": count * len(taken) / sum(taken) for who, taken in seconds.items()}
    yield {
        "ours_over_bare": sum(seconds["bare"]) / sum(seconds["ours"]),
        "ours_over_bare_lowest_pair": min(ratios),
        "ours_over_bare_highest_pair": max(ratios),
        "finish_seconds": sum(finished) / len(finished) - sum(seconds["ours"]) / len(seconds["ours"]),
    }


BENCHMARK = Benchmark("B1", "starter recipe through Prefect, ledger and S3 against the bare loop", BARS, measure)
