"""The input files of a plan: each is read and hashed once, and its header is checked."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from configs.documents import uris
from configs.documents.fields import Item
from configs.documents.problems import some_of
from configs.settings.settings import Settings
from gpu_worker.walk.prediction import ReachableVisits
from steps.contract import Step
from steps.recipe.program import Program
from storage.images.images import FileCheck, UnreadableImage, check_file
from storage.inputs.sources import read_item_file
from storage.objects.artefacts import StoreError
from storage.objects.keys import sha256_hex

THREADS = 4  # each holds one file of up to PIXELMILL_INPUT_IMAGE_MB


class _Seen(NamedTuple):
    digest: str = ""
    look: FileCheck = FileCheck()
    error: StoreError | None = None  # it cannot be read


class InputFiles:
    """The files that steps may read of these items, seen before the items' paths are predicted."""

    def __init__(
        self, items: Sequence[Item], program: Program, settings: Settings, advance: Callable[[int], None] | None
    ) -> None:
        """Read them. `advance(1)` is called for each."""
        self._settings = settings
        self._seen: dict[str, _Seen] = {}
        locations = list(dict.fromkeys(_locations(items, program)))
        with ThreadPoolExecutor(THREADS, thread_name_prefix="pixelmill-look") as threads:
            for location, seen in zip(locations, threads.map(self._look, locations), strict=True):
                self._seen[location] = seen
                if advance is not None:
                    advance(1)

    def digest(self, location: str) -> str:
        """Return the SHA-256 of the file. Raises StoreError."""
        seen = self._at(location)
        if seen.error is not None:
            raise seen.error
        return seen.digest

    def objection(self, item: Item, step: Step) -> Exception | None:
        """Return why the step cannot take the item's files, or None."""
        for file in step.item_files(item):
            location = getattr(item, file)
            seen = self._at(location) if location is not None else _Seen()
            if seen.error is not None:
                return seen.error
            if seen.look.objection is not None and not (seen.look.cut_off and step.takes_damaged):
                return UnreadableImage(f"{_name(location)}: {seen.look.objection}")
        return None

    def notices(self) -> list[str]:
        """Return what of the files is not used."""
        moving = [_name(location) for location, seen in self._seen.items() if seen.look.more_frames]
        if not moving:
            return []
        files = "1 file has" if len(moving) == 1 else f"{len(moving):,} files have"
        return [f"{files} more frames or pages than the first, which alone is used: {some_of(moving)}"]

    def _at(self, location: str) -> _Seen:
        if location not in self._seen:
            self._seen[location] = self._look(location)
        return self._seen[location]

    def _look(self, location: str) -> _Seen:
        try:
            data = read_item_file(location, self._settings)
        except StoreError as error:
            return _Seen(error=error)
        return _Seen(sha256_hex(data), check_file(data, max_pixels=self._settings.max_pixels))


def _locations(items: Sequence[Item], program: Program) -> Iterator[str]:
    """Yield the locations of the files that the items may need."""
    reachable = ReachableVisits(program)
    for item in items:
        for visit, _ in reachable.of(item).visits:
            yield from filter(None, (getattr(item, file) for file in visit.step.item_files(item)))


def _name(location: str) -> str:
    return uris.shown(location).rpartition("/")[2]
