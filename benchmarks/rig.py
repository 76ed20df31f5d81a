"""All of Pixelmill on one machine, warm: a Prefect server, workers, a store, and a command that stays resident."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from benchmarks.job_files import RECIPES, plain_items, write_job
from benchmarks.processes import Family, children_of, cpu_seconds, spent
from configs.settings import Settings
from tests.storage.servers import rclone_s3

ROOT = Path(__file__).parents[1]
CATALOGUE = Path(__file__).parent / "catalogue.yaml"
END_SECONDS = 30.0

StoreKind = Literal["folder", "s3"]


class BenchmarkFailed(Exception):
    """What was to be measured did not work: there are no figures."""


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
        self._command = _Command(environment, folder / "command.log")

    @property
    def family(self) -> Family:
        """The processes of this moment by role: command, server, worker (the parents), child, and s3 if there."""
        children = children_of(self._processes["worker"], "gpu_worker.warm_child")
        return {"command": [self._command.process], **self._processes, "child": children}

    def job(self, name: str, count: int, *, recipe: str | Path = RECIPES / "null.yaml", **options: Any) -> Path:
        """Writes a job of `count` plain items, or of `items`; returns its file."""
        items = options.pop("items", None) or plain_items(count)
        return write_job(self.folder / "jobs", name, recipe=recipe, output=self.output, items=items, **options)

    def run(self, job: Path) -> Run:
        """Runs the job to its end. Raises BenchmarkFailed unless every item is done and no process was replaced."""
        family = self.family
        before = cpu_seconds(family)
        reply = self._command.ask(["run", str(job), "--json"])
        if reply["status"] or reply["document"]["status"] != "done":
            raise BenchmarkFailed(f"{job.name}: status {reply['status']}: {reply['document']}")
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


@contextmanager
def rig(folder: Path, *, store: StoreKind = "folder", workers: int = 1, **variables: str) -> Iterator[Rig]:
    """Starts everything below `folder`; `variables` are added to the environment of all processes."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = _environment(folder) | variables
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


def _environment(folder: Path) -> dict[str, str]:
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

    from flows.deployments import ensure_pool_and_deployments
    from flows.server import local_server

    settings = Settings(home=folder / "home")
    with temporary_settings(restore_defaults={PREFECT_API_URL}), local_server(settings) as url:
        with temporary_settings({PREFECT_API_URL: url}):
            ensure_pool_and_deployments(settings)
        yield url


def _server_pid(folder: Path) -> int:
    return int(json.loads((folder / "home" / "prefect" / "server.json").read_text())["pid"])


@contextmanager
def _worker(folder: Path, environment: Mapping[str, str], number: int) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "flows.cli", "worker", "start", "--name", f"worker-{number}"]
    command += ["--parent", str(os.getpid())]
    with (folder / f"worker-{number}.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        _end(process)


class _Command:
    """The parent's end of the resident command."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as errors:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.command_process"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.process = psutil.Process(self._popen.pid)
        self._read()

    def ask(self, arguments: list[str]) -> dict[str, Any]:
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps(arguments) + "\n")
        self._popen.stdin.flush()
        return self._read()

    def close(self) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        _end(self._popen)

    def _read(self) -> dict[str, Any]:
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            raise BenchmarkFailed(f"the command ended: {self._log.read_text()[-2000:]}")
        reply: dict[str, Any] = json.loads(line)
        return reply


def _end(process: "subprocess.Popen[Any]") -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
