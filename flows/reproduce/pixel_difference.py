"""Difference of two images, pixel by pixel."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

_BAND_PIXELS = 2**22  # compared at once: the differences of a whole large image would take gigabytes


@dataclass(frozen=True, slots=True)
class PixelDifference:
    """The difference of two images of one size: absolute, 0 … 255, one entry for each letter of `channels`."""

    channels: str  # RGB, or RGBA if either image is
    pixels: int
    differing: int  # pixels that differ in any channel
    largest: tuple[int, ...]
    mean: tuple[float, ...]  # over all pixels

    @property
    def worst(self) -> int:
        """The largest difference of any channel, 0 … 255."""
        return max(self.largest)


def pixel_difference(one: Image.Image, other: Image.Image) -> PixelDifference | None:
    """Compare images of mode RGB or RGBA, colors under transparent pixels included.

    Returns None if their sizes differ.
    """
    if one.size != other.size:
        return None
    channels = "RGBA" if "RGBA" in (one.mode, other.mode) else "RGB"
    width, height = one.size
    largest = np.zeros(len(channels), np.uint8)
    total = np.zeros(len(channels), np.int64)
    differing = 0
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        box = (0, top, width, min(top + rows, height))
        first, second = (np.asarray(image.crop(box).convert(channels)) for image in (one, other))
        apart = np.maximum(first, second) - np.minimum(first, second)
        differing += int(np.count_nonzero(apart.any(axis=2)))
        largest = np.maximum(largest, apart.max(axis=(0, 1)))
        total += apart.sum(axis=(0, 1), dtype=np.int64)
    pixels = width * height
    return PixelDifference(
        channels,
        pixels,
        differing,
        largest=tuple(int(value) for value in largest),
        mean=tuple(float(value) / pixels for value in total),
    )
