"""How much of a kind of work fits the device's memory at once, remembered beyond the process.

The ladder, from the top: as many frames together as the settings allow, half as many … one, then one frame under each
relief that its step has. Work begins on the rung that worked last. What did not fit may fit later, when a neighbor on
the device has left: after PATIENCE full micro-batches, or when a day has passed, the next rung up is tried, and those
above it for as long as that works; after one that fails, the wait is twice as long.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from steps.contract import Frame, MemoryFallback, Step
from storage.ledger.records import BatchSize

PATIENCE = 64  # micro-batches: a failed try costs about one, so that tries stay below 2 % of the work
STALE = timedelta(days=1)


class BatchPlan(NamedTuple):
    """How many frames to compute together, under which relief; under any but NONE it is one."""

    size: int
    relief: MemoryFallback = MemoryFallback.NONE

    def is_above(self, other: "BatchPlan") -> bool:
        return (self.relief, -self.size) < (other.relief, -other.size)

    def next_up(self) -> "BatchPlan":
        return (
            BatchPlan(2 * self.size)
            if self.relief is MemoryFallback.NONE
            else BatchPlan(1, MemoryFallback(self.relief - 1))
        )

    def next_size_down(self) -> "BatchPlan":
        return BatchPlan(max(1, self.size // 2), self.relief)


class MemoryKey(NamedTuple):
    """A kind of work. `digest` is the same text in every process."""

    digest: str
    on_device: bool  # False: without models, so that it says nothing about a device


class SizeLedger(Protocol):
    """Where sizes outlive the process: the ledger."""

    def batch_sizes(self, device: str) -> Mapping[str, BatchSize]: ...

    def record_batch_size(self, device: str, key: str, size: int, relief: int) -> None: ...

    def forget_batch_size(self, device: str, key: str) -> None: ...


def memory_key(step: Step, frame: Frame, model_digests: Mapping[str, str]) -> MemoryKey:
    """Of the step's class, its models and all that it says decides the memory of this frame."""
    refs = [str(ref) for ref in step.model_refs()]
    models = {ref: model_digests.get(ref) for ref in refs}
    kind = f"{type(step).__module__}:{type(step).__qualname__}"
    text = json.dumps([kind, models, step.memory_key(frame)], sort_keys=True)
    return MemoryKey(hashlib.sha256(text.encode()).hexdigest(), bool(refs))


@dataclass(slots=True)
class _Standing:
    """Where a kind of work stands on the ladder."""

    rung: BatchPlan
    recorded: BatchPlan | None = None
    successes: int = 0  # full micro-batches on this rung since it was reached
    patience: int = PATIENCE


class BatchSizeCache:
    """The rungs on which work stands that did not fit as it came. Work that always fits is never in here.

    Safe to share between threads. Its methods raise the ledger's errors.
    """

    def __init__(self, ledger: SizeLedger | None = None, device: Callable[[], str] = lambda: "cpu") -> None:
        """`device` gives the name of the kind of device, such as `NVIDIA H100 80GB HBM3`; asked once, when needed."""
        self._ledger, self._device_name = ledger, device
        self._device: str | None = None  # None: nothing has been read from the ledger yet
        self._standings: dict[MemoryKey, _Standing] = {}
        self._lock = threading.Lock()

    def start(self, key: MemoryKey, limit: int) -> BatchPlan:
        """The rung to begin with: the one that worked last, the next one up when it is time to try that, or `limit`."""
        with self._lock:
            self._read(key)
            standing = self._standings.get(key)
            if standing is None:
                return BatchPlan(limit)
            rung = standing.rung.next_up() if standing.successes >= standing.patience else standing.rung
            return rung._replace(size=min(limit, rung.size))

    def worked(self, key: MemoryKey, rung: BatchPlan, limit: int) -> None:
        """A micro-batch of this size was computed."""
        with self._lock:
            standing = self._standings.get(key)
            if standing is None:
                return
            if rung == standing.rung:
                standing.successes += 1
                if standing.recorded != rung:
                    self._record(key, standing)
            elif rung.is_above(standing.rung):
                standing.rung, standing.successes, standing.patience = rung, PATIENCE, PATIENCE
                if rung.relief is MemoryFallback.NONE and rung.size >= limit:
                    self._forget(key, standing)
                else:
                    self._record(key, standing)
            elif rung.relief > standing.rung.relief:
                standing.rung, standing.successes = rung, 0
                self._record(key, standing)

    def did_not_fit(self, key: MemoryKey, rung: BatchPlan) -> bool:
        """A micro-batch of this size ran out of memory. Whether it was but a try of a rung above the one known."""
        with self._lock:
            standing = self._standings.setdefault(key, _Standing(rung))
            standing.successes = 0
            if not rung.is_above(standing.rung):
                standing.rung = rung.next_size_down()
                return False
            standing.patience *= 2
            if standing.recorded is not None:
                self._record(key, standing)  # as of today
            return True

    def look_up(self, key: MemoryKey) -> None:
        """What did not fit says nothing about the work to come: the next rung up is tried at once."""
        with self._lock:
            standing = self._standings.get(key)
            if standing is not None:
                standing.successes = standing.patience

    @property
    def device(self) -> str:
        """The name of the kind of device."""
        return self._device or self._device_name()

    def _read(self, key: MemoryKey) -> None:
        if self._ledger is None or self._device is not None or not key.on_device:
            return
        self._device = self._device_name()
        stale = datetime.now(UTC) - STALE
        for digest, known in self._ledger.batch_sizes(self._device).items():
            rung = BatchPlan(known.size, MemoryFallback(min(known.relief, max(MemoryFallback))))
            successes = PATIENCE if known.recorded_at < stale else 0
            self._standings[MemoryKey(digest, True)] = _Standing(rung, rung, successes)

    def _record(self, key: MemoryKey, standing: _Standing) -> None:
        if self._ledger is not None and self._device is not None and key.on_device:
            self._ledger.record_batch_size(self._device, key.digest, standing.rung.size, standing.rung.relief)
        standing.recorded = standing.rung

    def _forget(self, key: MemoryKey, standing: _Standing) -> None:
        if standing.recorded is not None and self._ledger is not None and self._device is not None and key.on_device:
            self._ledger.forget_batch_size(self._device, key.digest)
        del self._standings[key]
