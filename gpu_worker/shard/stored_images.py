"""Images from the store and to it: inputs of a chunk, fetched ahead while the device computes; lost and new images."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from PIL import Image

from configs.documents.fields import Item
from steps.contract import WARNINGS, Encoding, Fact
from steps.facts import ALWAYS, FACTS, measure
from storage.images.images import EncodedImage, UnreadableImage, decode, encode
from storage.images.png_recipe import ImageRecipe
from storage.ledger.ledger import Ledger
from storage.ledger.records import ArtefactRecord
from storage.objects.artefacts import ArtefactStore, ContentConflict, DamagedObject, MissingObject, StoreError
from storage.objects.keys import artefact_key, sha256_hex

logger = logging.getLogger(__name__)

MAX_STORED_PIXELS = 2**30  # our own store is trusted to hold images of any size that a step makes
FETCH_THREADS = 8  # fetching waits for the network much more than it computes
MAX_HELD_BYTES = 2**30  # fetched ahead: a chunk of large images would take tens of gigabytes
_BYTES_A_PIXEL = 4


@dataclass(frozen=True, slots=True)
class ItemFileData:
    """An item's own file as read; only a step that computes decodes it."""

    data: bytes | None  # None if there was no room to keep it
    digest: str  # SHA-256


class Inputs:
    """Reads and decodes in threads. Inputs fetched ahead, for one chunk, stay until they are released.

    Beyond MAX_HELD_BYTES nothing is kept: further inputs are read each time that they are used.
    """

    def __init__(
        self,
        store: ArtefactStore,
        read_file: Callable[[str], bytes],
        *,
        max_pixels: int,
        max_held_bytes: int = MAX_HELD_BYTES,
    ) -> None:
        self._store, self._read_file, self._max_pixels = store, read_file, max_pixels
        self._room = max_held_bytes
        self._held: dict[str, int] = {}  # location or fingerprint -> bytes
        self._files: dict[str, Future[ItemFileData]] = {}
        self._images: dict[str, Future[Image.Image]] = {}  # by fingerprint
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(FETCH_THREADS, thread_name_prefix="pixelmill-fetch")

    def fetch_file(self, location: str) -> Future[ItemFileData]:
        """Return the item file at a path or URI, read once until it is released."""
        with self._lock:
            if location not in self._files:
                self._files[location] = self._threads.submit(self._read, location)
            return self._files[location]

    def digest(self, location: str) -> str:
        """Return the SHA-256 of the item file's bytes. Raises the errors of reading."""
        return self.fetch_file(location).result().digest

    def item_image(self, location: str, *, damaged: bool = False) -> Image.Image:
        """Return the decoded item file, with `damaged` as much as there is of it.

        Raises the errors of reading and decoding, StoreError if it has changed.
        """
        file = self.fetch_file(location).result()
        data = file.data
        if data is None:
            data = self._read_file(location)
            if sha256_hex(data) != file.digest:
                raise StoreError("the item's file was changed while the job ran: run the job again")
        return decode(data, max_pixels=self._max_pixels, damaged=damaged)

    def fetch_image(self, artefact: ArtefactRecord) -> None:
        """Begin to read a stored image, once until it is released, if there is room for it."""
        with self._lock:
            size = artefact.width * artefact.height * _BYTES_A_PIXEL
            if artefact.fingerprint not in self._images and self._hold(artefact.fingerprint, size):
                self._images[artefact.fingerprint] = self._threads.submit(self._load, artefact)

    def image(self, artefact: ArtefactRecord) -> Image.Image:
        """Return the stored image. Raises MissingObject and DamagedObject."""
        with self._lock:
            fetched = self._images.get(artefact.fingerprint)
        return self._load(artefact) if fetched is None else fetched.result()

    def release(self, *, locations: Iterable[str] = (), fingerprints: Iterable[str] = ()) -> None:
        """Release inputs that a chunk no longer needs."""
        with self._lock:
            for location in locations:
                self._files.pop(location, None)
                self._let_go(location)
            for fingerprint in fingerprints:
                self._images.pop(fingerprint, None)
                self._let_go(fingerprint)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _hold(self, key: str, size: int) -> bool:
        """Take room if there is enough, and return whether there was. The caller holds the lock."""
        if size > self._room:
            return False
        self._room -= size
        self._held[key] = self._held.get(key, 0) + size
        return True

    def _let_go(self, key: str) -> None:
        self._room += self._held.pop(key, 0)

    def _read(self, location: str) -> ItemFileData:
        data = self._read_file(location)
        digest = sha256_hex(data)
        with self._lock:
            kept = location in self._files and self._hold(location, len(data))
        return ItemFileData(data if kept else None, digest)

    def _load(self, artefact: ArtefactRecord) -> Image.Image:
        data = self._store.get(artefact.key, sha256=artefact.sha256)
        return decode(data, max_pixels=artefact.width * artefact.height)


MAX_LOSSES = 2  # of one image; a store that loses it again right after it was made again is broken


class Losses:
    """Collects items whose image turned out to be missing or damaged. Safe to share between threads.

    An item may start again several times: if a whole folder is gone, each round finds one more image lost that the
    round before would have needed.
    """

    def __init__(self) -> None:
        self._lost: list[tuple[Item, ArtefactRecord, bool]] = []  # the last value is whether it is damaged
        self._times: Counter[str] = Counter()  # by fingerprint
        self._lock = threading.Lock()

    def add(self, item: Item, artefact: ArtefactRecord, *, damaged: bool = False) -> None:
        with self._lock:
            self._lost.append((item, artefact, damaged))

    def take(self, store: ArtefactStore, ledger: Ledger) -> tuple[list[Item], list[Item], set[str]]:
        """Make ledger and store forget the lost images. Call when nothing waits to be recorded.

        Return the items to start again, those that lost an image too often, and the fingerprints.
        """
        with self._lock:
            lost, self._lost = self._lost, []
        for key in {artefact.key for _, artefact, damaged in lost if damaged}:
            store.delete(key)
        fingerprints = {artefact.fingerprint for _, artefact, _ in lost}
        if fingerprints:
            ledger.steps.forget_artefacts(store.root, list(fingerprints))
        self._times.update(fingerprints)
        items = {item.index: item for item, _, _ in lost}
        too_often = {item.index for item, artefact, _ in lost if self._times[artefact.fingerprint] > MAX_LOSSES}
        again = [items[index] for index in sorted(items.keys() - too_often)]
        return again, [items[index] for index in sorted(too_often)], fingerprints


@dataclass(frozen=True, slots=True)
class NewArtefact:
    """An image with its metadata. The facts may still be being measured."""

    fingerprint: str
    step: str  # the step's name in the catalogue
    image: Image.Image
    encoding: Encoding
    recipe: ImageRecipe
    facts: Future[Mapping[str, Fact]]


def store_artefact(artefact: NewArtefact, store: ArtefactStore) -> ArtefactRecord:
    """Encode the image and store it. Raises StoreError and the errors of encoding and measuring."""
    encoded = encode(
        artefact.image,
        format=artefact.encoding.format,
        quality=artefact.encoding.quality,
        lossless=artefact.encoding.lossless,
        recipe=artefact.recipe,
    )
    key = artefact_key(artefact.fingerprint, encoded.extension)
    try:
        store.put(key, encoded.data, sha256=encoded.sha256, content_type=encoded.content_type)
    except ContentConflict:
        existing = _keep_existing(artefact, key, encoded, store)
        if existing is not None:
            return existing
        store.put(key, encoded.data, sha256=encoded.sha256, content_type=encoded.content_type)
    return _record(artefact, store.root, key, encoded, artefact.facts.result())


def _keep_existing(artefact: NewArtefact, key: str, ours: EncodedImage, store: ArtefactStore) -> ArtefactRecord | None:
    """Return the image that another device or an earlier, killed run stored, or None if it is unusable.

    Two devices make images of the same fingerprint that differ within their tolerance; the first one stays, so that
    all references to it remain true. An incomplete image is deleted.
    """
    try:
        data = store.get(key)
        image = decode(data, max_pixels=MAX_STORED_PIXELS)
    except MissingObject:
        return None
    except (DamagedObject, UnreadableImage) as error:
        logger.warning("%s is damaged and is replaced: %s", store.uri(key), error)
        store.delete(key)
        return None
    logger.info("%s exists with other bytes and is kept", store.uri(key))
    theirs = ours._replace(data=data, sha256=sha256_hex(data), width=image.width, height=image.height)
    ours_measured = artefact.facts.result()
    measured = measure(image, ALWAYS | (ours_measured.keys() & FACTS.keys()))
    return _record(artefact, store.root, key, theirs, {**ours_measured, **measured})


def _record(
    artefact: NewArtefact, root: str, key: str, encoded: EncodedImage, facts: Mapping[str, Fact]
) -> ArtefactRecord:
    warnings = [str(facts[WARNINGS])] if WARNINGS in facts else []
    if encoded.left_out:
        warnings.append(f"{encoded.left_out} did not fit into the JPEG's metadata; png, webp and avif hold more")
    return ArtefactRecord(
        root=root,
        fingerprint=artefact.fingerprint,
        key=key,
        sha256=encoded.sha256,
        size=len(encoded.data),
        width=encoded.width,
        height=encoded.height,
        content_type=encoded.content_type,
        step=artefact.step,
        facts={**facts, WARNINGS: "\n".join(warnings)} if warnings else dict(facts),
        created_at=datetime.now(UTC),
    )
