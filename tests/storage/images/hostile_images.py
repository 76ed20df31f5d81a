"""Image files that mean harm: small, and large once they are opened; truncated; or of kinds that are never opened."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

from PIL import Image


def png(width: int, height: int, *chunks: bytes, bits: int = 8, color: int = 2, data: bytes | None = None) -> bytes:
    """A PNG of these dimensions; without `data` it has no pixels."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + _chunk(b"IDAT", data or b"") + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _zeros(size: int) -> bytes:
    """So many zero bytes, deflated."""
    packer = zlib.compressobj()
    some = b"".join(packer.compress(b"\0" * 1_000_000) for _ in range(size // 1_000_000))
    return some + packer.flush()


def black_png() -> bytes:
    """20,000 x 20,000 true pixels of one bit in 50 kB."""
    return png(20_000, 20_000, bits=1, color=0, data=_zeros(20_000 * (20_000 // 8 + 1) + 1_000_000))


def text_png() -> bytes:
    """A text of 50 MB in 50 kB, before one pixel."""
    return png(1, 1, _chunk(b"zTXt", b"Comment\0\0" + _zeros(50_000_000)), data=zlib.compress(b"\0\0\0\0"))


def many_texts_png() -> bytes:
    """A thousand texts, each just below the limit of one."""
    one = _chunk(b"zTXt", b"Comment\0\0" + _zeros(1_000_000))
    return png(1, 1, *[one] * 1000, data=zlib.compress(b"\0\0\0\0"))


def profile_png() -> bytes:
    """A color profile of 50 MB."""
    return png(1, 1, _chunk(b"iCCP", b"p\0\0" + _zeros(50_000_000)), data=zlib.compress(b"\0\0\0\0"))


def large_webp() -> bytes:
    """16,383 x 16,383 pixels of one color, lossless: 35 bytes. Written by hand: encoding it would take seconds."""
    bits = (16_382) | (16_382 << 14)
    stream = b"\x2f" + struct.pack("<I", bits) + b"\x88\x88\x08\x07\x10\x11\xfd\x0f\x44\x44\xff\x03"
    stream += b"\0" * (len(stream) % 2)
    body = b"WEBPVP8L" + struct.pack("<I", len(stream)) + stream
    return b"RIFF" + struct.pack("<I", len(body)) + body


def moving_gif(frames: int = 500) -> bytes:
    """A small GIF of many frames."""
    images = [Image.new("P", (100, 100), color % 256) for color in range(frames)]
    return _file(images[0], "GIF", save_all=True, append_images=images[1:])


def growing_gif() -> bytes:
    """A screen of 1 x 1 pixel, and in it a frame of 65,535 x 65,535."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x02\x02\x44\x01\x00;"
    return screen + frame


def paged_tiff(pages: int = 300) -> bytes:
    images = [Image.new("L", (50, 50), color % 256) for color in range(pages)]
    return _file(images[0], "TIFF", save_all=True, append_images=images[1:])


def large_tiff() -> bytes:
    return _tiff(60_000, 60_000)


def endless_tiff() -> bytes:
    """The list of its pages goes round in a circle."""
    return _tiff(1, 1, following=8)


def _tiff(width: int, height: int, following: int = 0) -> bytes:
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: width * height}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value & 0xFFFFFFFF) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following)


def large_bmp() -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 8, 1, 16, 0, 0, 0, 0)  # run-length coded
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + 16, 0, 0, 54 + 1024) + header + b"\0" * 1024 + b"\xff\0" * 8


def large_jpeg() -> bytes:
    sound = bytearray(_file(Image.new("RGB", (8, 8)), "JPEG"))
    frame = sound.index(b"\xff\xc0")
    sound[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    return bytes(sound)


def large_avif() -> bytes:
    return _resized_box(_file(Image.new("RGB", (64, 64)), "AVIF"), 60_000)


def _resized_box(data: bytes, side: int) -> bytes:
    """With another size in the box that tells it; the coded image keeps its own."""
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", side, side) + data[place + 8 :]


def _file(image: Image.Image, format: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


# Too large, or damaged, each told from its beginning: none may cost more memory than a photo does.
BOMBS: dict[str, Callable[[], bytes]] = {
    make.__name__: make
    for make in (
        black_png,
        text_png,
        many_texts_png,
        profile_png,
        large_webp,
        growing_gif,
        large_tiff,
        large_bmp,
        large_jpeg,
        large_avif,
    )
}

# Fit to be opened, for only what is asked for is unpacked: the first frame.
MANY_FRAMES: dict[str, Callable[[], bytes]] = {make.__name__: make for make in (moving_gif, paged_tiff, endless_tiff)}

# What Pillow or a browser could open, with an interpreter or an external program behind it, or with a seldom used
# decoder; and what is none of all.
OTHER_KINDS: dict[str, bytes] = {
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/passwd"/></svg>',
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(/etc/passwd) (r) file\nshowpage\n",
    "eps, binary": b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 30, 99) + b"\0" * 20 + b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog/OpenAction<</S/Launch/F(calc)>>>>endobj\n%%EOF\n",
    "ico": _file(Image.new("RGB", (16, 16)), "ICO"),
    "ppm": b"P6\n2 2\n255\n" + b"\0" * 12,
    "tga": _file(Image.new("RGB", (4, 4)), "TGA"),
    "pcx": _file(Image.new("RGB", (4, 4)), "PCX"),
    "psd": b"8BPS\0\1" + b"\0" * 40,
    "wmf": b"\xd7\xcd\xc6\x9a" + b"\0" * 40,
    "html": b"<!doctype html><script>alert(1)</script>",
    "zip": b"PK\x03\x04" + b"\0" * 40,
    "python": b"#!/usr/bin/env python3\nprint(1)\n",
    "nothing": b"",
    "zeros": b"\0" * 1000,
}
