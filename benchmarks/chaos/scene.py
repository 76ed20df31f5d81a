"""A job in a folder of its own, and the real commands that run it, each in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.chaos.ledger_view import LedgerView, Unreadable
from benchmarks.chaos.null_job import JOB, make_items, write_job
from benchmarks.chaos.objects import FolderObjects, Objects
from benchmarks.chaos.processes import kill_all, wait_for_all
from benchmarks.chaos.witness import Witness
from tests.support.null.steps import COMPUTE_LOG

ROOT = Path(__file__).parents[2]
SHARDS = 5  # of a job
SHARD_ATTEMPTS = 20  # how often a shard may fail is not what faults are to find out
SHARD_TIMEOUT = 30  # seconds, the least there is: so that a test need not wait longer
LEAVE_SECONDS = 45.0  # in which all processes must be gone after their command


@dataclass(frozen=True)
class Ended:
    """How a command ended. `status` as of subprocess: negative is the number of a signal."""

    status: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The end of its output, for a report."""
        return " | ".join((self.err.strip() or self.out.strip()).splitlines()[-3:])[-600:]


class Command:
    """A running `pixelmill` command. Its output goes to files: it never waits for a reader."""

    def __init__(self, arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str], log: Path) -> None:
        self._out, self._err = log.with_suffix(".out"), log.with_suffix(".err")
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.cli.main", *arguments],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,  # Ctrl-C is for the test, which cleans up
            )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait(self, seconds: float) -> Ended:
        """Waits for its end. Raises subprocess.TimeoutExpired."""
        status = self.process.wait(seconds)
        return Ended(status, self._out.read_text(errors="replace"), self._err.read_text(errors="replace"))


class Scene:
    """Use as a context manager: leaving it ends every process of the scene."""

    def __init__(
        self,
        folder: Path,
        *,
        items: int,
        seed: int,
        output: str | None = None,
        seconds: float = 0.012,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """A job not yet begun.

        Args:
            folder: For everything that belongs to it; is made.
            items: How many.
            seed: Of the items' own seeds.
            output: The store; default: a folder beside the job.
            seconds: What the simulated device takes for an image and step.
            environment: More variables for every command.
        """
        self.folder, self.home = folder, folder / "home"
        self.items = make_items(items, seed)
        self.compute_log = folder / "computed.jsonl"
        self.environment = _inherited() | {
            "PIXELMILL_HOME": str(self.home),
            "PIXELMILL_DEVICE": "cpu",
            "PIXELMILL_SHARD_SIZE": str(max(1, items // SHARDS)),
            "PIXELMILL_SHARD_ATTEMPTS": str(SHARD_ATTEMPTS),
            "PIXELMILL_SHARD_TIMEOUT": str(SHARD_TIMEOUT),
            "PIXELMILL_CATALOGUE_PATH": str(ROOT / "tests/support/null/catalogue.yaml"),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            COMPUTE_LOG: str(self.compute_log),
            **(environment or {}),
        }
        self.job_file = write_job(folder, self.items, output=output or "./out", seconds=seconds)
        self.objects: Objects = FolderObjects(folder / "out")
        self.ledger = LedgerView(self.environment.get("PIXELMILL_LEDGER_URL", f"sqlite:///{self.home / 'ledger.db'}"))
        self.witness = Witness(self.ledger)
        self._commands = 0

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Command:
        """Starts `pixelmill` with the arguments; `environment` adds to the scene's own."""
        self._commands += 1
        log = self.folder / f"command-{self._commands:02}-{arguments[0]}"
        return Command(arguments, self.folder, {**self.environment, **(environment or {})}, log)

    def run(self) -> Command:
        return self.start("run", str(self.job_file), "--json")

    def resume(self) -> Command:
        return self.start("resume", JOB, "--json")

    def has_begun(self) -> bool:
        """Return whether the job is in the ledger, as far as it can be read now."""
        try:
            return bool(self.ledger.jobs())
        except Unreadable:
            return False

    def left_behind(self) -> list[str]:
        """The processes that are still there long after the last command has ended."""
        return [str(process) for process in wait_for_all(self.home, LEAVE_SECONDS)]

    def __enter__(self) -> Self:
        self.witness.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.witness.__exit__(kind, error, trace)
        kill_all(self.home)


def _inherited() -> dict[str, str]:
    """This process's environment without what would change a command's settings."""
    foreign = ("PREFECT_", "PIXELMILL_", "AWS_", "BENCHMARK_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
