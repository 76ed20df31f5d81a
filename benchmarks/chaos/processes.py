"""Which processes belong to a home folder, and what they are: found from outside, so that none is missed."""

from enum import StrEnum
from pathlib import Path

import psutil


class Part(StrEnum):
    """What a process is to the job."""

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
    """All living processes whose PIXELMILL_HOME is `home`, those that nobody is the parent of any more too."""
    return [process for process in psutil.process_iter() if _belongs(process, home)]


def kill_all(home: Path, seconds: float = 20) -> list[psutil.Process]:
    """SIGKILL for every process of `home`, and for what these start meanwhile; returns those that would not die."""
    for _ in range(10):
        alive = members(home)
        if not alive:
            return []
        for process in alive:
            kill(process)
        psutil.wait_procs(alive, timeout=seconds / 10)
    return members(home)


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
    if "flows.server_process" in words:
        return Part.SERVER
    if "gpu_worker.warm_child" in words:
        return Part.CHILD
    if "flows.cli" in words:
        return Part.WORKER if "worker" in words else Part.COMMAND
    return None
