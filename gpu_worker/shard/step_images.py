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
from gpu_worker.shard.shard_state import Facts, Made, RunningItem, ShardWork
from gpu_worker.shard.writer import Written, pixel_bytes
from gpu_worker.walk.foresight import unmeasured
from gpu_worker.walk.item_path import ItemError
from steps.contract import Fact, Frame, StepResult
from steps.facts import ALWAYS, measure
from steps.recipe.program import Visit
from storage.ledger.records import ArtefactRecord
from storage.objects.artefacts import DamagedObject, MissingObject, StoreError

# Of decoded pixels: an input of a few kilobytes may have as many as `max_pixels` allows, and a chunk 64 of them.
MAX_FRAME_BYTES = 2**30  # that a step is given at once


class StepFrames:
    """Of one visit. `fail` ends an item whose own file cannot be had."""

    def __init__(self, work: ShardWork, visit: Visit, fail: Callable[[RunningItem, Exception], None]) -> None:
        self._work, self._visit, self._fail = work, visit, fail

    def fetch_files(self, lives: Iterable[RunningItem]) -> None:
        """Begins to read the items' own files."""
        for live in lives:
            for location in self._locations(live):
                self._work.inputs.fetch_file(location)

    def read(self, lives: Sequence[RunningItem]) -> Iterator[list[Frame]]:
        """In order, in parts that fit into memory together. Without items whose image or file cannot be had."""
        return _in_bounds(self._frames(lives))

    def release(self, lives: Sequence[RunningItem]) -> None:
        """Lets go of what these items have been given."""
        # The newest image of an item that goes on may have been fetched for a later step.
        used = {
            mark.fingerprint for live in lives for mark in (live.path.marks[:-1] if live.alive else live.path.marks)
        }
        locations = {location for live in lives for location in self._locations(live)}
        self._work.inputs.release(locations=locations, fingerprints=used)

    def _frames(self, lives: Sequence[RunningItem]) -> Iterator[Frame]:
        fetching: dict[int, Callable[[], Image.Image]] = {}
        for live in lives:
            if live.image is None and live.last is not None and (stored := _stored(live)) is not None:
                self._work.inputs.fetch_image(stored)
                fetching[live.path.item.index] = partial(self._work.inputs.image, stored)
        for live in lives:
            frame = self._frame(live, fetching.get(live.path.item.index))
            if frame is not None:
                yield frame

    def _frame(self, live: RunningItem, fetched: Callable[[], Image.Image] | None) -> Frame | None:
        if not live.alive:
            return None
        try:
            image = live.image if fetched is None else fetched()
        except (MissingObject, DamagedObject) as error:
            assert live.last is not None
            self._work.losses.add(live.path.item, live.last.result(), damaged=isinstance(error, DamagedObject))
            live.alive = False
            return None
        item = live.path.item
        try:
            files = {
                file: self._work.inputs.item_image(getattr(item, file)) for file in self._visit.step.item_files(item)
            }
        except Exception as error:
            self._fail(live, error)
            return None
        return Frame(self._visit.item(item), image, files)

    def _locations(self, live: RunningItem) -> list[str]:
        item = live.path.item
        files = (getattr(item, file) for file in self._visit.step.item_files(item))
        return [location for location in files if location is not None]


def _in_bounds(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """The frames in order, in parts whose decoded images fit into memory together; mostly in one."""
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


def _stored(live: RunningItem) -> ArtefactRecord | None:
    """The item's newest image once it is in the store. None, and no longer alive, if it could not be encoded."""
    assert live.last is not None
    try:
        return live.last.result()
    except StoreError:
        raise
    except Exception:
        live.alive = False
        return None


class StepFacts:
    """Of one visit."""

    def __init__(self, work: ShardWork, visit: Visit) -> None:
        self._work, self._visit = work, visit

    def of_new(self, frame: Frame, result: StepResult) -> Facts:
        """Of the image that the step has made of this frame: at once if a later decision may wait for them."""
        measured = partial(_facts_of, result, ALWAYS | self._visit.facts, frame.image)
        if self._visit.id in self._work.program.awaited:
            return self._work.measurers.submit(measured)
        return OnDemand(measured)

    def completed(self, live: RunningItem, made: Made) -> Made:
        """What exists, once it has all facts that the recipe asks for: it may have been made for another one."""
        has_source = live.last is not None
        if not self._visit.facts or (
            made.facts.done() and not unmeasured(self._visit, made.facts.result(), has_source=has_source)
        ):
            return made
        facts = self._work.measurers.submit(self._measure_missing, live.path.item, made, live.last)
        return Made(made.written, facts, None)

    def _measure_missing(self, item: Item, made: Made, source: Written | None) -> Mapping[str, Fact]:
        """In a thread. Raises ItemError, and StoreError if the store does not answer."""
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
        """Raises MissingObject or DamagedObject after noting that the item has lost it."""
        try:
            return self._work.inputs.image(artefact)
        except (MissingObject, DamagedObject) as error:
            self._work.losses.add(item, artefact, damaged=isinstance(error, DamagedObject))
            raise


def _facts_of(result: StepResult, names: Collection[str], source: Image.Image | None) -> dict[str, Fact]:
    return {**measure(result.image, names, source=source), **result.facts}


def known_facts(facts: Mapping[str, Fact]) -> Facts:
    """Facts that need no measuring."""
    future: Facts = Future()
    future.set_result(facts)
    return future


_T = TypeVar("_T")


class OnDemand(Future[_T], Generic[_T]):
    """Computes in the thread that asks first; others that ask meanwhile wait for it."""

    def __init__(self, compute: Callable[[], _T]) -> None:
        super().__init__()
        self._compute: Callable[[], _T] | None = compute
        self._computing = threading.Lock()

    @override
    def result(self, timeout: float | None = None) -> _T:
        with self._computing:
            compute, self._compute = self._compute, None  # lets go of what it holds, too
            if compute is not None:
                try:
                    self.set_result(compute())
                except Exception as error:
                    self.set_exception(error)
        return super().result(timeout)
