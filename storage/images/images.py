"""Images to bytes and back: the formats, encoding and decoding, and the errors of both ways."""

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Literal, NamedTuple

from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

from configs.failures import PixelmillError
from storage.images.png_recipe import ImageRecipe, exif_block, parse_recipe, png_chunks, recipe_text, xmp_packet
from storage.objects.keys import sha256_hex

ImageFormat = Literal["png", "webp", "jpeg", "avif"]


class FormatTraits(NamedTuple):
    content_type: str
    extension: str
    has_alpha: bool


FORMATS: dict[ImageFormat, FormatTraits] = {
    "png": FormatTraits("image/png", "png", has_alpha=True),
    "webp": FormatTraits("image/webp", "webp", has_alpha=True),
    "jpeg": FormatTraits("image/jpeg", "jpg", has_alpha=False),
    "avif": FormatTraits("image/avif", "avif", has_alpha=True),
}

# The decoders offered to foreign bytes. Others of Pillow's are seldom met, and some start external programs.
READABLE = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")


class UnreadableImage(PixelmillError, ValueError):
    """Raised for bytes that are not a readable image; the message names the reason."""


class UnwritableImage(PixelmillError, ValueError):
    """Raised for an image that this format cannot hold; the message names what to change."""


@contextmanager
def reading_errors() -> Iterator[None]:
    """Convert all that Pillow's decoders raise on damaged or hostile bytes to UnreadableImage."""
    try:
        yield
    except (UnreadableImage, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"This is no image in one of the formats {', '.join(READABLE)}.") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"The image is too large: {error}") from error
    except Exception as error:  # decoders raise a dozen kinds: RuntimeError, struct.error, zlib.error …
        raise UnreadableImage(f"The image is damaged: {error}.") from error


def open_image(data: bytes) -> ImageFile.ImageFile:
    """Open an image by its header alone. Use within `reading_errors`."""
    return Image.open(BytesIO(data), formats=READABLE)


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


def encode(
    image: Image.Image, *, format: ImageFormat, quality: int, lossless: bool, recipe: ImageRecipe
) -> EncodedImage:
    """Encode the image (mode RGB or RGBA) as a file with the recipe that made it.

    `quality` is 1 … 100, for lossy formats; `lossless` matters to WebP, and to AVIF, which then comes within 3 levels
    of 255 (its coder works in another colour space). The bytes depend on the arguments alone, on no clock and on
    nothing that an input file carried along. Raises UnwritableImage, with what to change.
    """
    traits = FORMATS[format]
    if image.mode not in ("RGB", "RGBA"):
        raise UnwritableImage(f"An image of mode {image.mode} cannot be stored: convert it to RGB or RGBA.")
    if image.mode == "RGBA" and not traits.has_alpha:
        raise UnwritableImage(f"{format} has no transparency: put a background behind the image, or store png or webp.")
    if not 1 <= quality <= 100:
        raise UnwritableImage(f"A quality of {quality} is impossible: choose 1 to 100.")
    bare = image.copy()
    bare.info = {}  # profiles and comments of an input image would be written otherwise
    file = BytesIO()
    try:
        bare.save(file, format=format.upper(), **_OPTIONS[format](quality, lossless, recipe))
    except (OSError, ValueError, OverflowError) as error:
        size = f"{image.width} x {image.height} pixels"
        raise UnwritableImage(f"{format} cannot hold this image of {size}: {error}. Store png.") from error
    data = file.getvalue()
    return EncodedImage(data, sha256_hex(data), traits.content_type, traits.extension, image.width, image.height)


def _png_options(_quality: int, _lossless: bool, recipe: ImageRecipe) -> dict[str, Any]:
    return {**PNG_OPTIONS, "pnginfo": png_chunks(recipe)}


def _webp_options(quality: int, lossless: bool, recipe: ImageRecipe) -> dict[str, Any]:
    # Lossless, the quality would set the effort; `exact` keeps the colours under full transparency.
    effort = {"lossless": True, "quality": 50, "exact": True} if lossless else {"quality": quality}
    return {**effort, "method": 4, **_blocks(recipe)}


def _jpeg_options(quality: int, _lossless: bool, recipe: ImageRecipe) -> dict[str, Any]:
    return {"quality": quality, "subsampling": _subsampling(quality), **_blocks(recipe)}


def _avif_options(quality: int, lossless: bool, recipe: ImageRecipe) -> dict[str, Any]:
    quality = 100 if lossless else quality
    # One thread: the writer's own threads fill the machine, and the bytes must not depend on its cores.
    options = {"quality": quality, "subsampling": _subsampling(quality), "max_threads": 1, **_blocks(recipe)}
    # Alpha exactly, as in WebP: a twentieth off shows at every rim. An opaque image stays the same to the byte.
    return {**options, "advanced": {"a:lossless": "1"}}


_OPTIONS: Mapping[ImageFormat, Callable[[int, bool, ImageRecipe], dict[str, Any]]] = {
    "png": _png_options,
    "webp": _webp_options,
    "jpeg": _jpeg_options,
    "avif": _avif_options,
}


def _subsampling(quality: int) -> str:
    return "4:4:4" if quality >= _FINE_QUALITY else "4:2:0"


def _blocks(recipe: ImageRecipe) -> dict[str, bytes]:
    blocks = {"exif": exif_block(recipe), "xmp": xmp_packet(recipe)}
    return {name: block for name, block in blocks.items() if block}


def decode(data: bytes, *, max_pixels: int) -> Image.Image:
    """Decode to RGB, or RGBA if there is transparency: upright, in sRGB, the first frame of an animation.

    Raises UnreadableImage for bytes that are damaged, not an image, or more than `max_pixels`; the size is checked
    before the pixels are unpacked. The result carries no metadata of the file.
    """
    with reading_errors():
        image = open_image(data)
        if image.width * image.height > max_pixels:
            size = f"{image.width} x {image.height}"
            raise UnreadableImage(f"The image is too large: {size} pixels, at most {max_pixels} are allowed.")
        image.load()
        upright = ImageOps.exif_transpose(image)
        plain = _to_rgb(_to_srgb(upright))
        plain.info = {}
        return plain


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow would cut 16 bits off at 255 instead of scaling them.
        image = image.convert("I").point(lambda value: value / 257).convert("L")
    if image.mode in ("I", "F"):
        raise UnreadableImage(f"Pixels of mode {image.mode} have no fixed range: save the image with 8 or 16 bits.")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _to_srgb(image: Image.Image) -> Image.Image:
    """Apply an embedded color profile; ignore one that does not fit the image, as viewers do."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    target = "RGB" if image.mode == "CMYK" else image.mode
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=target)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return image if converted is None else converted


def read_recipe(data: bytes) -> ImageRecipe | None:
    """Return the chain in an image file, or None if there is none that this version understands.

    Raises UnreadableImage if the bytes are no image.
    """
    with reading_errors():
        text = recipe_text(open_image(data))
    return None if text is None else parse_recipe(text)
