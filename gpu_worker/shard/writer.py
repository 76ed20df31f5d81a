"""Encoding, hashing, upload and recording in threads behind a bounded queue, while the device goes on computing."""

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self, TypeVar

from PIL import Image

from gpu_worker.device import telemetry
from gpu_worker.device.telemetry import cold_start
from gpu_worker.monitor.failures import BrokenInstallation, describe, explain, full_traceback
from gpu_worker.shard.stored_images import NewArtefact, store_artefact
from gpu_worker.walk.item_context import step_warnings
from storage.images.thumbnails import has_thumbnail, store_thumbnail, thumbnail
from storage.ledger.ledger import Ledger
from storage.ledger.records import ArtefactRecord, ItemResult, ItemState, JobRecord, Outcome, StepOutcome, final_keys
from storage.objects.artefacts import ArtefactStore, MissingObject, StoreError

logger = logging.getLogger(__name__)

# A chunk's step is one transaction, unless it takes longer than this: written images are then recorded on the way, so
# that a killed worker loses seconds of compute and not minutes.
RECORD_SECONDS = 2.0
MAX_WAITING_BYTES = 2**30  # of decoded pixels: 64 upscaled images of 4096 x 4096 would be 4 GB

_T = TypeVar("_T")

Written = Future[ArtefactRecord]


def completed(value: _T) -> Future[_T]:
    """Return a future that has its result, such as an artefact that is in the store already."""
    future: Future[_T] = Future()
    future.set_result(value)
    return future


@dataclass(frozen=True, slots=True)
class PendingResult:
    """The end of an item once its images are written. `images`: visit id -> image of each visit, in order.

    `measured` are the steps that count, those that only measure included, with the records of their facts.
    """

    name: str
    result: ItemResult  # without finals and without warnings of steps
    images: Mapping[str, Written] = field(default_factory=dict)
    measured: tuple[tuple[str, Written], ...] = ()


@dataclass(frozen=True, slots=True)
class PendingOutcome:
    """A StepOutcome whose image may still be on its way to the store, or, without an `outcome`, the end of an item."""

    index: int
    outcome: Outcome | None
    seconds: float = 0.0
    artefact: Written | None = None
    error: str | None = None
    traceback: str | None = None
    end: PendingResult | None = None
    cost: float = 0.0


class RecordBatch:
    """The outcomes of one step over one chunk. Recorded together, after every batch that was opened before."""

    def __init__(self, visit_id: str, step: str, changed: threading.Condition, check_open: Callable[[], None]) -> None:
        self.visit_id = visit_id
        self.step = step  # its name in the catalogue
        self._changed, self._check_open = changed, check_open  # the writer's
        self._closed = False
        self._ready: list[PendingOutcome] = []
        self._waiting = 0  # for their images to be written
        # Items whose image of this step is being written, and the ends that have to wait for it.
        self._writing: dict[int, list[PendingOutcome]] = {}

    def add(self, pending: PendingOutcome) -> None:
        """Hand one outcome over, or an item's end after its outcome. Raises the writer's error.

        An end may have an image other than the step's own, such as a candidate that won against it.
        """
        with self._changed:
            self._check_open()
            self._waiting += 1
            if pending.outcome is not None:
                self._writing.setdefault(pending.index, [])
        if pending.artefact is None:
            self._arrive(pending)
        else:
            pending.artefact.add_done_callback(lambda _: self._arrive(pending))

    def close(self) -> None:
        """Mark the batch as complete but for the images still being written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def is_complete(self) -> bool:
        return self._closed and not self._waiting

    @property
    def has_ready(self) -> bool:
        return bool(self._ready)

    def take_ready(self) -> list[PendingOutcome]:
        """Remove and return the outcomes whose images are written."""
        ready, self._ready = self._ready, []
        return ready

    def _arrive(self, pending: PendingOutcome) -> None:
        with self._changed:
            arrived = [pending]
            if pending.outcome is not None:
                arrived += self._writing.pop(pending.index, ())
            elif pending.index in self._writing:
                self._writing[pending.index].append(pending)
                return
            was_empty = not self._ready
            self._waiting -= len(arrived)
            self._ready += arrived
            # The recorder waits for the first one, to know when it is due, and for the last one.
            if was_empty or self.is_complete:
                self._changed.notify_all()


class Writer:
    """Puts images into the store, and then outcomes and ends of items into the ledger: objects first, rows second.

    Holds at most `queue` images; `write` blocks while the store is slower than the device. The first StoreError,
    BrokenInstallation or ledger error stops it: waiting images are dropped, nothing more is recorded, and every call
    raises that error. An image that cannot be encoded fails only its item.

    `on_lost(index, artefact)` is called, from a thread of the writer, for items whose final image turned out to be
    missing from the store; they are not ended.
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
        self._batches: deque[RecordBatch] = deque()
        self._error: BaseException | None = None
        self._halted: BaseException | None = None
        self._closing = False
        self._changed = threading.Condition()  # guards everything above, and the batches
        self._failed: set[int] = set()  # items that failed while being written, whose later outcomes are void
        self._recorded: defaultdict[int, set[str]] = defaultdict(set)  # item -> recorded visits; the recorder's own
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="pixelmill-write")
        self._recorder = threading.Thread(target=self._record_batches, name="pixelmill-record", daemon=True)
        self._recorder.start()
        telemetry.writers.add(self)

    # -- for the computing thread ----------------------------------------------------------------------------------
    def write(self, artefact: NewArtefact) -> Written:
        """Queue an image; block while the queue is full. Raises the writer's first error."""
        size = pixel_bytes(artefact.image)
        with self._changed:
            self._changed.wait_for(lambda: self._error or self._halted or self._has_room(size))
            self.check_open()
            self._waiting += 1
            self._waiting_bytes += size
        # The context carries the step and item for log lines.
        return self._threads.submit(copy_context().run, self._write, artefact, size)

    def open_batch(self, visit_id: str, step: str | None = None) -> RecordBatch:
        """Begin the outcomes of one step over one chunk. `step` is its name in the catalogue, by default its id."""
        batch = RecordBatch(visit_id, step or visit_id, self._changed, self.check_open)
        with self._changed:
            self.check_open()
            self._batches.append(batch)
        return batch

    def waiting(self) -> tuple[int, int]:
        """Return the number of images that wait to be written, and the bytes of their pixels."""
        return self._waiting, self._waiting_bytes

    def restart(self, indices: Iterable[int]) -> None:
        """Forget the recorded visits of items that start again. None of their outcomes may be pending."""
        for index in indices:
            self._recorded.pop(index, None)

    def flush(self) -> None:
        """Wait until all batches, which must be closed, are written and recorded. Raises the writer's first error."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or not self._batches)
            self.check()

    def halt(self, error: BaseException) -> None:
        """Accept nothing more: the next call that hands something over raises `error`. Accepted images are written."""
        with self._changed:
            self._halted = error
            self._changed.notify_all()

    def close(self, *, drop: bool = False) -> None:
        """End the threads after a flush; with `drop`, without one. Raises the writer's first error unless dropping."""
        try:
            if not drop:
                self.flush()
        finally:
            with self._changed:
                self._closing = True
                self._changed.notify_all()
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
        # Computed images are kept even though the shard stops, unless the process is asked to end at once.
        try:
            with self._changed:
                for batch in self._batches:
                    batch.close()
            self.close(drop=not isinstance(error, Exception))
        except Exception as second:
            if second is not error:
                logger.warning("the writer also failed: %s", describe(second))

    def check(self) -> None:
        """Raise the writer's first error, if there is one."""
        if self._error is not None:
            raise self._error

    def check_open(self) -> None:
        """Raise the writer's first error, or the one that it was halted with, if there is one."""
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
            if has_thumbnail(record):  # now, while its pixels are here
                store_thumbnail(self._store, self._job.name, record, thumbnail(artefact.image))
            return record
        except StoreError as error:
            self._stop(error)
            raise
        except ImportError as error:  # from measuring its facts
            broken = BrokenInstallation(error)
            self._stop(broken)
            raise broken from error
        except Exception as error:
            logger.warning("item failed: %s", describe(error), extra={"trace": full_traceback(error)})
            raise
        finally:
            with self._changed:
                self._waiting -= 1
                self._waiting_bytes -= size
                self._changed.notify_all()

    def _stop(self, error: BaseException) -> None:
        with self._changed:
            if self._error is None:
                self._error = error
            self._changed.notify_all()

    def _record_batches(self) -> None:
        recorded_at = time.monotonic()
        try:
            while (due := self._next_ready(recorded_at)) is not None:
                batch, ready, is_complete = due
                self._record(batch, ready)
                recorded_at = time.monotonic()
                if is_complete:
                    with self._changed:
                        self._batches.popleft()
                        self._changed.notify_all()
        except Exception as error:
            self._stop(error)

    def _next_ready(self, recorded_at: float) -> tuple[RecordBatch, list[PendingOutcome], bool] | None:
        """Wait for outcomes to record, and return them; None at the end. The last value is whether they complete it."""
        with self._changed:
            while self._error is None:
                batch = self._batches[0] if self._batches else None
                is_complete = batch is not None and batch.is_complete
                if self._closing and not is_complete:
                    return None
                due = recorded_at + RECORD_SECONDS - time.monotonic()
                if batch is not None and (is_complete or (batch.has_ready and due <= 0)):
                    return batch, batch.take_ready(), is_complete
                self._changed.wait(timeout=due if batch is not None and batch.has_ready else None)
            return None

    def _record(self, batch: RecordBatch, ready: list[PendingOutcome]) -> None:
        rows: list[StepOutcome] = []
        ending: dict[int, Future[ItemResult | None]] = {}
        for pending in ready:
            if pending.index in self._failed:
                continue
            row, end = self._settle(batch.visit_id, pending)
            if row is not None:
                rows.append(row)
                self._recorded[pending.index].add(batch.visit_id)
            if end is not None:
                ending[pending.index] = self._threads.submit(self._end, pending.index, end)
        ends = {index: done for index, future in ending.items() if (done := future.result()) is not None}
        if rows or ends:
            self._store.sync()
            paths = {index: frozenset(self._recorded[index]) for index in ends}
            self._ledger.steps.record(self._job.id, self._job.run, batch.visit_id, rows, ends, paths)
            telemetry.step_recorded(batch.step, rows, ends.values())

    def _settle(self, visit_id: str, pending: PendingOutcome) -> tuple[StepOutcome | None, PendingResult | None]:
        """Return the outcome for the ledger, and the end. An image that could not be encoded fails its item here."""
        error = pending.artefact.exception() if pending.artefact is not None else None
        if isinstance(error, (StoreError, BrokenInstallation)):
            raise error
        if error is not None:
            self._failed.add(pending.index)
            failure = explain(error)
            failed = StepOutcome(
                pending.index,
                Outcome.FAILED,
                pending.seconds,
                error=failure,
                traceback=full_traceback(error),
                cost=pending.cost,
            )
            return failed, PendingResult("", ItemResult(ItemState.FAILED, failure, visit_id))
        if pending.outcome is None:
            return None, pending.end
        row = StepOutcome(
            pending.index,
            pending.outcome,
            pending.seconds,
            pending.artefact.result() if pending.artefact is not None else None,
            pending.error,
            pending.traceback,
            pending.cost,
        )
        return row, pending.end

    def _end(self, index: int, end: PendingResult) -> ItemResult | None:
        """Publish the item's final images and return its end, or None if an image is missing from the store."""
        artefacts = {step_id: written.result() for step_id, written in end.images.items()}
        finals = final_keys(self._job, end.name, ((step_id, record.key) for step_id, record in artefacts.items()))
        for step_id, key in finals.items():
            artefact = artefacts[step_id]
            try:
                self._store.publish(artefact.key, key, content_type=artefact.content_type)
            except MissingObject:
                self._on_lost(index, artefact)
                return None
        warned = step_warnings((step, written.result().facts) for step, written in end.measured)
        return replace(end.result, finals=finals, warnings=(*warned, *end.result.warnings))


def pixel_bytes(image: Image.Image) -> int:
    """Return the size of the decoded image in memory."""
    return image.width * image.height * len(image.getbands())
