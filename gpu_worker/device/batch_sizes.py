"""The number of frames that fit the device's memory at once, by kind of work, remembered beyond the process.

Plans form a ladder, from the top: as many frames together as the settings allow, half as many … one, then one frame
under each memory fallback of its step. Work begins with the plan that succeeded last. Work that did not fit may fit
later, when another process has left the device: after PATIENCE full micro-batches, or after a day, the next plan up is
tried, and those above it for as long as that works; after one that fails, the wait doubles.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from steps.contract import Frame, MemoryFallback, Step
from storage.ledger.fleet import FleetRepository

PATIENCE = 64  # micro-batches: a failed try costs about one, so that tries stay below 2 % of the work
STALE = timedelta(days=1)


class BatchPlan(NamedTuple):
    """The number of frames to compute together, and the memory fallback; with any but NONE it is one frame."""

    size: int
    fallback: MemoryFallback = MemoryFallback.NONE

    def is_above(self, other: "BatchPlan") -> bool:
        return (self.fallback, -self.size) < (other.fallback, -other.size)

    def next_up(self) -> "BatchPlan":
        if self.fallback is MemoryFallback.NONE:
            return BatchPlan(2 * self.size)
        return BatchPlan(1, MemoryFallback(self.fallback - 1))

    def next_size_down(self) -> "BatchPlan":
        return BatchPlan(max(1, self.size // 2), self.fallback)


class MemoryKey(NamedTuple):
    """A kind of work. `digest` is the same text in every process."""

    digest: str
    on_device: bool  # False for steps without models, whose memory is not the device's


def memory_key(step: Step, frame: Frame, model_digests: Mapping[str, str]) -> MemoryKey:
    """Return the key of the step's class, its models and its own memory key for this frame."""
    refs = [str(ref) for ref in step.model_refs()]
    models = {ref: model_digests.get(ref) for ref in refs}
    kind = f"{type(step).__module__}:{type(step).__qualname__}"
    text = json.dumps([kind, models, step.memory_key(frame)], sort_keys=True)
    return MemoryKey(hashlib.sha256(text.encode()).hexdigest(), bool(refs))


@dataclass(slots=True)
class _KnownPlan:
    """The plan of a kind of work that did not fit as it came."""

    plan: BatchPlan
    recorded: BatchPlan | None = None
    successes: int = 0  # full micro-batches since the plan was reached
    patience: int = PATIENCE


class BatchSizeCache:
    """The plans of work that did not fit as it came. Work that always fits is not in here.

    Safe to share between threads. Its methods raise the ledger's errors.
    """

    def __init__(self, ledger: FleetRepository | None = None, device: Callable[[], str] = lambda: "cpu") -> None:
        """`device` returns the kind of device, such as `NVIDIA H100 80GB HBM3`; it is called once, when needed."""
        self._ledger, self._device_name = ledger, device
        self._device: str | None = None  # None until the ledger has been read
        self._known: dict[MemoryKey, _KnownPlan] = {}
        self._lock = threading.Lock()

    def start(self, key: MemoryKey, limit: int) -> BatchPlan:
        """Return the plan to begin with: the last that worked, the next one up if it is due for a try, or `limit`."""
        with self._lock:
            self._read(key)
            known = self._known.get(key)
            if known is None:
                return BatchPlan(limit)
            plan = known.plan.next_up() if known.successes >= known.patience else known.plan
            return plan._replace(size=min(limit, plan.size))

    def worked(self, key: MemoryKey, plan: BatchPlan, limit: int) -> None:
        """Note that a micro-batch of this plan was computed."""
        with self._lock:
            known = self._known.get(key)
            if known is None:
                return
            if plan == known.plan:
                known.successes += 1
                if known.recorded != plan:
                    self._record(key, known)
            elif plan.is_above(known.plan):
                known.plan, known.successes, known.patience = plan, PATIENCE, PATIENCE
                if plan.fallback is MemoryFallback.NONE and plan.size >= limit:
                    self._forget(key, known)
                else:
                    self._record(key, known)
            elif plan.fallback > known.plan.fallback:
                known.plan, known.successes = plan, 0
                self._record(key, known)

    def did_not_fit(self, key: MemoryKey, plan: BatchPlan) -> bool:
        """Note that a micro-batch ran out of memory. Return whether it only tried a plan above the known one."""
        with self._lock:
            known = self._known.setdefault(key, _KnownPlan(plan))
            known.successes = 0
            if not plan.is_above(known.plan):
                known.plan = plan.next_size_down()
                return False
            known.patience *= 2
            if known.recorded is not None:
                self._record(key, known)  # renews its date
            return True

    def try_next_up(self, key: MemoryKey) -> None:
        """Have the next plan up tried at once, for a failure that does not predict the work to come."""
        with self._lock:
            if (known := self._known.get(key)) is not None:
                known.successes = known.patience

    @property
    def device(self) -> str:
        """The name of the kind of device."""
        return self._device or self._device_name()

    def _read(self, key: MemoryKey) -> None:
        if self._ledger is None or self._device is not None or not key.on_device:
            return
        self._device = self._device_name()
        stale = datetime.now(UTC) - STALE
        for digest, row in self._ledger.batch_sizes(self._device).items():
            plan = BatchPlan(row.size, MemoryFallback(min(row.fallback, max(MemoryFallback))))
            successes = PATIENCE if row.recorded_at < stale else 0
            self._known[MemoryKey(digest, True)] = _KnownPlan(plan, plan, successes)

    def _record(self, key: MemoryKey, known: _KnownPlan) -> None:
        if self._ledger is not None and self._device is not None and key.on_device:
            self._ledger.record_batch_size(self._device, key.digest, known.plan.size, known.plan.fallback)
        known.recorded = known.plan

    def _forget(self, key: MemoryKey, known: _KnownPlan) -> None:
        if known.recorded is not None and self._ledger is not None and self._device is not None and key.on_device:
            self._ledger.forget_batch_size(self._device, key.digest)
        del self._known[key]
