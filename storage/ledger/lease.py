"""Leases: one process at a time works at a job or a shard, on whatever machine.

An owner confirms its lease every two seconds. A process that finds a lease taken watches whether it is confirmed again:
time is measured by the watcher alone, so that clocks are never compared, and a clock that jumps changes nothing.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from configs.failures import Log, PixelmillError
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, JobStatus, Lease, ListedJob
from storage.objects.keys import sha256_hex

HEARTBEAT_SECONDS = 2.0
# Without a heartbeat for so long an owner counts as gone. An owner that cannot confirm stops by itself before.
PATIENCE_SECONDS = 20.0
GIVE_UP_SECONDS = 15.0
JOB_LEASES = "job "  # beginning of the names of all leases of jobs and shards


# -- owners ------------------------------------------------------------------------------------------------------------
class LeaseOwner(NamedTuple):
    """A process, as a text by which another one can check whether it still runs.

    `machine` identifies kernel and container; `start` distinguishes processes of the same number.
    """

    machine: str
    pid: int
    start: str
    nonce: str

    def __str__(self) -> str:
        return "/".join(str(part) for part in self)

    @property
    def place(self) -> str:
        """Host and process number, for messages."""
        return f"{self.machine.rpartition('-')[0]}, process {self.pid}"


def this_process() -> LeaseOwner:
    """Return the identity of this process: constant for its life; a forked child has its own."""
    return _process(os.getpid())


def read_owner(text: str) -> LeaseOwner:
    """Parse what `str` returns."""
    machine, pid, start, nonce = text.rsplit("/", 3)
    return LeaseOwner(machine, int(pid), start, nonce)


def is_dead(owner: LeaseOwner) -> bool:
    """Return whether the process has certainly ended; False for processes that cannot be seen from here."""
    return owner.machine == _machine() and process_start(owner.pid) != owner.start


@cache
def _process(pid: int) -> LeaseOwner:
    return LeaseOwner(_machine(), pid, process_start(pid), secrets.token_hex(4))


@cache
def _machine() -> str:
    # Containers may share a host's name, and numbers of processes repeat from one to the next.
    space = Path("/proc/self/ns/pid")
    here = f"{_text('/proc/sys/kernel/random/boot_id')} {space.readlink() if space.is_symlink() else ''}"
    return f"{socket.gethostname()}-{sha256_hex(here.encode())[:8]}"


def process_start(pid: int) -> str:
    """Return the process's start in ticks since boot, or "" if there is none or it is a zombie."""
    if not Path("/proc/self/stat").exists():  # no Linux: whether it is there is all that can be known
        return "?" if _exists(pid) else ""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _text(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text().strip()
    return ""


# -- leases ------------------------------------------------------------------------------------------------------------
class LeaseTaken(PixelmillError):
    """Another process owns the lease."""

    def __init__(self, name: str, owner: LeaseOwner) -> None:
        super().__init__(f"{name} is held by {owner.place}")
        self.owner = owner


class JobIsRunning(PixelmillError):
    """Another process runs the job."""


class JobTakenOver(PixelmillError):
    """The job belongs to another process by now: anything this one did would disturb it."""


class HeldLease:
    """A lease while it is held. `lost` is the reason why it no longer is, or why its owner should stop."""

    def __init__(self) -> None:
        self.lost: str | None = None
        self._listeners: list[Callable[[str], object]] = []
        self._lock = threading.Lock()

    def when_lost(self, listener: Callable[[str], object]) -> None:
        """Call `listener` with the reason, once, from another thread; at once if the lease is lost already."""
        with self._lock:
            if self.lost is None:
                self._listeners.append(listener)
                return
        listener(self.lost)

    def lose(self, reason: str) -> None:
        """Mark the lease as lost and call the listeners."""
        with self._lock:
            self.lost = reason
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener(reason)


class LeaseWatch:
    """Watch of leases for a missing heartbeat: a single observation cannot show whether a lease still changes."""

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._clock = patience, clock
        self._seen: dict[str, tuple[Lease | None, float]] = {}  # name -> as last observed, and since when

    def is_stale(self, name: str, lease: Lease | None, *, trust_death: bool = True) -> bool:
        """Observe a lease. Return whether its owner is dead, or it has been unchanged for longer than the patience.

        `trust_death`: whether the death of its owner counts.
        """
        if trust_death and lease is not None and is_dead(read_owner(lease.owner)):
            return True
        if name not in self._seen or self._seen[name][0] != lease:
            self._seen[name] = (lease, self._clock())
        return self._clock() - self._seen[name][1] > self._patience

    def forget(self, name: str) -> None:
        """Start over with a lease."""
        self._seen.pop(name, None)

    def keep_only(self, names: Collection[str]) -> None:
        """Forget all other leases."""
        self._seen = {name: seen for name, seen in self._seen.items() if name in names}


def shard_lease(job_id: str, shard: int) -> str:
    """Return the name of a shard's lease."""
    return f"{JOB_LEASES}{job_id} shard {shard}"


def lease_of_job(job_id: str) -> str:
    """Return the name of a job's lease."""
    return f"{JOB_LEASES}{job_id}"


def lease_of_pruning(root: str) -> str:
    """Return the name of the lease under which artefacts of a store are removed."""
    return f"prune {root}"


@contextmanager
def lease(
    name: str,
    ledger: Ledger,
    *,
    wait: bool = False,
    objection: Callable[[], str | None] = lambda: None,
    log: Log | None = None,
) -> Iterator[HeldLease]:
    """Hold `name` for this process; nested use within the process shares it.

    An owner that is gone is replaced: at once if it was on this machine, after `PATIENCE_SECONDS` without a heartbeat
    otherwise. If it is alive, raise LeaseTaken, or, with `wait`, wait for it.

    While the lease is held, `objection` is called at each heartbeat; a reason that it returns ends the holding, as does
    another process that took the lease over: see `HeldLease`.
    """
    process = this_process()
    outer = _held.get((process.pid, name))
    if outer is not None:
        yield outer
        return
    _take(name, ledger, process, wait=wait, objection=objection, log=log)
    held = _held[process.pid, name] = HeldLease()
    stop = threading.Event()

    def confirm() -> None:
        confirmed = time.monotonic()
        reason: str | None = None
        while reason is None:
            if stop.wait(HEARTBEAT_SECONDS):
                return
            began = time.monotonic()
            try:
                if ledger.leases.confirm(name, str(process)):
                    confirmed = began
                    reason = objection()
                else:
                    reason = "another process has taken it over"
            except Exception as error:
                # The database may be unreachable for a moment; after longer, another process may rightly take over.
                if time.monotonic() - confirmed > GIVE_UP_SECONDS:
                    reason = f"the ledger could not be reached: {error}"
        held.lose(reason)

    heartbeat = threading.Thread(target=confirm, name="lease", daemon=True)
    heartbeat.start()
    try:
        yield held
    finally:
        stop.set()
        heartbeat.join()
        del _held[process.pid, name]
        ledger.leases.drop(name, str(process))


@contextmanager
def job_lease(job_id: str, ledger: Ledger, *, log: Log | None = None) -> Iterator[HeldLease]:
    """Hold the job for this process; nested use shares it. Raises JobIsRunning while another live process holds it."""
    try:
        with lease(lease_of_job(job_id), ledger, log=log) as held:
            yield held
    except LeaseTaken as taken:
        message = f"{job_id} is running already on {taken.owner.place}; `pixelmill status {job_id}` shows how far it is"
        raise JobIsRunning(message) from None


@contextmanager
def job_run(job_id: str, ledger: Ledger, *, log: Log | None = None) -> Iterator[HeldLease]:
    """Hold the job for a run of it. Whatever ends the run early is recorded as the job's end, and its reason.

    So nothing goes on with what was refused: only a process that dies leaves a job running. Raises JobIsRunning.
    """
    with job_lease(job_id, ledger, log=log) as held:
        try:
            yield held
        except JobTakenOver:
            raise
        except BaseException as failure:
            if held.lost is None:
                is_interrupted = isinstance(failure, KeyboardInterrupt)
                status = JobStatus.CANCELLED if is_interrupted else JobStatus.FAILED
                reason = "interrupted" if is_interrupted else str(failure) or type(failure).__name__
                with suppress(Exception):  # a ledger that has failed too has nothing to add; the job may not be there
                    ledger.jobs.end_if_running(job_id, status, reason)
            raise


def is_abandoned(name: str, ledger: Ledger, *, watch_seconds: float = 2 * HEARTBEAT_SECONDS) -> bool:
    """Return whether no live process holds the lease. Watches an owner on another machine for a moment."""
    seen = ledger.leases.find([name]).get(name)
    if seen is None or is_dead(read_owner(seen.owner)):
        return True
    if read_owner(seen.owner).machine == this_process().machine:
        return False
    time.sleep(watch_seconds)
    return ledger.leases.find([name]).get(name) in (None, seen)


def is_held(job_id: str, ledger: Ledger) -> bool:
    """Return whether a live process runs, finishes or repairs the job. May take a few seconds."""
    return not is_abandoned(lease_of_job(job_id), ledger)


def is_interrupted(job: JobRecord, ledger: Ledger) -> bool:
    """Return whether the job's status is running although its process is gone. May take a few seconds."""
    return job.status is JobStatus.RUNNING and not is_held(job.id, ledger)


def interrupted_jobs(jobs: Sequence[JobRecord | ListedJob], ledger: Ledger) -> set[str]:
    """Return the ids of running jobs whose process is gone, as far as one look shows: those of this machine."""
    return set(OrphanedJobs().look([job.id for job in jobs if job.status is JobStatus.RUNNING], ledger))


class OrphanedJobs:
    """Detector of running jobs whose bursts are gone, by repeated observation."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._watch = LeaseWatch(PATIENCE_SECONDS, clock)

    def look(self, running: Sequence[str], ledger: Ledger) -> dict[str, Lease | None]:
        """Return the orphaned ones of the running jobs (ids), with their stale lease, or None if there is none.

        A job whose owner is known to be dead is orphaned at once, any other after `PATIENCE_SECONDS`.
        """
        names = {job_id: lease_of_job(job_id) for job_id in running}
        leases = ledger.leases.find(names.values())
        self._watch.keep_only(leases.keys())
        return {
            job_id: leases.get(name)
            for job_id, name in names.items()
            if name not in leases or self._watch.is_stale(name, leases[name])
        }


_held: dict[tuple[int, str], HeldLease] = {}  # by process, so that a forked child holds nothing


def _take(
    name: str, ledger: Ledger, process: LeaseOwner, *, wait: bool, objection: Callable[[], str | None], log: Log | None
) -> None:
    """Return once the lease is this process's."""
    watch = LeaseWatch(PATIENCE_SECONDS)
    seen: Lease | None = None
    logged = False
    while True:
        dead = seen if seen is not None and watch.is_stale(name, seen) else None
        now = ledger.leases.take(name, str(process), dead=dead)
        if now.owner == str(process):
            return
        owner = read_owner(now.owner)
        if now != seen:
            confirmed = seen is not None and seen.owner == now.owner
            here = owner.machine == process.machine and not is_dead(owner)
            if (confirmed or here) and not wait:
                raise LeaseTaken(name, owner)
            seen = now
            continue
        if wait and objection() is not None:
            raise LeaseTaken(name, owner)
        if log is not None and not logged:
            logged = True
            log(f"waiting to see whether {owner.place} still works at {name}")
        time.sleep(HEARTBEAT_SECONDS / 4)
