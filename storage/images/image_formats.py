"""The formats in which images come and go, and the errors of both ways."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Literal, NamedTuple

from PIL import Image, ImageFile, UnidentifiedImageError

from configs.failures import PixelmillError

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
