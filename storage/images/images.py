"""Images to bytes and back: the formats, encoding and decoding, and the errors of both ways."""

import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BytesIO
from typing import Any, Literal, NamedTuple

from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from configs.documents.notes import Notes
from configs.failures import PixelmillError
from storage.images.credits import read_credits
from storage.images.file_kinds import READABLE, is_heif, why_not_read
from storage.images.png_recipe import (
    JPEG_BLOCK,
    ExifBlock,
    ImageRecipe,
    exif_block,
    lost_recipe,
    parse_recipe,
    png_chunks,
    read_drawn,
    recipe_text,
    xmp_packet,
)
from storage.images.profiles import to_srgb
from storage.objects.keys import sha256_hex

# Pillow's own limit would refuse what PIXELMILL_MAX_PIXELS allows; here sizes are checked before pixels are unpacked.
Image.MAX_IMAGE_PIXELS = None

ImageFormat = Literal["png", "webp", "jpeg", "avif"]


class FormatTraits(NamedTuple):
    """`max_side` is what its encoder writes and the usual decoders read, pixels."""

    content_type: str
    extension: str
    has_alpha: bool
    max_side: int
    max_pixels: int


FORMATS: dict[ImageFormat, FormatTraits] = {
    "png": FormatTraits("image/png", "png", has_alpha=True, max_side=2**31 - 1, max_pixels=2**40),
    "webp": FormatTraits("image/webp", "webp", has_alpha=True, max_side=16_383, max_pixels=16_383**2),
    "jpeg": FormatTraits("image/jpeg", "jpg", has_alpha=False, max_side=65_500, max_pixels=65_500**2),
    # What libavif reads by default.
    "avif": FormatTraits("image/avif", "avif", has_alpha=True, max_side=32_768, max_pixels=16_384**2),
}


class UnreadableImage(PixelmillError, ValueError):
    """Raised for bytes that are not a readable image; the message names the reason."""


class UnwritableImage(PixelmillError, ValueError):
    """Raised for an image that this format cannot hold; the message names what to change."""


@contextmanager
def reading_errors(data: bytes) -> Iterator[None]:
    """Convert all that Pillow's decoders raise on damaged or hostile bytes to UnreadableImage."""
    try:
        yield
    except (UnreadableImage, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(why_not_read(data)) from error
    except Exception as error:  # decoders raise a dozen kinds: RuntimeError, struct.error, zlib.error …
        if not _CUT_OFF.search(str(error)):
            advice = "open it in another program and save it again"
            raise UnreadableImage(f"The image is damaged: {error}. Fetch it again, or {advice}.") from error
        can_be_shown = data[:4] != b"RIFF" and data[4:8] != b"ftyp"  # those are read whole or not at all
        advice = ", or take what is there of it with `damaged: accept` in the step `load`" if can_be_shown else ""
        raise UnreadableImage(f"The image is damaged: its end is missing. Fetch the file again{advice}.") from error


_CUT_OFF = re.compile("truncated|broken (PNG|data)|unrecognized data stream|create decoder object", re.IGNORECASE)


def open_image(data: bytes) -> ImageFile.ImageFile:
    """Open an image by its header alone. Use within `reading_errors`."""
    if is_heif(data):
        with suppress(ImportError):  # an extra, which the message about the file names
            import pillow_heif

            pillow_heif.register_heif_opener()
            return Image.open(BytesIO(data), formats=("HEIF",))
    return Image.open(BytesIO(data), formats=READABLE)


def check_pixels(image: Image.Image, max_pixels: int) -> None:
    """Raise UnreadableImage for an image of too many pixels, before they are unpacked."""
    if image.width * image.height > max_pixels:
        raise UnreadableImage(
            f"The image is too large: {image.width} x {image.height} pixels, at most {max_pixels} are allowed. "
            "Make it smaller, or raise PIXELMILL_MAX_PIXELS."
        )


# Runs only: images out of a network have few longer repeats. Measured with zlib-ng on those of
# 256 and 1024 pixels: half the time of level 4 or less, and 1 to 7 % fewer bytes; screenshots take 13 % more.
PNG_OPTIONS = {"compress_level": 1, "compress_type": zlib.Z_RLE}
_FINE_QUALITY = 90  # from here on, chroma is kept at full resolution


class EncodedImage(NamedTuple):
    data: bytes
    sha256: str
    content_type: str
    extension: str  # without a dot
    width: int
    height: int
    left_out: str = ""  # what of the recipe the file could not hold, in words


def encode(
    image: Image.Image, *, format: ImageFormat, quality: int, lossless: bool, recipe: ImageRecipe
) -> EncodedImage:
    """Encode the image (mode RGB or RGBA) as a file with the recipe that made it.

    `quality` is 1 … 100, for lossy formats; `lossless` matters to WebP, and to AVIF, which then comes within 3 levels
    of 255 (its coder works in another colour space). The bytes depend on the arguments alone, on no clock, and of what
    an input file carried along on the image's notes alone. Raises UnwritableImage, with what to change.
    """
    traits = FORMATS[format]
    if image.mode not in ("RGB", "RGBA"):
        raise UnwritableImage(f"An image of mode {image.mode} cannot be stored: convert it to RGB or RGBA.")
    if image.mode == "RGBA" and not traits.has_alpha:
        raise UnwritableImage(f"{format} has no transparency: put a background behind the image, or store png or webp.")
    if not 1 <= quality <= 100:
        raise UnwritableImage(f"A quality of {quality} is impossible: choose 1 to 100.")
    size = f"{image.width} x {image.height} pixels"
    if max(image.size) > traits.max_side or image.width * image.height > traits.max_pixels:
        most = f"{traits.max_side:,} pixels a side and {traits.max_pixels:,} in all"
        advice = "Store png, or put a `resize` before the step"
        raise UnwritableImage(f"{format} holds at most {most}, and this image has {size}. {advice}.")
    bare = image.copy()
    bare.info = {}  # profiles and comments of an input image would be written otherwise
    notes = Notes.of(image)
    exif = exif_block(recipe, notes, JPEG_BLOCK if format == "jpeg" else None) if format != "png" else ExifBlock(b"")
    options = _OPTIONS[format](quality, lossless)
    if format == "png":
        options["pnginfo"] = png_chunks(recipe, notes)
    else:
        blocks = {"exif": exif.data, "xmp": xmp_packet(recipe, notes)}
        options |= {name: block for name, block in blocks.items() if block}
    if notes.dpi is not None and format in ("png", "jpeg"):  # the others have it in EXIF alone
        options["dpi"] = notes.dpi
    file = BytesIO()
    try:
        bare.save(file, format=format.upper(), **options)
    except MemoryError:
        raise
    except Exception as error:  # encoders raise what they like, such as RuntimeError
        raise UnwritableImage(f"{format} cannot hold this image of {size}: {error}. Store png.") from error
    data = file.getvalue()
    digest = sha256_hex(data)
    return EncodedImage(data, digest, traits.content_type, traits.extension, *image.size, left_out=exif.left_out)


def _png_options(_quality: int, _lossless: bool) -> dict[str, Any]:
    return dict(PNG_OPTIONS)


def _webp_options(quality: int, lossless: bool) -> dict[str, Any]:
    # Lossless, the quality would set the effort; `exact` keeps the colours under full transparency.
    effort = {"lossless": True, "quality": 50, "exact": True} if lossless else {"quality": quality}
    return {**effort, "method": 4}


def _jpeg_options(quality: int, _lossless: bool) -> dict[str, Any]:
    return {"quality": quality, "subsampling": _subsampling(quality)}


def _avif_options(quality: int, lossless: bool) -> dict[str, Any]:
    quality = 100 if lossless else quality
    # One thread: the writer's own threads fill the machine, and the bytes must not depend on its cores.
    options = {"quality": quality, "subsampling": _subsampling(quality), "max_threads": 1}
    # Alpha exactly, as in WebP: a twentieth off shows at every rim. An opaque image stays the same to the byte.
    return {**options, "advanced": {"a:lossless": "1"}}


_OPTIONS: Mapping[ImageFormat, Callable[[int, bool], dict[str, Any]]] = {
    "png": _png_options,
    "webp": _webp_options,
    "jpeg": _jpeg_options,
    "avif": _avif_options,
}


def _subsampling(quality: int) -> str:
    return "4:4:4" if quality >= _FINE_QUALITY else "4:2:0"


def decode(data: bytes, *, max_pixels: int, damaged: bool = False) -> Image.Image:
    """Decode to RGB, or RGBA if there is transparency: upright, in sRGB, the first frame of an animation.

    With `damaged`, a file whose end is missing gives what there is of it. Raises UnreadableImage for bytes that are
    not an image, damaged otherwise, or more than `max_pixels`; the size is checked before the pixels are unpacked. The
    result carries its notes, and no other metadata of the file.
    """
    with reading_errors(data):
        image = open_image(data)
        check_pixels(image, max_pixels)
        image, is_cut_off = _loaded(image, data, damaged=damaged)
        notes = replace(read_credits(image), more_frames=_has_more_frames(image, data), damaged=is_cut_off)
        if any(mark in data for mark in _DRAWN_MARKS):
            notes = replace(notes, drawn=read_drawn(recipe_text(image)))
        plain = _to_rgb(to_srgb(ImageOps.exif_transpose(image)))
        notes.put_on(plain)
        return plain


# In most files there are none, and reading the recipe takes longer than to look.
_DRAWN_MARKS = (b'"drawn"', "drawn".encode("utf-16-be"))


def _loaded(image: ImageFile.ImageFile, data: bytes, *, damaged: bool) -> tuple[ImageFile.ImageFile, bool]:
    """Return the image with its pixels, and whether some are missing."""
    try:
        image.load()
    except OSError:
        if not damaged:
            raise
        # libjpeg fills up what is missing once it comes to the mark of the end.
        image = open_image(data + b"\xff\xd9")
        try:
            image.load()
        except OSError:
            image.tile = []  # no more is to be decoded: the pixels so far stand
            image.load()
        return image, True
    return image, False


def _has_more_frames(image: ImageFile.ImageFile, data: bytes) -> bool:
    """Return whether it is an animation or has several pages. The views in a photo of a phone (MPO) are neither."""
    if image.format in ("GIF", "TIFF"):  # it looks for the second, and leaves the first
        with suppress(Exception):
            return bool(open_image(data).is_animated)  # type: ignore[attr-defined]
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


class FileCheck(NamedTuple):
    """The result of a look at the beginning and the end of a file, without its pixels.

    `objection`: why it cannot be decoded; with `cut_off` it can be, as far as it goes.
    """

    objection: str | None = None
    cut_off: bool = False
    more_frames: bool = False


def check_file(data: bytes, *, max_pixels: int) -> FileCheck:
    """Look at a file that is to be decoded. Pixels are unpacked only where its end seems to be missing."""
    cut_off = False
    try:
        with reading_errors(data):
            image = open_image(data)
            check_pixels(image, max_pixels)
            more_frames = _has_more_frames(image, data)
            cut_off = _lacks_end(data)
            if cut_off:
                image.load()
            return FileCheck(more_frames=more_frames)
    except UnreadableImage as error:
        return FileCheck(str(error), cut_off)


def _lacks_end(data: bytes) -> bool:
    """Return whether the mark of the end is not where it mostly is: other programs may write something behind it."""
    mark, tail = _ENDS.get(data[:2], (b"", 0))
    return mark not in data[-tail:]


# By the first two bytes: the mark of the end, and how many bytes before the file's end it is looked for.
_ENDS = {b"\xff\xd8": (b"\xff\xd9", 4096), b"\x89P": (b"IEND", 4096), b"GI": (b";", 1)}


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow would cut 16 bits off at 255 instead of scaling them.
        import numpy as np  # not in every process that opens an image

        values = np.asarray(image)
        plain = Image.fromarray((values // 257).astype(np.uint8)).convert("RGB")
        if (transparent := image.info.get("transparency")) is not None:
            plain.putalpha(Image.fromarray((values != transparent).astype(np.uint8) * np.uint8(255)))
        return plain
    if image.mode in ("I", "F"):
        raise UnreadableImage(f"Pixels of mode {image.mode} have no fixed range: save the image with 8 or 16 bits.")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def read_recipe(data: bytes) -> ImageRecipe | None:
    """Return the chain in an image file, or None if there is none that this version understands.

    Raises UnreadableImage if the bytes are no image.
    """
    with reading_errors(data):
        text = recipe_text(open_image(data))
    return None if text is None else parse_recipe(text)


def has_lost_recipe(data: bytes) -> bool:
    """Return whether Pixelmill wrote the file and had no room for the recipe in it. Raises UnreadableImage."""
    with reading_errors(data):
        return lost_recipe(open_image(data))
