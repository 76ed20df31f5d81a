"""Color profiles count for every kind of picture that may have one."""

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from storage.images.images import decode

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def gray_profile(gamma: float = 1.0) -> bytes:
    """A profile of gray with a pure gamma, written by hand: Pillow makes none."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)  # D50
    text = b"text\0\0\0\0none\0\0\0\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"gray\0" + b"\0" * 78
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    tags = {b"desc": description, b"wtpt": white, b"cprt": text, b"kTRC": curve}
    place = 132 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        padded = data + b"\0" * (-len(data) % 4)
        table += name + struct.pack(">II", place + len(body), len(data))
        body += padded
    header = struct.pack(">I4sI4s4s4s", place + len(body), b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    header += b"\0" * 12 + b"acsp" + b"\0" * 28 + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D) + b"\0" * 48
    return header + table + body


def swapped_profile() -> bytes:
    """SRGB with red for blue."""
    profile = bytearray(SRGB)
    tags = profile.index(b"rXYZ"), profile.index(b"bXYZ")  # the table of tags comes first
    for place, name in zip(tags, (b"bXYZ", b"rXYZ"), strict=True):
        profile[place : place + 4] = name
    return bytes(profile)


def first_pixel(image: Image.Image, format: str, profile: bytes, **options: object) -> tuple[int, ...]:
    file = BytesIO()
    image.save(file, format, icc_profile=profile, **options)
    found = decode(file.getvalue(), max_pixels=1000).getpixel((0, 0))
    assert isinstance(found, tuple)
    return found


GRAY_PICTURES = {
    "L": Image.new("L", (4, 4), 128),
    "LA": Image.new("LA", (4, 4), (128, 77)),
    "I;16": Image.fromarray(np.full((4, 4), 128 * 257, np.uint16)),
}


@pytest.mark.parametrize("mode", GRAY_PICTURES)
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_gray_pictures_come_by_their_profile(mode: str, format: str) -> None:
    alpha = (77,) if mode == "LA" else ()
    assert first_pixel(GRAY_PICTURES[mode], format, gray_profile(1.0)) == (188, 188, 188, *alpha)


def test_a_gray_jpeg_comes_by_its_profile() -> None:
    assert first_pixel(GRAY_PICTURES["L"], "JPEG", gray_profile(1.0)) == (188, 188, 188)


def test_dark_grays_of_16_bits_stay_apart() -> None:
    values = np.array([[40, 80, 160, 320]], np.uint16)
    file = BytesIO()
    Image.fromarray(values).save(file, "PNG", icc_profile=gray_profile(1.0))
    found = np.asarray(decode(file.getvalue(), max_pixels=1000))[0, :, 0].tolist()
    assert found == sorted(set(found))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_pictures_of_colors_come_by_their_profile(mode: str) -> None:
    red = Image.new("RGBA", (4, 4), (255, 0, 0, 255)).convert(mode)
    assert first_pixel(red, "PNG", swapped_profile())[:3] == (0, 0, 255)


def test_a_palette_keeps_its_transparent_color_under_a_profile() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    assert first_pixel(image, "PNG", swapped_profile(), transparency=0) == (0, 0, 255, 0)


@pytest.mark.parametrize(("mode", "color"), [("CMYK", (0, 255, 255, 0)), ("RGB", (255, 0, 0))])
def test_a_profile_that_does_not_fit_is_passed_over(mode: str, color: tuple[int, ...]) -> None:
    assert first_pixel(Image.new(mode, (4, 4), color), "TIFF", gray_profile()) == (255, 0, 0)


def test_gray_with_a_profile_of_colors_comes_by_it() -> None:
    assert first_pixel(GRAY_PICTURES["L"], "PNG", SRGB) == (128, 128, 128)


def test_lab_needs_no_profile() -> None:
    file = BytesIO()
    Image.new("LAB", (4, 4), (128, 128, 128)).save(file, "TIFF")
    assert decode(file.getvalue(), max_pixels=1000).getpixel((0, 0)) == (119, 119, 119)
