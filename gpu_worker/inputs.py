"""What a chunk reads: items' own files, and images of earlier steps. Fetched ahead while the device computes."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from storage.artefacts import ArtefactStore
from storage.images import decode
from storage.keys import sha256_hex
from storage.records import ArtefactRecord

FETCH_THREADS = 8  # fetching waits for the network much more than it computes


@dataclass(frozen=True, slots=True)
class ItemFileData:
    """An item's own file as read; decoded only by a step that computes."""

    data: bytes
    digest: str  # SHA-256


class Inputs:
    """Reads and decodes in threads. What is fetched ahead stays until it is used or `release`d: one chunk's worth."""

    def __init__(self, store: ArtefactStore, read_file: Callable[[str], bytes], *, max_pixels: int) -> None:
        self._store, self._read_file, self._max_pixels = store, read_file, max_pixels
        self._files: dict[str, Future[ItemFileData]] = {}
        self._images: dict[str, Future[Image.Image]] = {}  # by fingerprint
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(FETCH_THREADS, thread_name_prefix="pixelmill-fetch")

    def fetch_file(self, location: str) -> Future[ItemFileData]:
        """The item file at a path or URI, read once until it is released."""
        with self._lock:
            if location not in self._files:
                self._files[location] = self._threads.submit(self._read, location)
            return self._files[location]

    def digest(self, location: str) -> str:
        """SHA-256 of the item file's bytes. Raises what reading raises."""
        return self.fetch_file(location).result().digest

    def item_image(self, location: str) -> Image.Image:
        """The decoded item file. Raises what reading or decoding raises."""
        return decode(self.fetch_file(location).result().data, max_pixels=self._max_pixels)

    def fetch_image(self, artefact: ArtefactRecord) -> Future[Image.Image]:
        """The stored image, read once until it is released. Its future raises MissingObject and DamagedObject."""
        with self._lock:
            if artefact.fingerprint not in self._images:
                self._images[artefact.fingerprint] = self._threads.submit(self._load, artefact)
            return self._images[artefact.fingerprint]

    def release(self, *, locations: Iterable[str] = (), fingerprints: Iterable[str] = ()) -> None:
        """Lets go of what a chunk no longer needs."""
        with self._lock:
            for location in locations:
                self._files.pop(location, None)
            for fingerprint in fingerprints:
                self._images.pop(fingerprint, None)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _read(self, location: str) -> ItemFileData:
        data = self._read_file(location)
        return ItemFileData(data, sha256_hex(data))

    def _load(self, artefact: ArtefactRecord) -> Image.Image:
        data = self._store.get(artefact.key, sha256=artefact.sha256)
        return decode(data, max_pixels=artefact.width * artefact.height)
