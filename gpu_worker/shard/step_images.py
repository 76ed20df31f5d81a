"""The images that a step works on, and the facts of those that it makes."""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Generic, TypeVar

from PIL import Image
from typing_extensions import override

from configs.documents.fields import Item
from gpu_worker.monitor.failures import describe
from gpu_worker.shard.shard_state import Facts, RunningItem, ShardWork, SharedImage
from gpu_worker.shard.writer import Written, pixel_bytes
from gpu_worker.walk.item_context import ItemError
from gpu_worker.walk.prediction import unmeasured
from steps.contract import Fact, Frame, StepResult
from steps.facts import ALWAYS, measure
from steps.recipe.program import Visit
from storage.ledger.records import ArtefactRecord
from storage.objects.artefacts import DamagedObject, MissingObject, StoreError

# Decoded pixels for a step at once: an input of a few kilobytes may have up to `max_pixels`, and a chunk 64 inputs.
MAX_FRAME_BYTES = 2**30


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
        item = running.path.item
        try:
            files = {
                file: self._work.inputs.item_image(getattr(item, file)) for file in self._visit.step.item_files(item)
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
    return {**measure(result.image, names, source=source), **result.facts}


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
