"""Thumbnails: small copies of a job's large images, for its pages. Any of them can be made again from its image."""

import os
import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from io import BytesIO

from PIL import Image

from storage.images.images import UnreadableImage, decode
from storage.ledger.records import ArtefactRecord, JobSample
from storage.objects.artefacts import ArtefactStore, ContentConflict, DamagedObject, MissingObject
from storage.objects.keys import fingerprint_of, job_key, sha256_hex

LONG_SIDE = 400  # pixels: a card of 200 on a screen of twice the density. Images up to this size are shown as they are
THUMBNAIL_TYPE = "image/webp"
_OPTIONS = {"quality": 75, "method": 0}  # the fastest: a tenth of the time that the image's own PNG takes
_KEY = re.compile(r"[^/]+/thumbnails/[^/]+\.webp")
_THREADS = min(4, os.cpu_count() or 1)
_LARGE = 2**25  # pixels: larger images are decoded one at a time, as each takes more than 100 MB


def has_thumbnail(image: ArtefactRecord | JobSample) -> bool:
    """Return whether a thumbnail is kept for an image of this size."""
    return max(image.width, image.height) > LONG_SIDE


def thumbnail_key(job: str, fingerprint: str) -> str:
    """Return the key of the thumbnail of an image of the job (by the job's name), whether it exists or not."""
    return job_key(job, f"thumbnails/{fingerprint}.webp")


def is_thumbnail_key(key: str) -> bool:
    """Return whether a key is that of a thumbnail, of any job."""
    return _KEY.fullmatch(key) is not None


def thumbnail(image: Image.Image) -> bytes:
    """Return a small copy of the image (mode RGB or RGBA, upright) as WebP, with its alpha."""
    scale = min(1.0, LONG_SIDE / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    small.info = {}
    file = BytesIO()
    small.save(file, "WEBP", **_OPTIONS)
    return file.getvalue()


def thumbnail_of(store: ArtefactStore, artefact: ArtefactRecord) -> bytes | None:
    """Return a thumbnail made from the stored image, or None if that is missing or damaged."""
    try:
        return thumbnail(decode(store.get(artefact.key), max_pixels=artefact.width * artefact.height))
    except (MissingObject, DamagedObject, UnreadableImage):
        return None


def store_thumbnail(store: ArtefactStore, job: str, artefact: ArtefactRecord, data: bytes) -> None:
    """Store the thumbnail of an image of the job. Raises StoreError."""
    key = thumbnail_key(job, artefact.fingerprint)
    try:
        store.put(key, data, sha256=sha256_hex(data), content_type=THUMBNAIL_TYPE)
    except ContentConflict:  # of the same image made on another device, or cut off by a loss of power
        store.replace(key, data, content_type=THUMBNAIL_TYPE)


class Thumbnails:
    """The thumbnails that a job has, by the fingerprints of their images. Memory: some 150 bytes for each."""

    def __init__(self, store: ArtefactStore, job: str) -> None:
        """List them. Raises StoreError."""
        self._store, self._job = store, job
        folder = job_key(job, "thumbnails/")
        self._there = {fingerprint_of(key) for key, size in store.list(folder) if size}
        self._unused = set(self._there)
        self._one_at_a_time = threading.Lock()

    def __contains__(self, fingerprint: object) -> bool:
        return fingerprint in self._there

    def complete(self, artefacts: Iterable[ArtefactRecord]) -> None:
        """Make those that are missing, from the stored images. Raises StoreError.

        Workers make them with the images: missing are those of images that other jobs made, or versions before.
        """
        missing = {each.fingerprint: each for each in artefacts if has_thumbnail(each)}
        wanted = [missing[fingerprint] for fingerprint in missing.keys() - self._there]
        if not wanted:
            return
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="pixelmill-thumbnails") as pool:
            self._there.update(made for made in pool.map(self._make, wanted) if made is not None)

    def use(self, fingerprints: Iterable[str]) -> None:
        """Note that a page may show these images: `delete_unused` keeps their thumbnails."""
        self._unused.difference_update(fingerprints)

    def delete_unused(self) -> None:
        """Delete those of images that the job no longer has. Raises StoreError."""
        for fingerprint in self._unused:
            self._store.delete(thumbnail_key(self._job, fingerprint))
        self._there -= self._unused

    def _make(self, artefact: ArtefactRecord) -> str | None:
        with self._one_at_a_time if artefact.width * artefact.height > _LARGE else nullcontext():
            data = thumbnail_of(self._store, artefact)
        if data is None:
            return None
        store_thumbnail(self._store, self._job, artefact, data)
        return artefact.fingerprint
