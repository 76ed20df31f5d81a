"""upscale: more pixels, by Real-ESRGAN."""

from collections.abc import Collection, Hashable, Sequence
from copy import copy
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image
from pydantic import Field
from typing_extensions import override

from configs.catalogues.models import ModelRef
from steps.contract import Frame, MemoryFallback, Step, StepContext, StepResult
from steps.pixels.images import OPAQUE, bleed, checked_size, crop, pad_to
from steps.side_by_side import on_device

# Tiles against a lack of memory: small ones, as the missing amount is unknown. A multiple of 4 pixels, as networks
# that fold the image need.
RELIEF_TILE = 256
RELIEF_PAD = 64
SMALLEST = 4  # pixels a side: networks that fold the image by 2 or 4 pad it by reflection, which needs as many


class Upscale(Step):
    """Enlarges the image; alpha is enlarged too.

    Before the network sees a cut-out, its transparent pixels take the color of the nearest opaque ones, so that no
    hidden color bleeds into the soft edge. Alpha from the network counts at edges only: what is wholly clear, or wholly
    opaque, stays so.

    Where an image does not fit the device's memory, it is computed in tiles that overlap by as much as the network
    sees, up to 64 pixels, and then on the CPU as well. With the bundled network, on a CPU, tiles gave the very pixels
    of the whole image; other devices may sum in another order, which moves a channel by 1 of 255. RRDBNet of 23 blocks
    sees 349 pixels, so that beyond 64 a faint influence is lost: with random weights it was too small to measure.
    """

    version: ClassVar[int] = 2

    model: str = Field(min_length=1, description="A model of the catalogue with an upscaler part.")
    scale: float | None = Field(
        default=None,
        ge=1,
        le=8,
        description="By how much; default: the model's own. Another one is reached by resampling the model's image.",
    )
    tile: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="Side of the tiles that the model computes one by one, pixels; 0: no tiles.",
    )
    tile_pad: int = Field(default=10, ge=0, le=512, description="Pixels around each tile that the model sees as well.")
    alpha: Literal["model", "bicubic"] = Field(
        default="bicubic", description="How alpha is enlarged. model: sharper edges, and twice the work."
    )

    @override
    def model_refs(self) -> tuple[ModelRef, ...]:
        return (ModelRef(self.model, "upscaler"),)

    @override
    def batch_key(self, frame: Frame) -> Hashable:
        return frame.image.size if frame.image else None

    @override
    def fallbacks(self, context: StepContext) -> Collection[MemoryFallback]:
        fallbacks: Collection[MemoryFallback] = context.model(self.model_refs()[0]).fallbacks
        return fallbacks

    @override
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        shared, fallback = context.model(self.model_refs()[0]), context.fallback
        images = on_device(lambda few: [self._upscaled(each, shared, fallback) for each in few], frames, context.device)
        return [StepResult(image) for image in images]

    def _upscaled(self, frame: Frame, shared: Any, fallback: MemoryFallback) -> Image.Image:
        image = frame.input_image
        # Over the same weights: it keeps its tiles, and the image that it works on, in itself.
        upscaler = shared.on_cpu() if fallback >= MemoryFallback.OFFLOAD else copy(shared)
        upscaler.tile_size, upscaler.tile_pad = self.tile, self.tile_pad
        if fallback >= MemoryFallback.TILE:
            upscaler.tile_size, upscaler.tile_pad = self._fallback_tiles(image, upscaler)
        scale = self.scale or upscaler.scale
        size = checked_size(round(image.width * scale), round(image.height * scale))
        checked_size(image.width * upscaler.scale, image.height * upscaler.scale)  # what the model makes of it
        if image.mode != "RGBA":
            return _resized(_enhanced(image, upscaler), size)
        result = _resized(_enhanced(bleed(image), upscaler), size)
        alpha = image.getchannel("A")
        if self.alpha == "model":
            sharp = _resized(_enhanced(alpha.convert("RGB"), upscaler), size).getchannel("G")
            alpha = _kept_at_extremes(sharp, alpha)
        else:
            alpha = alpha.resize(size, Image.Resampling.BICUBIC)
        result.putalpha(alpha)
        return result

    def _fallback_tiles(self, image: Image.Image, upscaler: Any) -> tuple[int, int]:
        """Side and pad of tiles that need less memory than the step's own tiles, or than the image, pixels."""
        whole = self.tile or max(image.size)
        pad = max(self.tile_pad, min(upscaler.reach, RELIEF_PAD))
        return _multiple(min(RELIEF_TILE, whole // 2), SMALLEST), _multiple(pad, SMALLEST)


def _enhanced(image: Image.Image, upscaler: Any) -> Image.Image:
    """RGB, the model's own scale larger."""
    padded = pad_to(image, SMALLEST, SMALLEST)
    pixels, _ = upscaler.enhance(np.ascontiguousarray(np.asarray(padded)[:, :, ::-1]))  # it takes and gives BGR
    large = Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1]))
    return crop(large, (image.width * upscaler.scale, image.height * upscaler.scale))


def _kept_at_extremes(large: Image.Image, small: Image.Image) -> Image.Image:
    """Return enlarged alpha that is 0 and 255 wherever the small one is, except at edges, where interpolation mixes."""
    plain, smooth = (
        np.asarray(small.resize(large.size, way)) for way in (Image.Resampling.NEAREST, Image.Resampling.BICUBIC)
    )
    is_known = (plain == smooth) & ((plain == 0) | (plain == OPAQUE))
    return Image.fromarray(np.where(is_known, plain, np.asarray(large)))


def _multiple(number: int, of: int) -> int:
    """Return the next multiple, at least one."""
    return max(1, -(-number // of)) * of


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
