"""What tests do around a running `pixelmill` command: look into its ledger, find its processes, wait."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from configs.settings.settings import Settings
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, Outcome, StepOutcome
from tests.support.command import Pixelmill
from tests.support.ports import free_port
from tests.support.waiting import wait_until


def recorded(shell: Pixelmill, step: str = "base") -> int:
    """How many items the ledger holds an image of this step for."""
    ledger = Ledger(Settings(home=shell.home).resolved_ledger_url)
    try:
        entries: list[StepOutcome | None] = [
            report.steps.get(step) for job in _jobs(shell, ledger) for report in ledger.items.reports(job.id)
        ]
        return sum(entry is not None and entry.outcome in (Outcome.COMPUTED, Outcome.REUSED) for entry in entries)
    finally:
        ledger.close()


def some_recorded(shell: Pixelmill) -> bool:
    return (shell.home / "ledger.db").exists() and recorded(shell) > 0


def only_job(shell: Pixelmill) -> JobRecord:
    ledger = Ledger(Settings(home=shell.home).resolved_ledger_url)
    try:
        (job,) = _jobs(shell, ledger)
        return job
    finally:
        ledger.close()


def _jobs(shell: Pixelmill, ledger: Ledger) -> list[JobRecord]:
    """The jobs that write below the shell's folder: others may share its home."""
    return [job for job in ledger.jobs.all() if Path(job.output.removeprefix("file://")).is_relative_to(shell.folder)]


@contextmanager
def running_up(shell: Pixelmill) -> Iterator[tuple[str, str]]:
    """`pixelmill up`, ready and then ended. Yields the API's URL and that of the galleries."""
    ui, galleries = free_port(), free_port()
    served = f"http://127.0.0.1:{galleries}"
    process = shell.start("up", "--port", str(ui), "--gallery-port", str(galleries))
    try:
        wait_until(lambda: process.poll() is not None or answers(f"{served}/healthz"))
        assert process.poll() is None, process.communicate()
        yield f"http://127.0.0.1:{ui}/api", served
    finally:
        process.terminate()
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()


def answers(address: str) -> bool:
    try:
        return httpx.get(address).is_success
    except httpx.TransportError:
        return False


def processes_below(process: "subprocess.Popen[str]", module: str) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children(recursive=True) if module in child.cmdline()]
