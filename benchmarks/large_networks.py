"""B8: networks as large as SDXL's, with random weights in bfloat16, on a CUDA device: a bare diffusers loop against us.

Both have their weights loaded, compute micro-batches of four 1024 x 1024 images, and take turns as ours, bare, bare,
ours. Ours is timed from submission to the moment the ledger has the last item as done, its final in S3. The device's
load is the driver's, sampled from the first computing to the last.
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contract import Bar, Bench, Benchmark, Measures, Skipped
from benchmarks.gpu_load import busy_share, sampled_load
from benchmarks.job_files import plain_items
from benchmarks.resident import Resident
from benchmarks.rig import Rig, rig, run_until_stored
from benchmarks.sdxl_networks import SDXL, Sizes, write_networks

TURNS = ("ours", "bare", "bare", "ours")

BARS = {"ours_over_bare": Bar(least=0.97), "device_busy": Bar(least=0.95)}


@dataclass(frozen=True)
class Setting:
    """Work and device. The defaults are the benchmark's; a test computes less, on a CPU."""

    sizes: Sizes = SDXL
    device: str = "cuda"
    dtype: str = "bfloat16"
    items: int = 96
    batch: int = 4
    steps: int = 30
    guidance: float = 5.0
    load: Callable[[], AbstractContextManager[list[int]]] = sampled_load


def measure(bench: Bench) -> Iterator[Measures]:
    """Images a second of both, their ratio, and how busy the device was with ours, in its worse turn."""
    if not _has_cuda():
        raise Skipped("no CUDA device")
    yield from compare(bench, Setting(items=bench.count(96, least=8)))


def compare(bench: Bench, setting: Setting) -> Iterator[Measures]:
    weights = bench.folder / "weights"
    write_networks(weights, setting.sizes, device=setting.device, dtype=setting.dtype)
    models = bench.folder / "models"
    models.mkdir()
    (models / "large.yaml").write_text(
        f"name: large\nparts:\n  diffusion:\n    engine: diffusers\n    source: {weights}\n"
        f"    options: {{dtype: {setting.dtype}}}\n"
    )
    recipe = bench.folder / "large-recipe.yaml"
    recipe.write_text(
        f"name: large\nsteps:\n  - {{id: base, step: generate, model: large, steps: {setting.steps}, "
        f"guidance: {setting.guidance}}}\n"
    )
    variables = {
        "PIXELMILL_DEVICE": setting.device,
        "PIXELMILL_MODELS_PATH": str(models),
        "PIXELMILL_MICRO_BATCH": str(setting.batch),
    }
    with rig(bench.folder / "rig", store="s3", variables=variables) as place:
        command = ["benchmarks.diffusers_process", str(weights), setting.device, setting.dtype]
        bare = Resident(command, place.environment, bench.folder / "bare.log")
        try:
            yield from _take_turns(bench, setting, place, bare, recipe)
        finally:
            bare.close()


def _take_turns(bench: Bench, setting: Setting, place: Rig, bare: Resident, recipe: Path) -> Iterator[Measures]:
    place.warm_up(recipe=recipe, count=setting.batch)
    _bare(bare, setting, setting.batch)
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    loads: list[list[int]] = []
    for turn, who in enumerate(TURNS):
        if who == "bare":
            seconds[who].append(_bare(bare, setting, setting.items))
        else:
            job = place.job(f"turn-{turn}", setting.items, recipe=recipe, seed=turn + 2)
            with setting.load() as samples:
                seconds[who].append(run_until_stored(place, job)[0])
            loads.append(samples)
        bench.log(f"  {who}: {setting.items / seconds[who][-1]:.3f} images/s")
    bench.details.update(items=setting.items, seconds=seconds, device_load=loads)
    yield {f"{who}_images_per_s": setting.items * len(taken) / sum(taken) for who, taken in seconds.items()}
    yield {"ours_over_bare": sum(seconds["bare"]) / sum(seconds["ours"]), "device_busy": min(map(busy_share, loads))}


def _bare(process: Resident, setting: Setting, count: int) -> float:
    prompts = [item["prompt"] for item in plain_items(count)]
    request = {"prompts": prompts, "seeds": list(range(count)), "batch": setting.batch}
    return float(process.ask({**request, "steps": setting.steps, "guidance": setting.guidance})["seconds"])


def _has_cuda() -> bool:
    try:
        subprocess.run(["nvidia-smi"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    import torch

    return bool(torch.cuda.is_available())


BENCHMARK = Benchmark("B8", "SDXL-sized networks against a bare diffusers loop", BARS, measure)
