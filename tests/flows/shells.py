"""What tests do around a running `pixelmill` command: look into its ledger, find its processes, wait."""

import subprocess
import time
from collections.abc import Callable

import psutil

from configs.settings import Settings
from storage.ledger import Ledger
from storage.records import JobRecord, Outcome, StepEntry
from tests.command import Pixelmill


def recorded(shell: Pixelmill, step: str = "base") -> int:
    """How many items the ledger holds an image of this step for."""
    ledger = Ledger(Settings(home=shell.home).resolved_ledger_url)
    try:
        entries: list[StepEntry | None] = [
            report.steps.get(step) for job in ledger.jobs() for report in ledger.item_reports(job.id)
        ]
        return sum(entry is not None and entry.outcome in (Outcome.COMPUTED, Outcome.REUSED) for entry in entries)
    finally:
        ledger.close()


def some_recorded(shell: Pixelmill) -> bool:
    return (shell.home / "ledger.db").exists() and recorded(shell) > 0


def only_job(shell: Pixelmill) -> JobRecord:
    ledger = Ledger(Settings(home=shell.home).resolved_ledger_url)
    try:
        (job,) = ledger.jobs()
        return job
    finally:
        ledger.close()


def wait_until(condition: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def processes_below(process: "subprocess.Popen[str]", module: str) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children(recursive=True) if module in child.cmdline()]
