"""Which processes belong to a home folder, and what they are: found from outside, so that none is missed."""

import time
from enum import StrEnum
from pathlib import Path

import psutil

LOOK_SECONDS = 0.05


class Part(StrEnum):
    """Role of a process in the job."""

    COMMAND = "command"  # `pixelmill run` or `resume`: it runs the burst
    WORKER = "worker"
    CHILD = "child"
    SERVER = "server"


def parts(home: Path) -> dict[Part, list[psutil.Process]]:
    """The living processes that were started for `home`, by what they are; helpers of other kinds are left out."""
    found: dict[Part, list[psutil.Process]] = {part: [] for part in Part}
    for process in members(home):
        try:
            part = _part(process.cmdline())
        except psutil.Error:
            continue
        if part is not None:
            found[part].append(process)
    return found


def members(home: Path) -> list[psutil.Process]:
    """All living processes whose PIXELMILL_HOME is `home`, including orphans."""
    return [process for process in psutil.process_iter() if _belongs(process, home)]


def kill_all(home: Path, seconds: float = 20) -> None:
    """SIGKILL for every process of `home`, and for what these start meanwhile. Raises TimeoutError if any stays."""
    deadline = time.monotonic() + seconds
    while alive := members(home):
        for process in alive:
            kill(process)
        if time.monotonic() > deadline:
            raise TimeoutError(f"cannot be killed: {alive}")
        time.sleep(LOOK_SECONDS)


def wait_for_all(home: Path, seconds: float) -> list[psutil.Process]:
    """Waits until `home` has no processes; returns those that are still there then."""
    # Not by psutil's wait: that would take the exit status of our own children away from who waits for it.
    deadline = time.monotonic() + seconds
    while (alive := members(home)) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return alive


def kill(process: psutil.Process) -> bool:
    """SIGKILL. False: it was gone already."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def _belongs(process: psutil.Process, home: Path) -> bool:
    try:
        return process.environ().get("PIXELMILL_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False


def _part(command: list[str]) -> Part | None:
    words = set(command)
    if "flows.prefect_api.server" in words:
        return Part.SERVER
    if "gpu_worker.process.worker_child" in words:
        return Part.CHILD
    if "flows.cli.main" in words:
        return Part.WORKER if "worker" in words else Part.COMMAND
    return None
