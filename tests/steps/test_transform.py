"""load, resize, pad, trim and convert."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from steps.contract import Encoding
from steps.convert import Convert
from steps.load import Load, normalized
from steps.pixels.images import alpha_of
from steps.transform import Pad, Resize, Transform, Trim
from tests.steps import images

sides = st.integers(1, 40)


def size(step: Transform, width: int, height: int) -> tuple[int, int]:
    return step.transform(Image.new("RGB", (width, height))).image.size


@given(width=sides, height=sides, wide=sides, high=sides)
def test_contain_fits_and_touches(width: int, height: int, wide: int, high: int) -> None:
    result = size(Resize(width=wide, height=high), width, height)
    assert result[0] <= wide
    assert result[1] <= high
    assert result[0] == wide or result[1] == high


@given(width=sides, height=sides, wide=sides, high=sides, fit=st.sampled_from(["cover", "stretch"]))
def test_cover_and_stretch_fill(width: int, height: int, wide: int, high: int, fit: Any) -> None:
    assert size(Resize(width=wide, height=high, fit=fit), width, height) == (wide, high)


def test_one_side_keeps_the_proportions() -> None:
    assert size(Resize(width=10), 40, 20) == (10, 5)
    assert size(Resize(height=10, fit="cover"), 40, 20) == (20, 10)


def test_cover_crops_the_middle() -> None:
    pixels = np.zeros((10, 30, 3), dtype=np.uint8)
    pixels[:, 10:20] = 255
    covered = Resize(width=10, height=10, fit="cover", resampling="nearest").transform(Image.fromarray(pixels)).image
    assert (np.asarray(covered) == 255).all()


def test_resize_lends_no_hidden_color_to_edges() -> None:
    small = Resize(width=20).transform(images.disc(80, color=(200, 30, 40), under=255)).image
    pixels = np.asarray(small)
    seen = pixels[pixels[..., 3] > 8]
    assert np.abs(seen[:, :3].astype(int) - (200, 30, 40)).max() <= 16


def test_resize_needs_a_size() -> None:
    with pytest.raises(ValidationError, match="give width, height or both"):
        Resize()


def test_pad_centres_and_never_crops() -> None:
    image = Image.new("RGB", (10, 6), "red")
    padded = Pad(width=20, height=4, margin=1, color="blue").transform(image).image
    assert padded.size == (20, 8)
    assert padded.mode == "RGB"
    assert padded.getpixel((5, 1)) == (255, 0, 0)
    assert padded.getpixel((4, 1)) == (0, 0, 255)
    assert Pad(square=True).transform(image).image.size == (10, 10)


def test_a_transparent_border_makes_rgba() -> None:
    padded = Pad(margin=2).transform(Image.new("RGB", (3, 3), "red")).image
    assert padded.mode == "RGBA"
    assert padded.getpixel((0, 0)) == (0, 0, 0, 0)
    assert padded.getpixel((2, 2)) == (255, 0, 0, 255)


@given(left=st.integers(0, 9), top=st.integers(0, 9), margin=st.integers(0, 20))
def test_trim_finds_the_subject(left: int, top: int, margin: int) -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (left, top, left + 5, top + 7))
    for step in (Trim(margin=margin), Trim(by="border", margin=margin)):
        result = step.transform(image)
        width = min(20, left + 5 + margin) - max(0, left - margin)
        height = min(20, top + 7 + margin) - max(0, top - margin)
        if step.by == "border" and left == top == 0:
            continue  # the border's color is the subject's
        assert result.image.size == (width, height)
        assert result.facts["trimmed_ratio"] == pytest.approx(1 - width * height / 400, abs=1e-6)


def test_trim_of_nothing_is_the_image() -> None:
    for image in (Image.new("RGBA", (5, 5)), Image.new("RGB", (5, 5), "red")):
        result = Trim(by="alpha" if image.mode == "RGBA" else "border").transform(image)
        assert result.image.size == (5, 5)
        assert result.facts == {"trimmed_ratio": 0.0}


def test_convert_says_how_to_store() -> None:
    image = images.noise(8, 8, "RGBA")
    for fields, encoding in (
        ({"format": "png"}, Encoding("png", 90, True)),
        ({"format": "webp", "quality": 70}, Encoding("webp", 70, False)),
        ({"format": "webp", "lossless": True}, Encoding("webp", 90, True)),
        ({"format": "avif"}, Encoding("avif", 90, False)),
    ):
        result = Convert.model_validate(fields).transform(image)
        assert result.encoding == encoding
        assert (alpha_of(result.image) == alpha_of(image)).all()
        visible = alpha_of(image) > 0  # what is hidden takes other colors in a lossy file
        assert (np.asarray(result.image)[visible] == np.asarray(image)[visible]).all()


def test_jpeg_lays_transparency_over_a_color() -> None:
    result = Convert(format="jpeg", background="#102030").transform(Image.new("RGBA", (4, 4), (255, 255, 255, 0)))
    assert result.image.mode == "RGB"
    assert result.image.getpixel((0, 0)) == (16, 32, 48)


@pytest.mark.parametrize("format", ["jpeg", "avif"])
def test_lossless_is_refused_where_it_cannot_be(format: str) -> None:
    with pytest.raises(ValidationError, match="choose png or webp"):
        Convert.model_validate({"format": format, "lossless": True})


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16", "I", "RGB", "RGBA"])
def test_load_gives_rgb_or_rgba(mode: str) -> None:
    step = Load()
    result = step.run([images.frame(files={"image": Image.new(mode, (3, 2))})], None)[0]  # type: ignore[arg-type]
    assert result.image.mode == ("RGBA" if mode in ("LA", "RGBA") else "RGB")
    assert step.item_problems(images.item()) != []
    assert step.item_files(images.item()) == ("image",)


def test_sixteen_bits_are_scaled() -> None:
    gray = Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16))
    assert np.asarray(normalized(gray))[0, :, 0].tolist() == [0, 100, 255]


def test_a_camera_s_orientation_is_applied() -> None:
    image = Image.new("RGB", (4, 2), "red")
    exif = image.getexif()
    exif[0x0112] = 6
    file = BytesIO()
    image.save(file, "JPEG", exif=exif)
    assert normalized(Image.open(file)).size == (2, 4)


@pytest.mark.parametrize(
    ("step", "width", "height"),
    [
        (Resize(width=16_384), 1, 40_000),  # 16,384 x 655,360,000 if nobody looked
        (Resize(width=16_384, height=16_384, fit="stretch"), 9, 9),
        (Resize(width=16_384, height=16_384, fit="cover"), 9, 9),
        (Pad(margin=16_384), 9, 9),
        (Pad(square=True), 1, 14_000),
    ],
)
def test_a_result_too_large_to_be_read_again_is_refused_before_it_is_made(
    step: Transform, width: int, height: int
) -> None:
    with pytest.raises(ValueError, match=r"the result would have [\d,]+ x [\d,]+ pixels, more than 178,956,970"):
        size(step, width, height)
