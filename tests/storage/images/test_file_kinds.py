"""What is no image is called by its name, with what to do; HEIC is read where its reader is installed."""

import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from storage.images import file_kinds
from storage.images.images import UnreadableImage, decode

pillow_heif = pytest.importorskip("pillow_heif")


def heic(color: str = "red") -> bytes:
    pillow_heif.register_heif_opener()
    file = BytesIO()
    Image.new("RGB", (64, 48), color).save(file, "HEIF")
    return file.getvalue()


def objection(data: bytes) -> str:
    with pytest.raises(UnreadableImage) as refused:
        decode(data, max_pixels=100_000)
    return str(refused.value)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "an empty file"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "a web page"),
        (b"<html lang='en'>", "a web page"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"PK\3\4" + b"\0" * 40, "a ZIP archive"),
        (b"\0\0\0\x1cftypisom\0\0\2\0isomiso2mp41", "a video"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b'{"error": "not found"}', "a JSON text"),
        (b"name,prompt\na,b\n", "a text"),
        (b"\x89PNG\r\n\x1a\n\0\0", "a damaged PNG"),
        (b"\1\2\3\4" * 9, "a file of an unknown kind"),
    ],
)
def test_a_file_that_is_no_image_is_called_by_its_name(data: bytes, kind: str) -> None:
    assert kind in objection(data)


def test_a_tiff_of_pixels_that_are_not_read_is_told_from_no_tiff() -> None:
    """CMYK with an alpha channel, by its tags."""
    file = BytesIO()
    Image.new("CMYK", (4, 4)).save(file, "TIFF")
    data = bytearray(file.getvalue())
    place = data.index(b"\x15\x01\x03\x00")  # SamplesPerPixel, a short
    data[place + 8] = 5
    assert "CMYK with transparency, no image in" in objection(bytes(data))
    assert "save it as RGB" in objection(bytes(data))


def test_heic_is_read_with_its_extra() -> None:
    found = np.asarray(decode(heic(), max_pixels=100_000)).astype(int)
    assert np.abs(found[20, 20] - (255, 0, 0)).max() <= 2


def test_heic_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(file_kinds, "find_spec", lambda name: None)
    assert "a HEIC picture" in objection(data)
    assert "install pixelmill[heif]" in objection(data)


def test_heic_obeys_the_limit_of_pixels() -> None:
    with pytest.raises(UnreadableImage, match="64 x 48 pixels, at most 3071"):
        decode(heic(), max_pixels=64 * 48 - 1)
