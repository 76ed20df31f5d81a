"""What the processes of a rig have used: CPU seconds and resident memory, by role."""

from collections.abc import Iterable, Mapping

import psutil

Family = Mapping[str, list[psutil.Process]]  # role -> its processes

MEGABYTE = 2**20


def cpu_seconds(family: Family) -> dict[str, float]:
    """User and system time since each process began, by role. Raises psutil.NoSuchProcess if one has ended."""
    return {role: sum(_cpu(process) for process in processes) for role, processes in family.items()}


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """CPU seconds by role between two looks, and their sum as `all`."""
    used = {role: after[role] - before[role] for role in before}
    return used | {"all": sum(used.values())}


def rounded(cpu: Mapping[str, float]) -> str:
    """CPU seconds by role, to read while a benchmark runs."""
    return ", ".join(f"{role} {seconds:.1f}" for role, seconds in cpu.items())


def resident_mb(family: Family) -> dict[str, float]:
    """Resident memory by role, MB."""
    return {
        role: sum(process.memory_info().rss for process in processes) / MEGABYTE for role, processes in family.items()
    }


def children_of(processes: Iterable[psutil.Process], module: str) -> list[psutil.Process]:
    """The direct children that run `python -m module`."""
    return [child for parent in processes for child in parent.children() if module in child.cmdline()]


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
