"""Encoding, hashing, upload and recording, in threads behind a bounded queue, while the device computes on."""

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from PIL import Image

from gpu_worker.device import telemetry
from gpu_worker.device.telemetry import cold_start
from gpu_worker.monitor.failures import BrokenInstallation, describe, full_traceback
from gpu_worker.shard.new_artefact import NewArtefact, store_artefact
from storage.ledger.finals import final_keys
from storage.ledger.ledger import Ledger
from storage.ledger.records import ArtefactRecord, ItemResult, ItemState, JobRecord, Outcome, StepOutcome
from storage.objects.artefacts import ArtefactStore, MissingObject, StoreError

logger = logging.getLogger(__name__)

# A chunk's step is one transaction, unless it takes longer than this: then what is written is recorded on the way, so
# that a killed worker loses seconds of compute and not minutes.
RECORD_SECONDS = 2.0
MAX_WAITING_BYTES = 2**30  # of decoded pixels: 64 upscaled images of 4096 x 4096 would be 4 GB

Written = Future[ArtefactRecord]


def known(record: ArtefactRecord) -> Written:
    """An artefact that is in the store already."""
    future: Written = Future()
    future.set_result(record)
    return future


@dataclass(frozen=True, slots=True)
class PendingResult:
    """How an item ends once its images are written. `images`: step id -> image, of the steps visited, in order."""

    name: str
    state: ItemState
    images: Mapping[str, Written] = field(default_factory=dict)
    error: str | None = None
    error_step: str | None = None
    warnings: tuple[str, ...] = ()
    refused_image: str | None = None  # fingerprint of the image that a gate refused
    refused_by: str | None = None  # the gate


@dataclass(frozen=True, slots=True)
class PendingOutcome:
    """A StepOutcome whose image may still be on its way to the store. `outcome` None: the end of an item alone."""

    index: int
    outcome: Outcome | None
    seconds: float = 0.0
    artefact: Written | None = None
    error: str | None = None
    traceback: str | None = None
    end: PendingResult | None = None
    cost: float = 0.0


class RecordBatch:
    """The outcomes of one step over one chunk. Recorded together, after every unit that was opened before."""

    def __init__(self, step_id: str, step: str, writer: "Writer") -> None:
        self.step_id = step_id
        self.step = step  # its name in the catalogue
        self.sealed = False
        self._writer = writer
        self._ready: list[PendingOutcome] = []
        self._waiting = 0  # for their images to be written
        self._writing: set[int] = set()  # items whose image of this step is being written
        self._held: dict[int, PendingOutcome] = {}  # their ends

    def add(self, entry: PendingOutcome) -> None:
        """Hands one outcome over; an item's end after its outcome, which is recorded first. Raises the writer's error.

        An end may be of another image than the step's own, as of a candidate that won against it.
        """
        with self._writer.changed:
            self._writer.check_open()
            self._waiting += 1
            if entry.outcome is not None:
                self._writing.add(entry.index)
        if entry.artefact is None:
            self._arrive(entry)
        else:
            entry.artefact.add_done_callback(lambda _: self._arrive(entry))

    def seal(self) -> None:
        """No outcome will follow."""
        with self._writer.changed:
            self.sealed = True
            self._writer.changed.notify_all()

    @property
    def is_complete(self) -> bool:
        return self.sealed and not self._waiting

    @property
    def has_ready(self) -> bool:
        return bool(self._ready)

    def take_ready(self) -> list[PendingOutcome]:
        """Removes and returns the entries whose images are written."""
        ready, self._ready = self._ready, []
        return ready

    def _arrive(self, entry: PendingOutcome) -> None:
        with self._writer.changed:
            if entry.outcome is None and entry.index in self._writing:
                self._held[entry.index] = entry
                return
            arrived = [entry]
            if entry.outcome is not None:
                self._writing.discard(entry.index)
                if (end := self._held.pop(entry.index, None)) is not None:
                    arrived.append(end)
            was_empty = not self._ready
            self._waiting -= len(arrived)
            self._ready += arrived
            # The recorder waits for the first one, to know when it is due, and for the last one.
            if was_empty or self.is_complete:
                self._writer.changed.notify_all()


class Writer:
    """Puts images into the store, and then what became of the items into the ledger: objects first, rows second.

    Holds at most `queue` images; `write` blocks while the store is slower than the device. The first StoreError,
    BrokenInstallation or ledger error stops it: images that wait are dropped, nothing is recorded any more, and every
    call raises that error. An image that cannot be encoded fails its item alone.

    `on_lost(index, artefact)` hears, from a thread of the writer, of items whose final image turned out to be missing
    from the store; they are not ended.
    """

    def __init__(
        self,
        *,
        store: ArtefactStore,
        ledger: Ledger,
        job: JobRecord,
        threads: int,
        queue: int,
        on_lost: Callable[[int, ArtefactRecord], None],
    ) -> None:
        self._store, self._ledger, self._job, self._on_lost = store, ledger, job, on_lost
        self.queue = queue
        self._waiting, self._waiting_bytes = 0, 0
        self._units: deque[RecordBatch] = deque()
        self._error: BaseException | None = None
        self._halted: BaseException | None = None
        self._closing = False
        self._failed: set[int] = set()  # items that failed while being written: later outcomes of theirs are void
        lock = threading.RLock()  # guards everything above
        self._recorded: defaultdict[int, set[str]] = defaultdict(set)  # item -> visits of its walk; the recorder's own
        self.changed = threading.Condition(lock)  # for who records, and who waits for that
        self._room = threading.Condition(lock)  # for who computes
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="pixelmill-write")
        self._recorder = threading.Thread(target=self._record_units, name="pixelmill-record", daemon=True)
        self._recorder.start()
        telemetry.writers.add(self)

    # -- for the thread that computes ------------------------------------------------------------------------------
    def write(self, artefact: NewArtefact) -> Written:
        """Queues an image; blocks while the queue is full. Raises the writer's first error."""
        size = pixel_bytes(artefact.image)
        with self._room:
            self._room.wait_for(lambda: self._error or self._halted or self._has_room(size))
            self.check_open()
            self._waiting += 1
            self._waiting_bytes += size
        # The context goes along: log lines then say which item and step they are about.
        return self._threads.submit(copy_context().run, self._write, artefact, size)

    def open_batch(self, step_id: str, step: str | None = None) -> RecordBatch:
        """Begins the outcomes of one step over one chunk. `step`: its name in the catalogue; default: its id."""
        unit = RecordBatch(step_id, step or step_id, self)
        with self.changed:
            self.check_open()
            self._units.append(unit)
        return unit

    def waiting(self) -> tuple[int, int]:
        """Images that wait to be written, and the bytes of their pixels."""
        return self._waiting, self._waiting_bytes

    def begin_anew(self, indices: Iterable[int]) -> None:
        """These items walk again from the start. Nothing of theirs may wait to be recorded."""
        for index in indices:
            self._recorded.pop(index, None)

    def flush(self) -> None:
        """Waits until everything is written and recorded. All units must be sealed. Raises the writer's first error."""
        with self.changed:
            self.changed.wait_for(lambda: self._error is not None or not self._units)
            self.check()

    def halt(self, error: BaseException) -> None:
        """Takes nothing more: the next call that hands something over raises `error`. What it has is still written."""
        with self._room:
            self._halted = error
            self._room.notify_all()

    def close(self, *, drop: bool = False) -> None:
        """Ends the threads after a flush; with `drop`, without one. Raises the writer's first error unless dropping."""
        try:
            if not drop:
                self.flush()
        finally:
            with self.changed:
                self._closing = True
                self.changed.notify_all()
            self._recorder.join()
            self._threads.shutdown(wait=True, cancel_futures=True)
            telemetry.writers.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        # What is computed is kept even though the shard stops, unless somebody wants the process to end now.
        try:
            with self.changed:
                for unit in self._units:
                    unit.sealed = True
                self.changed.notify_all()
            self.close(drop=not isinstance(error, Exception))
        except Exception as second:
            if second is not error:
                logger.warning("the writer also failed: %s", describe(second))

    def check(self) -> None:
        """Raises the writer's first error."""
        if self._error is not None:
            raise self._error

    def check_open(self) -> None:
        """Raises the writer's first error, or the one that it was halted with."""
        self.check()
        if self._halted is not None:
            raise self._halted

    # -- in the writer's threads -----------------------------------------------------------------------------------
    def _has_room(self, size: int) -> bool:
        return self._waiting == 0 or (self._waiting < self.queue and self._waiting_bytes + size <= MAX_WAITING_BYTES)

    def _write(self, artefact: NewArtefact, size: int) -> ArtefactRecord:
        try:
            self.check()
            record = store_artefact(artefact, self._store)
            cold_start.image_stored()
            return record
        except StoreError as error:
            self._stop(error)
            raise
        except ImportError as error:  # of what measures its facts
            broken = BrokenInstallation(error)
            self._stop(broken)
            raise broken from error
        except Exception as error:
            logger.warning("item failed: %s", describe(error), extra={"trace": full_traceback(error)})
            raise
        finally:
            with self._room:
                self._waiting -= 1
                self._waiting_bytes -= size
                self._room.notify_all()

    def _stop(self, error: BaseException) -> None:
        with self.changed:
            if self._error is None:
                self._error = error
            self.changed.notify_all()
            self._room.notify_all()

    def _record_units(self) -> None:
        recorded_at = time.monotonic()
        try:
            while (batch := self._next_batch(recorded_at)) is not None:
                unit, entries, complete = batch
                self._record(unit, entries)
                recorded_at = time.monotonic()
                if complete:
                    with self.changed:
                        self._units.popleft()
                        self.changed.notify_all()
        except Exception as error:
            self._stop(error)

    def _next_batch(self, recorded_at: float) -> tuple[RecordBatch, list[PendingOutcome], bool] | None:
        """Waits for outcomes that can be recorded. None: there will be none."""
        with self.changed:
            while self._error is None and not (self._closing and not self._complete_ahead()):
                due = recorded_at + RECORD_SECONDS - time.monotonic()
                unit = self._units[0] if self._units else None
                some = unit is not None and unit.has_ready
                complete = self._complete_ahead()
                if unit is not None and (complete or (some and due <= 0)):
                    return unit, unit.take_ready(), complete
                self.changed.wait(timeout=due if some else None)
            return None

    def _complete_ahead(self) -> bool:
        """Whether the oldest unit has all its outcomes."""
        return bool(self._units) and self._units[0].is_complete

    def _record(self, unit: RecordBatch, entries: list[PendingOutcome]) -> None:
        rows: list[StepOutcome] = []
        ending: list[Future[ItemResult | None]] = []
        for entry in entries:
            if entry.index in self._failed:
                continue
            row, end = self._settle(unit.step_id, entry)
            if row is not None:
                rows.append(row)
                self._recorded[entry.index].add(unit.step_id)
            if end is not None:
                ending.append(self._threads.submit(self._end, entry.index, end, frozenset(self._recorded[entry.index])))
        ends = [ended for future in ending if (ended := future.result()) is not None]
        if rows or ends:
            self._store.sync()
            self._ledger.steps.record(self._job.id, self._job.run, unit.step_id, rows, ends)
            telemetry.step_recorded(unit.step, rows, ends)

    def _settle(self, step_id: str, entry: PendingOutcome) -> tuple[StepOutcome | None, PendingResult | None]:
        """The outcome as the ledger takes it. An image that could not be encoded fails its item here."""
        error = entry.artefact.exception() if entry.artefact is not None else None
        if isinstance(error, (StoreError, BrokenInstallation)):
            raise error
        if error is not None:
            self._failed.add(entry.index)
            failure = describe(error)
            failed = StepOutcome(
                entry.index,
                Outcome.FAILED,
                entry.seconds,
                error=failure,
                traceback=full_traceback(error),
                cost=entry.cost,
            )
            return failed, PendingResult("", ItemState.FAILED, error=failure, error_step=step_id)
        if entry.outcome is None:
            return None, entry.end
        artefact = entry.artefact.result() if entry.artefact is not None else None
        return (
            StepOutcome(entry.index, entry.outcome, entry.seconds, artefact, entry.error, entry.traceback, entry.cost),
            entry.end,
        )

    def _end(self, index: int, end: PendingResult, visits: frozenset[str]) -> ItemResult | None:
        """Publishes the item's final images. None if one is gone from the store."""
        artefacts = {step_id: written.result() for step_id, written in end.images.items()}
        finals = final_keys(self._job, end.name, ((step_id, record.key) for step_id, record in artefacts.items()))
        for step_id, key in finals.items():
            artefact = artefacts[step_id]
            try:
                self._store.publish(artefact.key, key, content_type=artefact.content_type)
            except MissingObject:
                self._on_lost(index, artefact)
                return None
        return ItemResult(
            index,
            end.state,
            finals,
            end.error,
            end.error_step,
            end.warnings,
            refused_image=end.refused_image,
            refused_by=end.refused_by,
            visits=visits,
        )


def pixel_bytes(image: Image.Image) -> int:
    """What the decoded image takes in memory."""
    return image.width * image.height * len(image.getbands())
