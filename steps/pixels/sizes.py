"""Sizes that a model needs (pad before, crop after), and the largest that a step may make."""

import numpy as np
from PIL import Image

# Pillow takes a file of more pixels for a bomb and does not open it: the result could not be read.
MAX_PIXELS = 178_956_970


def checked_size(width: int, height: int) -> tuple[int, int]:
    """Return the size itself, if an image of it may be made. Raises ValueError before any memory is taken."""
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"the result would have {width:,} x {height:,} pixels, more than {MAX_PIXELS:,}: ask for a smaller one"
        )
    return width, height


def padded_size(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Return width and height, each raised to a multiple of `multiple`."""
    width, height = size
    return -(-width // multiple) * multiple, -(-height // multiple) * multiple


def pad_to_multiple(image: Image.Image, multiple: int) -> Image.Image:
    """Repeat the last column and the last row, up to a multiple of `multiple` pixels."""
    return pad_to(image, *padded_size(image.size, multiple))


def pad_to(image: Image.Image, width: int, height: int) -> Image.Image:
    """Repeat the last column and the last row, up to `width` x `height` pixels."""
    right, bottom = max(0, width - image.width), max(0, height - image.height)
    if not right and not bottom:
        return image
    pixels = np.asarray(image)
    widths = ((0, bottom), (0, right), (0, 0))[: pixels.ndim]
    return Image.fromarray(np.pad(pixels, widths, mode="edge"))


def crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the top left corner of `size` (width, height)."""
    return image if image.size == size else image.crop((0, 0, *size))
