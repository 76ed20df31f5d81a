"""resize, pad and trim: other sizes without a model."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from PIL import Image
from pydantic import AfterValidator, Field, model_validator
from typing_extensions import override

from steps.contract import Framing, StepResult, Transform
from steps.pixels.images import OPAQUE, alpha_of, checked_size, rgb

MAX_SIDE = 16_384
TRANSPARENT = "transparent"


def _backdrop(color: str) -> str:
    if color != TRANSPARENT:
        rgb(color)
    return color


class Resize(Transform):
    """Scales to a width, a height or both. Alpha is taken into account: transparent pixels lend no color to edges."""

    width: int | None = Field(default=None, ge=1, le=MAX_SIDE, description="Pixels; default: follows from the height.")
    height: int | None = Field(default=None, ge=1, le=MAX_SIDE, description="Pixels; default: follows from the width.")
    fit: Literal["contain", "cover", "stretch"] = Field(
        default="contain",
        description="With both: contain fits inside and keeps the proportions, cover fills and crops the middle, "
        "stretch gives up the proportions.",
    )
    resampling: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = Field(
        default="lanczos", description="Filter; nearest for pixel art."
    )

    @model_validator(mode="after")
    def _has_a_size(self) -> Self:
        if self.width is None and self.height is None:
            raise ValueError("give width, height or both")
        return self

    @property
    @override
    def framing(self) -> Framing:
        return "moved" if self.fit == "cover" and self.width is not None and self.height is not None else "kept"

    @override
    def transform(self, image: Image.Image) -> StepResult:
        width, height = self._box(image)
        filtering = Image.Resampling[self.resampling.upper()]
        if self.fit != "cover":
            return StepResult(image.resize((width, height), filtering))
        share = min(image.width / width, image.height / height)  # the original's pixels to one of the result's
        wide, high = min(width * share, image.width), min(height * share, image.height)  # rounding may exceed
        left, top = (image.width - wide) / 2, (image.height - high) / 2
        return StepResult(image.resize((width, height), filtering, box=(left, top, left + wide, top + high)))

    def _box(self, image: Image.Image) -> tuple[int, int]:
        if self.width is not None and self.height is not None and self.fit != "contain":
            return checked_size(self.width, self.height)
        factor = min(
            wanted / side
            for wanted, side in ((self.width, image.width), (self.height, image.height))
            if wanted is not None
        )
        return checked_size(max(1, round(image.width * factor)), max(1, round(image.height * factor)))


class Pad(Transform):
    """Adds a border and keeps the image in the middle. Never crops."""

    margin: int = Field(default=0, ge=0, le=MAX_SIDE, description="Pixels added on every side, first.")
    square: bool = Field(default=False, description="Pad the shorter sides until the image is square.")
    width: int | None = Field(default=None, ge=1, le=MAX_SIDE, description="Least width of the result, pixels.")
    height: int | None = Field(default=None, ge=1, le=MAX_SIDE, description="Least height of the result, pixels.")
    color: Annotated[str, AfterValidator(_backdrop)] = Field(
        default=TRANSPARENT, description="Color of the border, or transparent, which makes the result RGBA."
    )

    @property
    @override
    def framing(self) -> Framing:
        return "moved" if self.margin or self.square or self.width or self.height else "kept"

    @override
    def transform(self, image: Image.Image) -> StepResult:
        width = max(image.width + 2 * self.margin, self.width or 0)
        height = max(image.height + 2 * self.margin, self.height or 0)
        if self.square:
            width = height = max(width, height)
        if (width, height) == image.size:
            return StepResult(image)
        width, height = checked_size(width, height)
        mode = "RGBA" if self.color == TRANSPARENT else image.mode
        fill = (0, 0, 0, 0) if self.color == TRANSPARENT else (*rgb(self.color), OPAQUE)[: len(mode)]
        canvas = Image.new(mode, (width, height), fill)
        canvas.paste(image.convert(mode), ((width - image.width) // 2, (height - image.height) // 2))
        return StepResult(canvas)


class Trim(Transform):
    """Crops to what there is to see. An image with nothing to see, or nothing to crop, comes back as it is."""

    own_facts: ClassVar[Mapping[str, str]] = {"trimmed_ratio": "Share of the image's area that was cut away, 0 … 1."}

    by: Literal["alpha", "border"] = Field(
        default="alpha",
        description="alpha: away from transparent pixels. border: away from the top left color.",
    )
    threshold: int = Field(
        default=0, ge=0, le=254, description="alpha: at most this counts as empty. border: so large a difference too."
    )
    margin: int = Field(default=0, ge=0, le=MAX_SIDE, description="Pixels left around it where the image has them.")

    @property
    @override
    def framing(self) -> Framing:
        return "moved"

    @override
    def transform(self, image: Image.Image) -> StepResult:
        filled = np.argwhere(self._distinct(image) > self.threshold)
        if not len(filled):
            return StepResult(image, {"trimmed_ratio": 0.0})
        (top, left), (bottom, right) = filled.min(axis=0), filled.max(axis=0) + 1
        box = (
            max(0, int(left) - self.margin),
            max(0, int(top) - self.margin),
            min(image.width, int(right) + self.margin),
            min(image.height, int(bottom) + self.margin),
        )
        trimmed = image.crop(box)
        area = trimmed.width * trimmed.height / (image.width * image.height)
        return StepResult(trimmed, {"trimmed_ratio": round(1 - area, 6)})

    def _distinct(self, image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
        """How far each pixel is from being empty, 0 … 255."""
        if self.by == "alpha":
            return alpha_of(image).astype(np.int16)
        pixels = np.asarray(image, dtype=np.int16)
        return np.asarray(np.abs(pixels - pixels[0, 0]).max(axis=2))
