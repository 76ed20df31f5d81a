"""What tests do around a running `pixelmill` command: look into its ledger, find its processes, wait."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import psutil

from configs.settings.settings import Settings
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, Outcome, StepOutcome
from tests.support.command import Pixelmill


def recorded(shell: Pixelmill, step: str = "base") -> int:
    """How many items the ledger holds an image of this step for."""
    ledger = Ledger(Settings(home=shell.home).resolved_ledger_url)
    try:
        entries: list[StepOutcome | None] = [
            report.steps.get(step) for job in ledger.jobs.all() for report in ledger.items.reports(job.id)
        ]
        return sum(entry is not None and entry.outcome in (Outcome.COMPUTED, Outcome.REUSED) for entry in entries)
    finally:
        ledger.close()


def some_recorded(shell: Pixelmill) -> bool:
    return (shell.home / "ledger.db").exists() and recorded(shell) > 0


def only_job(shell: Pixelmill) -> JobRecord:
    ledger = Ledger(Settings(home=shell.home).resolved_ledger_url)
    try:
        (job,) = ledger.jobs.all()
        return job
    finally:
        ledger.close()


def wait_until(condition: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@contextmanager
def running_up(shell: Pixelmill, seconds: float = 300) -> Iterator[tuple[str, str]]:
    """`pixelmill up`, ready and then ended. Yields the API's URL and that of the galleries."""
    ui, galleries = free_ports(2)
    served = f"http://127.0.0.1:{galleries}"
    process = shell.start("up", "--port", str(ui), "--gallery-port", str(galleries))
    try:
        wait_until(lambda: process.poll() is not None or _answers(f"{served}/healthz"), seconds)
        assert process.poll() is None, process.communicate()
        yield f"http://127.0.0.1:{ui}/api", served
    finally:
        process.terminate()
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()


def _answers(address: str) -> bool:
    try:
        return httpx.get(address).is_success
    except httpx.TransportError:
        return False


def processes_below(process: "subprocess.Popen[str]", module: str) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children(recursive=True) if module in child.cmdline()]


def free_ports(count: int) -> list[int]:
    """Different ones, free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
