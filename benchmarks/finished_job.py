"""B4: what `plan` and `run` cost where everything is there already: two commands, each in a process of its own.

The job's recipe names a model, so that the commands could load one; they must not, nor import the library that would.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contract import Bar, Bench, Benchmark, Measures
from benchmarks.job_files import RECIPES
from benchmarks.resident import BenchmarkFailed
from benchmarks.rig import Rig, StoreKind, rig

ITEMS = 10_000
REPEATS = 3
LIMITS = {"plan": 5.0, "run": 15.0}  # seconds
STORES: tuple[StoreKind, ...] = ("folder", "s3")
HEAVY = frozenset({"torch", "diffusers", "onnxruntime"})  # what loads a model, imports one of these first

BARS = {
    **{f"{store}_{command}_seconds": Bar(most=limit) for store in STORES for command, limit in LIMITS.items()},
    **{f"{store}_models_loaded": Bar(most=0) for store in STORES},
    **{f"{store}_heavy_imports": Bar(most=0) for store in STORES},
}


def measure(bench: Bench) -> Iterator[Measures]:
    """Seconds of both commands by store, models loaded, and heavy libraries imported."""
    count = bench.count(ITEMS)
    for store in STORES:
        with rig(bench.folder / store, store=store) as place:
            job = place.job("finished", count, recipe=RECIPES / "null-model.yaml")
            first = place.run(job)
            bench.log(f"  {store}, {count:,} items made in {first.seconds:.1f} s")
            if not first.document["model_loads"]:
                raise BenchmarkFailed("the first run loaded no model: the second one proves nothing")
            yield from _commands(bench, place, job, store, count)


def _commands(bench: Bench, place: Rig, job: Path, store: str, count: int) -> Iterator[Measures]:
    seconds: dict[str, list[float]] = {command: [] for command in LIMITS}
    loaded = 0
    for _ in range(REPEATS):
        for command in LIMITS:
            taken, document = _run(place, command, job)
            done = document["items"]["done"]
            if done != count:
                raise BenchmarkFailed(f"{command} reports {done} of {count} items as done")
            seconds[command].append(taken)
            loaded += sum(document.get("model_loads", {}).values())
    bench.details[store] = seconds
    yield {f"{store}_{command}_seconds": median(taken) for command, taken in seconds.items()}
    yield {
        f"{store}_models_loaded": loaded,
        f"{store}_heavy_imports": sum(_imports(place, job, name) for name in LIMITS),
    }


def _run(place: Rig, command: str, job: Path) -> tuple[float, dict[str, Any]]:
    started = time.perf_counter()
    result = _command(place, command, job)
    return time.perf_counter() - started, json.loads(result.stdout)


def _imports(place: Rig, job: Path, command: str) -> int:
    """How many of the heavy libraries the command imports."""
    report = _command(place, command, job, "-X", "importtime").stderr
    imported = {line.rpartition("|")[2].strip() for line in report.splitlines() if line.startswith("import time:")}
    if "configs.settings.settings" not in imported:
        raise BenchmarkFailed("Python did not list its imports")
    return len(HEAVY & imported)


def _command(place: Rig, command: str, job: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, *options, "-m", "flows.cli.main", command, str(job), "--json"]
    return subprocess.run(line, env=dict(place.environment), check=True, capture_output=True, text=True)


BENCHMARK = Benchmark("B4", "plan and run of a finished job, seconds", BARS, measure)
