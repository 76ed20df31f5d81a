"""B7: the same 1,000 items in two other ways: a Prefect task run for each image and step, and a Ray Data pipeline.

All three compute with the starter's models through the same steps, store the finals in the same S3 server, and have
their models loaded when the clock starts. What the others leave out is in docs/benchmarks.md: no ledger, no resume,
nothing stored between the steps.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contract import Bench, Benchmark, Measures, Skipped
from benchmarks.job_files import starter_items
from benchmarks.resident import BenchmarkFailed, Message, Resident
from benchmarks.rig import Rig, rig

ITEMS = 1_000
WARM_UP = 28  # items: some of every kind


def measure(bench: Bench) -> Iterator[Measures]:
    """Images a second of each way."""
    count = bench.count(ITEMS, least=7)
    with rig(bench.folder, store="s3") as place:
        place.run(_job(place, "warm-up", WARM_UP))
        run = place.run(_job(place, "ours", count))
        bench.details["ours"] = {"seconds": run.seconds, "cpu": run.cpu}
        yield {"ours_images_per_s": count / run.seconds}

        reply = _other(place, "benchmarks.prefect_per_image", count, warm_up=True)
        bench.details["prefect_per_image"] = reply
        yield {
            "prefect_images_per_s": count / reply["seconds"],
            "prefect_task_runs": reply["task_runs"],
            "prefect_task_runs_recorded": reply["recorded"],
        }
        if importlib.util.find_spec("ray") is None:
            raise Skipped("Ray is not installed: `make bench` does that")
        reply = _other(place, "benchmarks.ray_data", count, warm_up=False)
        bench.details["ray_data"] = reply
        yield {"ray_images_per_s": reply["images_per_s"], "ray_images_per_s_with_start": count / reply["seconds"]}


def _job(place: Rig, name: str, count: int) -> Path:
    return place.job(name, count, recipe="starter", items=starter_items(count), seed=len(name))


def _other(place: Rig, module: str, count: int, *, warm_up: bool) -> Message:
    name = module.rpartition(".")[2].replace("_", "-")
    environment = {**place.environment, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}  # of its own
    process = Resident([module], environment, place.folder / f"{name}.log")
    try:
        if warm_up:
            process.ask({"job": str(_job(place, f"{name}-warm-up", WARM_UP)), "output": place.output})
        reply = process.ask({"job": str(_job(place, name, count)), "output": place.output})
    finally:
        process.close()
    if reply["images"] != count:
        raise BenchmarkFailed(f"{module} made {reply['images']} of {count} images")
    return reply


BENCHMARK = Benchmark("B7", "the same items in other ways, images a second", {}, measure)
