"""Storing of one computed image."""

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime

from PIL import Image

from steps.contract import Encoding, Fact
from steps.facts import ALWAYS, FACTS, measure
from storage.images.images import EncodedImage, UnreadableImage, decode, encode
from storage.images.png_recipe import ImageRecipe
from storage.ledger.records import ArtefactRecord
from storage.objects.artefacts import ArtefactStore, ContentConflict, DamagedObject, MissingObject
from storage.objects.keys import artefact_key, sha256_hex

logger = logging.getLogger(__name__)

MAX_STORED_PIXELS = 2**30  # our own store is trusted to hold images of any size that a step makes


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
        facts=dict(facts),
        created_at=datetime.now(UTC),
    )
