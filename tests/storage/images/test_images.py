"""Images to bytes and back."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from storage.images.images import FORMATS, EncodedImage, ImageFormat, UnreadableImage, UnwritableImage, decode, encode
from storage.images.png_recipe import ImageRecipe, Provenance
from storage.objects.keys import sha256_hex

RECIPE = ImageRecipe((Provenance("generate", 1, {"prompt": "a fox", "seed": 7}, {}, (), "f" * 64),))


def picture(mode: str = "RGBA", width: int = 48, height: int = 32) -> Image.Image:
    """Gradients and noise, with every transparency."""
    rows, columns = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(5).integers(0, 60, (height, width))
    layers = [rows * 255 // height, columns * 255 // width, 100 + noise, (rows + columns) * 255 // (height + width)]
    return Image.fromarray(np.stack(layers[: len(mode)], axis=-1).astype(np.uint8))


def encoded(
    image: Image.Image, format: ImageFormat = "png", *, quality: int = 90, lossless: bool = True
) -> EncodedImage:
    return encode(image, format=format, quality=quality, lossless=lossless, recipe=RECIPE)


def file_of(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, format=format, **options)
    return file.getvalue()


def decoded(data: bytes, max_pixels: int = 10_000) -> Image.Image:
    return decode(data, max_pixels=max_pixels)


def difference(one: Image.Image, other: Image.Image) -> int:
    assert one.mode == other.mode
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other)).max())


@pytest.mark.parametrize("format", FORMATS)
def test_an_encoded_image_describes_itself(format: ImageFormat) -> None:
    image = encoded(picture("RGB"), format)
    assert image.sha256 == sha256_hex(image.data)
    assert (image.width, image.height) == (48, 32)
    assert (image.content_type, image.extension) == (f"image/{format}", "jpg" if format == "jpeg" else format)
    with Image.open(BytesIO(image.data)) as opened:
        assert (opened.format, opened.size) == (format.upper(), (48, 32))


@pytest.mark.parametrize(("format", "tolerance"), [("png", 0), ("webp", 0), ("avif", 3)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_lossless_is_lossless(format: ImageFormat, tolerance: int, mode: str) -> None:
    image = picture(mode)
    assert difference(decoded(encoded(image, format).data), image) <= tolerance


@pytest.mark.parametrize("format", ["webp", "jpeg", "avif"])
def test_quality_costs_bytes(format: ImageFormat) -> None:
    sizes = [len(encoded(picture("RGB"), format, quality=quality, lossless=False).data) for quality in (20, 60, 95)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("format", FORMATS)
def test_the_bytes_depend_on_nothing_else(format: ImageFormat) -> None:
    clean = picture("RGB")
    carrying = decoded(file_of(clean))
    carrying.info.update({"icc_profile": b"p" * 200, "exif": b"Exif\x00\x00x", "comment": b"c", "dpi": (72, 72)})
    assert encoded(carrying, format) == encoded(clean, format)
    assert "icc_profile" in carrying.info  # the caller's image is left as it was


def test_what_a_format_cannot_hold_is_refused_with_advice() -> None:
    with pytest.raises(UnwritableImage, match="put a background behind"):
        encoded(picture("RGBA"), "jpeg")
    with pytest.raises(UnwritableImage, match="convert it to RGB or RGBA"):
        encoded(picture("RGB").convert("L"))
    with pytest.raises(UnwritableImage, match="1 to 100"):
        encoded(picture("RGB"), "jpeg", quality=0)
    with pytest.raises(UnwritableImage, match="Store png"):
        encoded(Image.new("RGB", (20_000, 1)), "webp")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("1", "RGB"), ("L", "RGB"), ("LA", "RGBA"), ("P", "RGB"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("I;16", "RGB")],
)
def test_every_mode_of_png_comes_as_rgb_or_rgba(mode: str, expected: str) -> None:
    assert decoded(file_of(Image.new(mode, (4, 4)))).mode == expected


def test_cmyk_comes_as_rgb() -> None:
    assert decoded(file_of(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG")).getpixel((0, 0)) == (255, 0, 0)


def test_a_transparent_colour_becomes_alpha() -> None:
    image = Image.new("RGB", (2, 1), (255, 0, 0))
    image.putpixel((1, 0), (0, 0, 255))
    found = decoded(file_of(image, transparency=(0, 0, 255)))
    assert [found.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0, 255), (0, 0, 255, 0)]


def test_sixteen_bits_are_scaled_not_cut() -> None:
    grey = Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16))
    found = decoded(file_of(grey))
    assert [found.getpixel((x, 0)) for x in range(3)] == [(0, 0, 0), (100, 100, 100), (255, 255, 255)]


def test_a_photo_comes_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    found = decoded(file_of(picture("RGB", 48, 32), "JPEG", exif=exif.tobytes()))
    assert found.size == (32, 48)
    assert not found.getexif()
    assert found.info == {}


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    found = decoded(file_of(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert found.convert("RGB").getpixel((0, 0)) == (255, 0, 0)


def test_colours_are_brought_to_srgb() -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = profile.index(b"rXYZ"), profile.index(b"bXYZ")  # the table of tags comes first
    for place, name in zip(tags, (b"bXYZ", b"rXYZ"), strict=True):
        profile[place : place + 4] = name
    swapped = decoded(file_of(Image.new("RGB", (2, 2), (255, 0, 0)), icc_profile=bytes(profile)))
    assert swapped.getpixel((0, 0)) == (0, 0, 255)
    broken = decoded(file_of(Image.new("RGB", (2, 2), (255, 0, 0)), icc_profile=b"no profile"))
    assert broken.getpixel((0, 0)) == (255, 0, 0)


def test_too_many_pixels_are_refused_unseen() -> None:
    """A header that promises 60,000 x 60,000 pixels, and no pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    empty = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    with pytest.raises(UnreadableImage, match="too large"):
        decoded(b"\x89PNG\r\n\x1a\n" + chunk + empty)
    data = file_of(picture("RGB"))
    assert decoded(data, max_pixels=48 * 32).size == (48, 32)
    with pytest.raises(UnreadableImage, match="48 x 32 pixels, at most 1535"):
        decoded(data, max_pixels=48 * 32 - 1)


@pytest.mark.parametrize("data", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg/>"])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImage, match="no image in one of the formats"):
        decoded(data)


SAMPLES = {format: encoded(picture("RGB"), format).data for format in FORMATS} | {"gif": file_of(picture("RGB"), "GIF")}


@pytest.mark.parametrize("format", SAMPLES)
def test_a_truncated_image_is_refused(format: str) -> None:
    with pytest.raises(UnreadableImage):
        decoded(SAMPLES[format][: len(SAMPLES[format]) // 2])


@given(st.sampled_from(sorted(SAMPLES)), st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_give_an_image_or_a_clear_error(format: str, data: st.DataObject) -> None:
    damaged = bytearray(SAMPLES[format])
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=6)):
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        assert decoded(bytes(damaged)).mode in ("RGB", "RGBA")
    except UnreadableImage as error:
        assert str(error)
