"""The images that a step works on: fetched ahead, decoded as they are asked for, and let go of."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from PIL import Image

from gpu_worker.shard.live_item import RunningItem
from gpu_worker.shard.shard_work import ShardWork
from gpu_worker.shard.writer import pixel_bytes
from steps.contract import Frame
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
