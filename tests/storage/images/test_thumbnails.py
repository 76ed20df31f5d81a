"""Thumbnails: small copies of large images, made where they are missing."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from storage.images.thumbnails import (
    LONG_SIDE,
    Thumbnails,
    has_thumbnail,
    store_thumbnail,
    thumbnail,
    thumbnail_key,
)
from storage.ledger.records import ArtefactRecord
from storage.objects.folder_store import FolderStore
from storage.objects.keys import sha256_hex
from tests.support.ledger_samples import artefact


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def stored(store: FolderStore, index: int, width: int = 600, height: int = 450) -> ArtefactRecord:
    file = BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "PNG")
    record = artefact(index, root=store.root, width=width, height=height)
    store.put(record.key, file.getvalue(), sha256=sha256_hex(file.getvalue()), content_type="image/png")
    return record


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize(
    ("size", "small"),
    [((3000, 2000), (400, 267)), ((450, 900), (200, 400)), ((20000, 1), (400, 1)), ((64, 64), (64, 64))],
)
def test_a_thumbnail_fits_its_size_and_keeps_the_shape(size: tuple[int, int], small: tuple[int, int]) -> None:
    image = opened(thumbnail(Image.new("RGB", size, "red")))
    assert (image.format, image.mode, image.size) == ("WEBP", "RGB", small)


def test_a_thumbnail_keeps_alpha_and_the_colors_at_a_rim() -> None:
    image = Image.new("RGBA", (800, 800), (255, 0, 255, 0))
    image.paste((0, 160, 0, 255), (200, 200, 600, 600))
    small = opened(thumbnail(image))
    assert small.mode == "RGBA"
    assert small.getpixel((20, 20))[3] == 0
    for place in ((200, 200), (101, 200), (200, 298)):
        assert all(abs(a - b) <= 12 for a, b in zip(small.getpixel(place), (0, 160, 0, 255), strict=True)), place


def test_small_images_need_none(store: FolderStore) -> None:
    small = stored(store, 1, LONG_SIDE, LONG_SIDE)
    assert not has_thumbnail(small) and has_thumbnail(stored(store, 2, LONG_SIDE + 1, 5))
    there = Thumbnails(store, "foxes")
    there.complete([small])
    assert small.fingerprint not in there


def test_those_that_are_missing_are_made_from_the_stored_images(store: FolderStore) -> None:
    first, second = stored(store, 1), stored(store, 2)
    store_thumbnail(store, "foxes", first, b"made by a worker")
    there = Thumbnails(store, "foxes")
    assert first.fingerprint in there and second.fingerprint not in there
    there.complete([first, second])
    assert second.fingerprint in there
    assert store.get(thumbnail_key("foxes", first.fingerprint)) == b"made by a worker"
    assert opened(store.get(thumbnail_key("foxes", second.fingerprint))).size == (400, 300)


def test_an_image_that_is_missing_or_damaged_has_none(store: FolderStore) -> None:
    gone, damaged = stored(store, 1), stored(store, 2)
    store.delete(gone.key)
    Path(store.uri(damaged.key)).write_bytes(b"no image")
    there = Thumbnails(store, "foxes")
    there.complete([gone, damaged])
    assert gone.fingerprint not in there and damaged.fingerprint not in there


def test_one_that_was_cut_off_is_made_again(store: FolderStore) -> None:
    record = stored(store, 1)
    store_thumbnail(store, "foxes", record, b"")
    there = Thumbnails(store, "foxes")
    there.complete([record])
    assert opened(store.get(thumbnail_key("foxes", record.fingerprint))).size == (400, 300)


def test_those_of_images_that_a_job_no_longer_has_are_deleted(store: FolderStore) -> None:
    for number in (1, 2):
        store_thumbnail(store, "foxes", stored(store, number), b"x")
    store_thumbnail(store, "hares", stored(store, 1), b"x")
    there = Thumbnails(store, "foxes")
    there.use(["generate-1"])
    there.delete_unused()
    left = {key for key, _ in store.list("") if "thumbnails" in key}
    assert left == {thumbnail_key("foxes", "generate-1"), thumbnail_key("hares", "generate-1")}
