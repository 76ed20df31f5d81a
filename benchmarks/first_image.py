"""B5: from the trigger to the first stored image, without the seconds that the image itself took to compute.

- cold: `pixelmill run` on a machine where nothing runs: it starts the server and a worker, which loads the model.
- command: the same command while a server and a worker with the model loaded are up.
- warm: a job submitted from a process that has its imports behind it, as a service would, to the same worker.

One item of the starter recipe; its first image is stored before the next step begins.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

from benchmarks.contract import Bar, Bench, Benchmark, Measures
from benchmarks.job_files import plain_items, write_job
from benchmarks.resident import BenchmarkFailed
from benchmarks.rig import Rig, clean_environment, rig
from configs.settings.settings import Settings
from storage.ledger.ledger import Ledger
from storage.ledger.records import StepOutcome

COLD_TIMES = 2
WARM_TIMES = 5

BARS = {"warm_overhead_seconds": Bar(most=3.0)}


def measure(bench: Bench) -> Iterator[Measures]:
    """Seconds until the first image, and those beyond its compute: medians, and the worst."""
    yield _measures(bench, "cold", [_cold(bench.folder / f"cold-{time}") for time in range(COLD_TIMES)])
    with rig(bench.folder / "warm") as place:
        place.run(_job(place, "warm-up"))
        commands, submissions = [], []
        for number in range(WARM_TIMES):
            commands.append(_command(place, _job(place, f"command-{number}")))
            job = _job(place, f"warm-{number}")
            run = place.run(job)
            submissions.append(_first_image(place.ledger, job.stem, run.started))
        yield _measures(bench, "command", commands)
        yield _measures(bench, "warm", submissions)


def _measures(bench: Bench, name: str, times: list[tuple[float, float]]) -> Measures:
    bench.details[name] = [{"seconds": seconds, "compute": compute} for seconds, compute in times]
    overheads = [seconds - compute for seconds, compute in times]
    return {
        f"{name}_seconds": median(seconds for seconds, _ in times),
        f"{name}_overhead_seconds": median(overheads),
        f"{name}_overhead_seconds_worst": max(overheads),
    }


def _job(place: Rig, name: str) -> Path:
    # The name is part of what the seed is derived from: no job finds its image made.
    items = [{**plain_items(1)[0], "name": name}]
    return place.job(name, 1, recipe="starter", items=items)


def _cold(folder: Path) -> tuple[float, float]:
    folder.mkdir()
    job = write_job(folder, "cold", recipe="starter", output=str(folder / "out"), items=plain_items(1))
    started = _run_command(job, clean_environment(folder))
    ledger = Ledger(Settings(home=folder / "home").resolved_ledger_url)
    try:
        return _first_image(ledger, "cold", started)
    finally:
        ledger.close()


def _command(place: Rig, job: Path) -> tuple[float, float]:
    return _first_image(place.ledger, job.stem, _run_command(job, place.environment))


def _run_command(job: Path, environment: Mapping[str, str]) -> float:
    """Runs the command to its end; returns when it was called."""
    started = time.time()
    line = [sys.executable, "-m", "flows.cli.main", "run", str(job), "--json"]
    done = subprocess.run(line, env=dict(environment), check=False, capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkFailed(f"`pixelmill run` ended with status {done.returncode}: {done.stderr[-2000:]}")
    return started


def _first_image(ledger: Ledger, name: str, started: float) -> tuple[float, float]:
    """Seconds from `started` until the job's first image was stored, and of its compute."""
    (job,) = [job for job in ledger.jobs.all() if job.name == name]
    (report,) = ledger.items.reports(job.id)
    first = min(report.steps.values(), key=_stored_at)
    return _stored_at(first) - started, first.seconds


def _stored_at(entry: StepOutcome) -> float:
    return entry.artefact.created_at.timestamp() if entry.artefact else float("inf")


BENCHMARK = Benchmark("B5", "trigger to first stored image, seconds", BARS, measure)
