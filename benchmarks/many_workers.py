"""B6: whether more workers make more images: 1, 2, 4 and 8 workers, each with a simulated device.

The device is a step that sleeps 0.25 s for each image, what a large GPU takes for a distilled model of SDXL's size;
slower models leave the pipeline more time. Each worker has as many items to make whatever their number, in two shards,
so the jobs take equally long and what a burst costs once weighs the same in all of them. All processes share this
machine's cores: of a real fleet they would have more.

`linear` is images a second over those of one worker times their number. `busy` is the share of the wall time, from
submission to the end of the command, in which the simulated devices computed: it also counts what a single worker
loses, mostly at the start, between shards and in the finish.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contract import Bar, Bench, Benchmark, Measures
from benchmarks.resident import BenchmarkFailed
from benchmarks.rig import Rig, rig
from tests.support.null.steps import COMPUTE_LOG

FLEETS = (1, 2, 4, 8)
SECONDS = 0.25  # of simulated compute an image
SHARD = 240  # items: a minute; of five or ten, as they ought to be, a burst would lose less
SHARDS_PER_WORKER = 2
WARM_UP_TRIES = 5
WARM_UP_SECONDS = 5.0  # of a shard: long enough that other workers take the others

BARS = {"linear_at_4": Bar(least=0.95), "linear_at_8": Bar(least=0.9)}


def measure(bench: Bench) -> Iterator[Measures]:
    """Images a second, share of linear growth and share of busy devices, by number of workers."""
    shard = bench.count(SHARD, least=4)
    rates: dict[int, float] = {}
    for workers in FLEETS:
        folder = bench.folder / f"{workers}-workers"
        folder.mkdir()
        log = folder / "compute.jsonl"
        variables = {COMPUTE_LOG: str(log), "PIXELMILL_SHARD_SIZE": str(shard)}
        with rig(folder, workers=workers, variables=variables) as place:
            _warm_up(place, log, workers, shard)
            count = workers * SHARDS_PER_WORKER * shard
            run = place.run(place.job("fleet", count, recipe=_recipe(folder, SECONDS), seed=2))
        rates[workers] = count / run.seconds
        bench.details[f"{workers} workers"] = {"items": count, "seconds": run.seconds, "cpu": run.cpu}
        yield {
            f"images_per_s_at_{workers}": rates[workers],
            f"linear_at_{workers}": rates[workers] / rates[1] / workers,
            f"busy_at_{workers}": rates[workers] * SECONDS / workers,
        }


def _recipe(folder: Path, seconds: float) -> Path:
    path = folder / f"simulated-{seconds:.4f}.yaml"
    path.write_text(
        f"name: simulated\nsteps:\n  - {{id: base, step: null_generate, seconds: {seconds}}}\n"
        "  - {id: final, step: null_pass}\n"
    )
    return path


def _warm_up(place: Rig, log: Path, workers: int, shard: int) -> None:
    """Jobs of short shards until every worker has computed. Raises BenchmarkFailed if some never do."""
    recipe = _recipe(place.folder, WARM_UP_SECONDS / shard)
    for attempt in range(WARM_UP_TRIES):
        place.run(place.job(f"warm-up-{attempt}", workers * shard, recipe=recipe, seed=100 + attempt))
        if len({json.loads(line)["pid"] for line in log.read_text().splitlines()}) == workers:
            return
    raise BenchmarkFailed(f"not all of {workers} workers took shards of {WARM_UP_TRIES} jobs")


BENCHMARK = Benchmark("B6", "several workers with a simulated device", BARS, measure)
