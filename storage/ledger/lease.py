"""Leases: one process at a time works at a job or a shard, on whatever machine.

A holder confirms its lease every two seconds. Whoever finds a lease taken watches whether it is confirmed again: time
is measured by the watcher alone, so that no two clocks are ever compared, and a clock that jumps changes nothing.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from configs.reporting import Log, PixelmillError
from storage.ledger.holder import LeaseOwner, is_dead, read_holder, this_process
from storage.ledger.ledger import Ledger
from storage.ledger.records import Lease

HEARTBEAT_SECONDS = 2.0
# Without a beat for so long a holder is taken for gone. A holder that cannot confirm stops by itself before.
PATIENCE_SECONDS = 20.0
GIVE_UP_SECONDS = 15.0


class LeaseTaken(PixelmillError):
    """Another process works at it."""

    def __init__(self, name: str, holder: LeaseOwner) -> None:
        super().__init__(f"{name} is held by {holder.place}")
        self.holder = holder


class HeldLease:
    """A lease while it is held. `lost` says why it no longer is, or why its holder should stop."""

    def __init__(self) -> None:
        self.lost: str | None = None
        self._listeners: list[Callable[[str], object]] = []
        self._lock = threading.Lock()

    def when_lost(self, listener: Callable[[str], object]) -> None:
        """`listener` hears why, once, from another thread; at once if it is lost already."""
        with self._lock:
            if self.lost is None:
                self._listeners.append(listener)
                return
        listener(self.lost)

    def lose(self, reason: str) -> None:
        with self._lock:
            self.lost = reason
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener(reason)


def shard_lease(job_id: str, shard: int) -> str:
    return f"job {job_id} shard {shard}"


@contextmanager
def lease(
    name: str,
    ledger: Ledger,
    *,
    wait: bool = False,
    objection: Callable[[], str | None] = lambda: None,
    log: Log | None = None,
) -> Iterator[HeldLease]:
    """Holds `name` for this process, which may ask for it again.

    A holder that is gone is replaced: at once if it was on this machine, after `PATIENCE_SECONDS` without a sign of
    life otherwise. One that is alive makes it raise LeaseTaken, or, with `wait`, is waited for.

    While it is held, `objection` is asked at each beat; what it answers ends the holding, as does another process that
    took the lease over: see `HeldLease`.
    """
    process = this_process()
    outer = _held.get((process.pid, name))
    if outer is not None:
        yield outer
        return
    _take(name, ledger, process, wait=wait, objection=objection, log=log)
    held = _held[process.pid, name] = HeldLease()
    stop = threading.Event()
    beating = threading.Thread(
        target=_heartbeat, args=(name, ledger, process, held, stop, objection), name="lease", daemon=True
    )
    beating.start()
    try:
        yield held
    finally:
        stop.set()
        beating.join()
        del _held[process.pid, name]
        ledger.leases.drop(name, str(process))


def is_abandoned(name: str, ledger: Ledger, *, watch_seconds: float = 2 * HEARTBEAT_SECONDS) -> bool:
    """Whether nobody who is alive holds it. Watches a holder on another machine for a moment."""
    seen = ledger.leases.find([name]).get(name)
    if seen is None or is_dead(read_holder(seen.holder)):
        return True
    if read_holder(seen.holder).machine == this_process().machine:
        return False
    time.sleep(watch_seconds)
    return ledger.leases.find([name]).get(name) in (None, seen)


_held: dict[tuple[int, str], HeldLease] = {}  # by process, so that a forked child holds nothing


def _take(
    name: str, ledger: Ledger, process: LeaseOwner, *, wait: bool, objection: Callable[[], str | None], log: Log | None
) -> None:
    """Returns once the lease is this process's."""
    seen: Lease | None = None
    since = time.monotonic()
    told = False
    while True:
        dead = seen if seen is not None and _is_gone(seen, time.monotonic() - since) else None
        now = ledger.leases.take(name, str(process), dead=dead)
        if now.holder == str(process):
            return
        holder = read_holder(now.holder)
        if now != seen:
            moved = seen is not None and seen.holder == now.holder
            here = holder.machine == process.machine and not is_dead(holder)
            if (moved or here) and not wait:
                raise LeaseTaken(name, holder)
            seen, since = now, time.monotonic()
            continue
        if wait and objection() is not None:
            raise LeaseTaken(name, holder)
        if log is not None and not told:
            told = True
            log(f"waiting to see whether {holder.place} still works at {name}")
        time.sleep(HEARTBEAT_SECONDS / 4)


def _is_gone(seen: Lease, silence: float) -> bool:
    return silence > PATIENCE_SECONDS or is_dead(read_holder(seen.holder))


def _heartbeat(
    name: str,
    ledger: Ledger,
    process: LeaseOwner,
    held: HeldLease,
    stop: threading.Event,
    objection: Callable[[], str | None],
) -> None:
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
            # The database may be away for a moment. Later, somebody else may rightly think that nobody is here.
            if time.monotonic() - confirmed > GIVE_UP_SECONDS:
                reason = f"the ledger could not be reached: {error}"
    held.lose(reason)
