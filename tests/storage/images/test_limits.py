"""What cannot be read or written says what is wrong with the image, and what changes it."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from configs.documents.notes import Notes
from storage.images.images import ImageFormat, UnreadableImage, UnwritableImage, decode, encode
from storage.images.png_recipe import ImageRecipe
from tests.storage.images.hostile_images import png

PICTURE = Image.fromarray(np.random.default_rng(3).integers(0, 255, (60, 80, 3), dtype=np.uint8))


def file_of(format: str, image: Image.Image = PICTURE, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize(("format", "most"), [("webp", 16_383), ("jpeg", 65_500), ("avif", 32_768)])
def test_an_image_that_is_too_wide_for_a_format_names_the_limit_and_what_to_do(format: ImageFormat, most: int) -> None:
    image = Image.new("RGB", (most + 1, 1))
    with pytest.raises(UnwritableImage) as refused:
        encode(image, format=format, quality=50, lossless=False, recipe=ImageRecipe(()))
    assert f"{most:,} pixels a side" in str(refused.value)
    assert f"{most + 1} x 1 pixels" in str(refused.value)
    assert "Store png" in str(refused.value)
    assert "resize" in str(refused.value)


@pytest.mark.parametrize(("format", "most"), [("webp", 16_383), ("jpeg", 65_500), ("avif", 32_768)])
def test_an_image_of_just_the_limit_can_be_read_back(format: ImageFormat, most: int) -> None:
    image = Image.new("RGB", (most, 1))
    file = encode(image, format=format, quality=50, lossless=False, recipe=ImageRecipe(()))
    assert decode(file.data, max_pixels=most).size == (most, 1)


@pytest.mark.parametrize("size", [(20_000, 12_000), (60_000, 60_000)])
def test_a_picture_of_too_many_pixels_names_the_setting(size: tuple[int, int]) -> None:
    with pytest.raises(UnreadableImage) as refused:
        decode(png(*size), max_pixels=64_000_000)
    assert f"{size[0]} x {size[1]} pixels" in str(refused.value)
    assert "PIXELMILL_MAX_PIXELS" in str(refused.value)
    assert "DOS" not in str(refused.value)


def test_the_setting_allows_more_pixels_than_pillow_does_by_itself() -> None:
    black = file_of("PNG", Image.new("1", (14_000, 13_000)))
    assert decode(black, max_pixels=182_000_000).size == (14_000, 13_000)


CUT_OFF = {
    "progressive jpeg": file_of("JPEG", progressive=True)[:-2],
    "jpeg": file_of("JPEG")[: len(file_of("JPEG")) // 2],
    "png": file_of("PNG")[: len(file_of("PNG")) // 2],
    "gif": file_of("GIF")[: len(file_of("GIF")) // 2],
    "bmp": file_of("BMP")[:-100],
}


@pytest.mark.parametrize("kind", CUT_OFF)
def test_a_file_whose_end_is_missing_is_refused_and_taken_only_where_that_is_wanted(kind: str) -> None:
    with pytest.raises(UnreadableImage, match=r"its end is missing.*`damaged: accept`"):
        decode(CUT_OFF[kind], max_pixels=10_000)
    image = decode(CUT_OFF[kind], max_pixels=10_000, damaged=True)
    assert image.size == (80, 60)
    assert Notes.of(image).damaged
    assert not Notes.of(decode(file_of("PNG"), max_pixels=10_000, damaged=True)).damaged


def test_a_jpeg_without_its_last_two_bytes_is_whole_where_damage_is_accepted() -> None:
    data = file_of("JPEG", progressive=True)
    whole, cut = (decode(each, max_pixels=10_000, damaged=True) for each in (data, data[:-2]))
    assert np.array_equal(np.asarray(whole), np.asarray(cut))


@pytest.mark.parametrize("format", ["WEBP", "AVIF", "HEIF"])
def test_what_cannot_be_read_in_part_is_refused_all_the_same(format: str) -> None:
    if format == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    with pytest.raises(UnreadableImage, match="damaged"):
        decode(file_of(format)[:-10], max_pixels=10_000, damaged=True)
