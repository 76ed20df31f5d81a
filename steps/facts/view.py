"""The definition of a fact, and an image as facts look at it: planes computed once, only when a fact needs them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steps.contract import Fact
from steps.pixels.images import OPAQUE, RGB, SUBJECT, Plane, alpha_of, flatten
from steps.pixels.masks import Mask

DIGITS = 6  # facts are stored and compared as text: no noise of the last bits


@dataclass(frozen=True, slots=True)
class FactSpec:
    """A fact of the catalogue.

    `low` and `high` are bounds that every value keeps; None where there is none, or where the value is not a number.
    """

    name: str
    description: str
    kind: type[bool] | type[int] | type[float] | type[str] = float
    low: float | None = 0
    high: float | None = 1
    always: bool = True  # cheap: measured on every image
    reads_source: bool = False  # needs the image that the step was given as well

    def value(self, measured: Fact) -> Fact:
        """Return the value as it is stored: of this kind, inside the bounds, a float rounded to DIGITS digits."""
        if self.kind in (bool, str):
            return self.kind(measured)
        number = float(measured) if self.kind is float else int(measured)
        if self.low is not None:
            number = max(self.low, number)
        if self.high is not None:
            number = min(self.high, number)
        return round(float(number), DIGITS) if self.kind is float else int(number)


Box = tuple[int, int, int, int]  # left, top, width, height, pixels

GRAY: RGB = (128, 128, 128)  # as far from a dark subject as from a light one


class View:
    """One image (mode RGB or RGBA) and, for facts that compare, the image that the step was given.

    The subject is every pixel that is more than half opaque: the whole of an image without alpha. What is about the
    subject alone is computed on its close-up, the subject's box with a pixel around it: most of an icon is nothing.
    """

    def __init__(self, image: Image.Image, source: Image.Image | None = None) -> None:
        self.image = image
        self.source = source

    @cached_property
    def alpha(self) -> Plane:
        """Shape (height, width), 0 … 255."""
        return alpha_of(self.image)

    @cached_property
    def subject(self) -> Mask:
        """Shape (height, width)."""
        return self.alpha >= SUBJECT

    @cached_property
    def box(self) -> Box:
        """The smallest box around the subject; zeros if there is none."""
        import cv2

        left, top, width, height = cv2.boundingRect(self.subject.view(np.uint8))
        return int(left), int(top), int(width), int(height)

    @cached_property
    def area(self) -> int:
        """Pixels of the subject."""
        return int(np.count_nonzero(self.near))

    @cached_property
    def is_opaque(self) -> bool:
        """Whether the subject is the whole image."""
        return self.area == self.subject.size

    @cached_property
    def corners(self) -> Box:
        """Corners of the close-up: left, top, right, bottom in pixels of the image. Never empty."""
        left, top, width, height = self.box
        right, bottom = min(self.image.width, left + width + 1), min(self.image.height, top + height + 1)
        return max(0, left - 1), max(0, top - 1), right, bottom

    @cached_property
    def close_up(self) -> Image.Image:
        """The close-up, in the image's mode."""
        return self.image if self.corners == (0, 0, *self.image.size) else self.image.crop(self.corners)

    @cached_property
    def near(self) -> Mask:
        """The subject within the close-up."""
        left, top, right, bottom = self.corners
        return np.ascontiguousarray(self.subject[top:bottom, left:right])

    @cached_property
    def near_bytes(self) -> NDArray[np.uint8]:
        """`near` as OpenCV takes masks: 1 inside, 0 outside."""
        return self.near.view(np.uint8)

    @cached_property
    def near_mask(self) -> Image.Image | None:
        """`near` as Pillow takes masks; None where the whole close-up is subject."""
        return None if self.near.all() else Image.fromarray(self.near_bytes * np.uint8(OPAQUE))

    @cached_property
    def inner(self) -> NDArray[np.uint8]:
        """1 where the 3x3 window lies within the subject, else 0: nothing hidden under transparent pixels counts."""
        import cv2

        if self.near_mask is None:
            return self.near_bytes
        return np.asarray(cv2.erode(self.near_bytes, np.ones((3, 3), np.uint8), borderValue=1))

    @cached_property
    def colors(self) -> NDArray[np.uint8]:
        """RGB of the close-up, shape (height, width, 3), as stored: also what lies under transparent pixels."""
        import cv2

        pixels = np.asarray(self.close_up)
        return pixels if self.close_up.mode == "RGB" else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB))

    @cached_property
    def gray(self) -> Image.Image:
        """ITU-R 601 luma of the close-up, mode L, 0 … 255."""
        return self.close_up.convert("L")

    @cached_property
    def luma(self) -> Plane:
        """The same, shape (height, width)."""
        return np.asarray(self.gray)


# Functions that find facts about an image -> the facts that each finds together.
Measures = Mapping[Callable[[View], Mapping[str, Fact]], tuple[FactSpec, ...]]


def on_gray(image: Image.Image) -> Image.Image:
    """RGB: what one sees, laid over a medium gray."""
    return flatten(image, GRAY)


def visible(image: Image.Image) -> NDArray[np.int16]:
    """Shape (height, width, 4): colors multiplied by alpha, and alpha, all 0 … 255. Hidden colors are 0."""
    return np.asarray(image.convert("RGBA").convert("RGBa")).astype(np.int16)


def of_one_size(image: Image.Image, source: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Both, each side reduced to the shorter of the two: enlarging adds nothing that could be compared."""
    size = min(image.width, source.width), min(image.height, source.height)
    ours, theirs = (each if each.size == size else each.resize(size, Image.Resampling.BOX) for each in (image, source))
    return ours, theirs
