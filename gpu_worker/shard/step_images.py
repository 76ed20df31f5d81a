"""The items of a shard with their images: what its steps share, work on and measure."""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, TypeVar

from PIL import Image
from typing_extensions import override

from configs.catalogues.models import ModelRef
from configs.documents.fields import Item
from configs.settings.settings import Settings
from gpu_worker.device.batch_sizes import BatchSizeCache
from gpu_worker.device.runtime import WorkerRuntime
from gpu_worker.monitor.failures import describe
from gpu_worker.shard.stored_images import Inputs, Losses
from gpu_worker.shard.writer import PendingResult, Writer, Written, pixel_bytes
from gpu_worker.walk.item_context import NO_IMAGE, ItemError, Rejection
from gpu_worker.walk.item_path import ItemPath
from gpu_worker.walk.prediction import unmeasured
from steps.contract import Fact, Frame, StepResult
from steps.facts import ALWAYS, measure
from steps.recipe.program import Program, Visit
from storage.images.png_recipe import Provenance
from storage.ledger.ledger import Ledger
from storage.ledger.records import ArtefactRecord, ItemResult, ItemState, JobRecord
from storage.objects.artefacts import DamagedObject, MissingObject, StoreError

# Decoded pixels for a step at once: an input of a few kilobytes may have up to `max_pixels`, and a chunk 64 inputs.
MAX_FRAME_BYTES = 2**30
Facts = Future[Mapping[str, Fact]]


@dataclass(frozen=True, slots=True)
class SharedImage:
    """An image that this shard made or found. Items with the same fingerprint share it."""

    written: Written
    facts: Facts
    image: Image.Image | None  # None if it is only in the store


@dataclass(slots=True)
class RunningItem:
    """An item's path with its images. `alive` until the item has ended or waits for another round."""

    path: ItemPath
    written: dict[str, Written] = field(default_factory=dict)  # fingerprint -> its image
    measuring: dict[str, Facts] = field(default_factory=dict)  # visit id -> facts to come
    alive: bool = True
    _image: tuple[str, Image.Image] | None = None  # fingerprint and image for the next step

    @property
    def image(self) -> Image.Image | None:
        """The image for the next step, or None if it is not made yet or has to be read from the store."""
        if self._image is not None and self._image[0] != self.path.fingerprint:
            self._image = None  # a loop has gone back
        return self._image[1] if self._image is not None else None

    def drop_image(self) -> None:
        """Release the image from memory, if it is in the store or no longer needed."""
        self._image = None

    @property
    def last(self) -> Written | None:
        """The item's newest image, or None before its first."""
        return self.written[self.path.fingerprint] if self.path.fingerprint is not None else None

    def visit(self, visit: Visit, provenance: Provenance, made: SharedImage) -> None:
        self.path.visit(visit, provenance, None)
        self.measuring[visit.id] = made.facts
        self.written[provenance.fingerprint] = made.written
        if not visit.step.keeps_image:
            self._image = (provenance.fingerprint, made.image) if made.image is not None else None

    def settle_facts(self) -> None:
        """Wait for the facts of the visits so far. Raises the errors of measuring."""
        while self.measuring:
            visit_id, facts = next(iter(self.measuring.items()))
            self.path.facts[visit_id] = facts.result()
            del self.measuring[visit_id]

    def end(self) -> PendingResult:
        """Return the item's end after its last step."""
        images = {visit_id: self.written[fingerprint] for visit_id, fingerprint in self.path.images()}
        if not images:
            return PendingResult(self.path.item.name, ItemResult(ItemState.FAILED, NO_IMAGE))
        made, visited = self.path.made, self.path.state.visited.values()
        measured = tuple((visit.step_id, self.written[made[visit.id]]) for visit in visited)
        result = ItemResult(ItemState.DONE, warnings=self.path.state.warnings)
        return PendingResult(self.path.item.name, result, images, measured)

    def refused(self, rejection: Rejection) -> PendingResult:
        """Return the end of an item that a gate refused; a person may accept its image."""
        end = self.failed(rejection.step_id, rejection.reason, quarantined=True)
        return replace(end, result=replace(end.result, refused_image=self.path.fingerprint, refused_by=rejection.gate))

    def failed(self, step_id: str | None, error: str, *, quarantined: bool = False) -> PendingResult:
        """Return the end of an item that failed. `quarantined`: another try would fail in the same way."""
        self.alive = False
        self.drop_image()
        state = ItemState.QUARANTINED if quarantined else ItemState.FAILED
        return PendingResult(self.path.item.name, ItemResult(state, error, step_id))


@dataclass(slots=True)
class Chunk:
    """Items that go through a step together: one task run per step."""

    label: str
    items: list[RunningItem]

    @property
    def alive(self) -> list[RunningItem]:
        return [item for item in self.items if item.alive]


@dataclass(slots=True)
class ShardWork:
    """The objects that all steps of a shard share."""

    job: JobRecord
    root: str  # of the store
    program: Program
    ledger: Ledger
    runtime: WorkerRuntime
    settings: Settings
    writer: Writer
    inputs: Inputs
    losses: Losses
    measurers: ThreadPoolExecutor
    keep_images: bool  # between the steps of a chunk; otherwise they are read from the store again
    made: dict[str, SharedImage] = field(default_factory=dict)  # by fingerprint; without decoded images
    sizes: BatchSizeCache = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = BatchSizeCache(self.ledger.fleet, lambda: self.runtime.device.name)

    def record_load(self, ref: ModelRef, seconds: float) -> None:
        """Record that a model was loaded for this job."""
        self.ledger.runs.record_model_load(
            self.job.id, self.job.run, str(ref), self.runtime.name, seconds, self.price(seconds)
        )

    def price(self, seconds: float) -> float:
        """Return the cost of so many seconds of the device."""
        return seconds * self.settings.price_per_hour / 3600


class StepFrames:
    """The frames of one visit. `fail` ends an item whose own file cannot be read."""

    def __init__(self, work: ShardWork, visit: Visit, fail: Callable[[RunningItem, Exception], None]) -> None:
        self._work, self._visit, self._fail = work, visit, fail

    def fetch_files(self, items: Iterable[RunningItem]) -> None:
        """Begin to read the items' own files."""
        for running in items:
            for location in item_locations(running, self._visit):
                self._work.inputs.fetch_file(location)

    def read(self, items: Sequence[RunningItem]) -> Iterator[list[Frame]]:
        """Yield frames in order, in parts that fit into memory. Leaves out items whose image or file is missing."""
        return _in_bounds(self._frames(items))

    def release(self, items: Sequence[RunningItem]) -> None:
        """Release the inputs of these items."""
        # The newest image of an item that goes on may have been fetched for a later step.
        used = {
            mark.fingerprint for running in items for mark in running.path.state.chain[: -1 if running.alive else None]
        }
        locations = {location for running in items for location in item_locations(running, self._visit)}
        self._work.inputs.release(locations=locations, fingerprints=used)

    def _frames(self, items: Sequence[RunningItem]) -> Iterator[Frame]:
        fetching: dict[int, Callable[[], Image.Image]] = {}
        for running in items:
            if running.image is None and running.last is not None and (stored := _stored(running)) is not None:
                self._work.inputs.fetch_image(stored)
                fetching[running.path.item.index] = partial(self._work.inputs.image, stored)
        for running in items:
            frame = self._frame(running, fetching.get(running.path.item.index))
            if frame is not None:
                yield frame

    def _frame(self, running: RunningItem, fetched: Callable[[], Image.Image] | None) -> Frame | None:
        if not running.alive:
            return None
        try:
            image = running.image if fetched is None else fetched()
        except (MissingObject, DamagedObject) as error:
            assert running.last is not None
            self._work.losses.add(running.path.item, running.last.result(), damaged=isinstance(error, DamagedObject))
            running.alive = False
            return None
        item, step = running.path.item, self._visit.step
        try:
            files = {
                file: self._work.inputs.item_image(getattr(item, file), damaged=step.takes_damaged)
                for file in step.item_files(item)
            }
        except Exception as error:
            self._fail(running, error)
            return None
        return Frame(self._visit.item(item), image, files)


def item_locations(running: RunningItem, visit: Visit) -> list[str]:
    """Return the locations of the item's own files that the visit reads."""
    item = running.path.item
    files = (getattr(item, file) for file in visit.step.item_files(item))
    return [location for location in files if location is not None]


def _in_bounds(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """Yield the frames in parts whose decoded images fit into memory together; mostly in one."""
    part: list[Frame] = []
    size = 0
    for frame in frames:
        own = sum(pixel_bytes(image) for image in (frame.image, *frame.files.values()) if image is not None)
        if part and size + own > MAX_FRAME_BYTES:
            yield part
            part, size = [], 0
        part.append(frame)
        size += own
    if part:
        yield part


def _stored(running: RunningItem) -> ArtefactRecord | None:
    """Return the item's newest image once it is stored; end the item and return None if it cannot be encoded."""
    assert running.last is not None
    try:
        return running.last.result()
    except StoreError:
        raise
    except Exception:
        running.alive = False
        return None


class StepFacts:
    """The facts of one visit's images."""

    def __init__(self, work: ShardWork, visit: Visit) -> None:
        self._work, self._visit = work, visit

    def of_new(self, frame: Frame, result: StepResult) -> Facts:
        """Return the facts of the image made of this frame; measure at once if a later decision may need them."""
        measured = partial(_facts_of, result, ALWAYS | self._visit.facts, frame.image)
        if self._work.program.awaits(self._visit):
            return self._work.measurers.submit(measured)
        return OnDemand(measured)

    def completed(self, running: RunningItem, made: SharedImage) -> SharedImage:
        """Return an existing image with all facts of this recipe; it may have been made for another one."""
        has_source = running.last is not None
        if not self._visit.facts or (
            made.facts.done() and not unmeasured(self._visit, made.facts.result(), has_source=has_source)
        ):
            return made
        facts = self._work.measurers.submit(self._measure_missing, running.path.item, made, running.last)
        return SharedImage(made.written, facts, None)

    def _measure_missing(self, item: Item, made: SharedImage, source: Written | None) -> Mapping[str, Fact]:
        """Measure and record missing facts, in a thread. Raises ItemError, and StoreError if the store fails."""
        facts, artefact = made.facts.result(), made.written.result()
        missing = self._visit.facts - facts.keys()
        if not missing:
            return facts
        try:
            image = self._image_of(item, artefact)
            before = None if source is None else self._image_of(item, source.result())
            found = measure(image, missing, source=before)
        except StoreError:
            raise
        except Exception as error:
            raise ItemError(f"its facts cannot be measured: {describe(error)}") from error
        complete = {**facts, **found}
        self._work.ledger.steps.add_facts(artefact.root, artefact.fingerprint, complete)
        return complete

    def _image_of(self, item: Item, artefact: ArtefactRecord) -> Image.Image:
        """Return the decoded image. Raises MissingObject or DamagedObject after noting the loss."""
        try:
            return self._work.inputs.image(artefact)
        except (MissingObject, DamagedObject) as error:
            self._work.losses.add(item, artefact, damaged=isinstance(error, DamagedObject))
            raise


def _facts_of(result: StepResult, names: Collection[str], source: Image.Image | None) -> dict[str, Fact]:
    return {**measure(result.image, names, source=source), **result.kept_facts}


_T = TypeVar("_T")


class OnDemand(Future[_T], Generic[_T]):
    """A future computed by the first thread that calls `result`; others wait for it."""

    def __init__(self, compute: Callable[[], _T]) -> None:
        super().__init__()
        self._compute: Callable[[], _T] | None = compute
        self._computing = threading.Lock()

    @override
    def result(self, timeout: float | None = None) -> _T:
        with self._computing:
            compute, self._compute = self._compute, None  # releases its arguments too
            if compute is not None:
                try:
                    self.set_result(compute())
                except Exception as error:
                    self.set_exception(error)
        return super().result(timeout)
