"""All of Pixelmill on one machine, warm: a Prefect server, workers, a store, and a command that stays resident."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import psutil

from benchmarks.job_files import RECIPES, plain_items, write_job
from benchmarks.processes import Family, children_of, cpu_seconds, spent
from benchmarks.resident import BenchmarkFailed, Message, Resident, end
from configs.settings.settings import Settings
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobStatus, Progress
from tests.support.servers.s3 import rclone_s3

ROOT = Path(__file__).parents[1]
CATALOGUE = ROOT / "tests/support/null/catalogue.yaml"

StoreKind = Literal["folder", "s3"]
Look = Callable[[Progress], object]


@dataclass(frozen=True)
class Run:
    """A job's run through the resident command."""

    document: dict[str, Any]  # what `run --json` printed
    started: float  # time.time() at submission
    seconds: float  # from submission until the command is through, finish included
    cpu: dict[str, float]  # seconds by role, and `all`


class Rig:
    """The processes of one installation, and where its jobs go."""

    def __init__(self, folder: Path, output: str, environment: Mapping[str, str], processes: Family) -> None:
        self.folder, self.output, self.environment = folder, output, environment
        self._processes = processes
        self._command = Resident(["benchmarks.command_process"], environment, folder / "command.log")

    @property
    def family(self) -> Family:
        """The processes of this moment by role: command, server, worker (the parents), child, and s3 if there."""
        children = children_of(self._processes["worker"], "gpu_worker.process.worker_child")
        return {"command": [self._command.process], **self._processes, "child": children}

    def job(self, name: str, count: int, *, recipe: str | Path = RECIPES / "null.yaml", **options: Any) -> Path:
        """Writes a job of `count` plain items, or of `items`; returns its file."""
        items = options.pop("items", None) or plain_items(count)
        return write_job(self.folder / "jobs", name, recipe=recipe, output=self.output, items=items, **options)

    def run(self, job: Path, *, look: Look | None = None, every: float = 0.5, may_quarantine: bool = False) -> Run:
        """Runs the job to its end, and calls `look` with its progress every so many seconds.

        Raises BenchmarkFailed unless every item is done, or in quarantine where it may be, and no process was replaced.
        """
        family = self.family
        before = cpu_seconds(family)
        self._command.send({"arguments": ["run", str(job), "--json"]})
        running: str | None = None
        while look is not None and not self._command.has_replied(every):
            running = running or self._running(job.stem)
            if running is not None:
                look(self.ledger.items.progress(running))
        reply = self._command.reply()
        if not (_is_done(reply) or (may_quarantine and _is_done_or_quarantined(reply["document"]))):
            raise BenchmarkFailed(f"{job.name}: status {reply['status']}: {str(reply['document'])[:2000]}")
        try:
            used = spent(before, cpu_seconds(family))
        except psutil.NoSuchProcess as gone:
            raise BenchmarkFailed(f"{job.name}: process {gone.pid} ended while the job ran") from gone
        return Run(reply["document"], reply["started"], reply["ended"] - reply["started"], used)

    def warm_up(self, *, recipe: str | Path = RECIPES / "null.yaml", count: int = 64) -> None:
        """Runs a small job, so that all processes have imported and loaded what jobs of the recipe need."""
        self.run(self.job("warm-up", count, recipe=recipe, seed=1))

    def close(self) -> None:
        self._command.close()
        self.ledger.close()

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger that the processes share, for looking into."""
        return Ledger(Settings(home=self.folder / "home").resolved_ledger_url)

    def _running(self, name: str) -> str | None:
        """Id of the job of this name; None before its run has begun."""
        begun = [job.id for job in self.ledger.jobs.all() if job.name == name and job.status is JobStatus.RUNNING]
        return begun[0] if begun else None


def _is_done(reply: Message) -> bool:
    return not reply["status"] and reply["document"]["status"] == "done"


def _is_done_or_quarantined(document: dict[str, Any]) -> bool:
    items: dict[str, int] = document.get("items", {})
    return bool(items) and items["done"] + items["quarantined"] == items["total"]


def run_until_stored(place: Rig, job: Path) -> tuple[float, Run]:
    """Seconds from submission until the last final is stored, and the run."""
    stored: list[float] = []

    def look(progress: Progress) -> None:
        if not progress.pending:
            stored.append(time.time())

    run = place.run(job, look=look)
    return (stored[0] if stored else run.started + run.seconds) - run.started, run


@contextmanager
def rig(
    folder: Path, *, store: StoreKind = "folder", workers: int = 1, variables: Mapping[str, str] | None = None
) -> Iterator[Rig]:
    """Starts everything below `folder`; `variables` are added to the environment of all processes."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = clean_environment(folder) | dict(variables or {})
    output = str(folder / "out")
    processes: dict[str, list[psutil.Process]] = {}
    with ExitStack() as stack:
        if store == "s3":
            server = stack.enter_context(rclone_s3())
            environment |= server.environment
            output = f"s3://{server.bucket}/out"
            processes["s3"] = [psutil.Process(server.process.pid)]
        environment["PREFECT_API_URL"] = stack.enter_context(_prefect_server(folder))
        processes["server"] = [psutil.Process(_server_pid(folder))]
        started = [stack.enter_context(_worker(folder, environment, number)) for number in range(workers)]
        processes["worker"] = [psutil.Process(process.pid) for process in started]
        place = Rig(folder, output, environment, processes)
        stack.callback(place.close)
        yield place


def clean_environment(folder: Path) -> dict[str, str]:
    """The user's, without settings of Prefect and Pixelmill, which would make runs differ from machine to machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PIXELMILL_"))}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "PIXELMILL_HOME": str(folder / "home"),
        "PIXELMILL_DEVICE": "cpu",
        "PIXELMILL_CATALOGUE_PATH": str(CATALOGUE),
        "PREFECT_HOME": str(folder / "prefect-home"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


@contextmanager
def _prefect_server(folder: Path) -> Iterator[str]:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.prefect_api.deployments import ensure_pool_and_deployments
    from flows.prefect_api.server import local_server

    settings = Settings(home=folder / "home")
    with temporary_settings(restore_defaults={PREFECT_API_URL}), local_server(settings) as url:
        with temporary_settings({PREFECT_API_URL: url}):
            ensure_pool_and_deployments(settings)
        yield url


def _server_pid(folder: Path) -> int:
    return int(json.loads((folder / "home" / "prefect" / "server.json").read_text())["pid"])


@contextmanager
def _worker(folder: Path, environment: Mapping[str, str], number: int) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "flows.cli.main", "worker", "start", "--name", f"worker-{number}"]
    command += ["--parent", str(os.getpid())]
    with (folder / f"worker-{number}.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        end(process)
