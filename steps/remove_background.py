"""remove_background: cut the subject out, by any network that rembg runs."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from pydantic import Field
from typing_extensions import override

from configs.catalogues.models import ModelRef
from steps.contract import Frame, Step, StepContext, StepResult
from steps.pixels.images import OPAQUE, Color, alpha_of, flatten, rgb, with_alpha

WHITE = (OPAQUE, OPAQUE, OPAQUE)


class RemoveBackground(Step):
    """Gives the image the subject's alpha. RGBA, or RGB with `background`.

    Colors stay unmultiplied: a soft edge keeps the subject's own brightness at every alpha. An image that had alpha
    keeps at most that alpha.
    """

    own_facts: ClassVar[Mapping[str, str]] = {
        "mask_confidence": "How sure the network was: mean of |2 alpha - 1|, 0 … 1 (every pixel decided)."
    }

    model: str = Field(min_length=1, description="A model of the catalogue with a cutout part.")
    keep_color: bool = Field(
        default=True,
        description="Keep the colors under transparent pixels, for later steps to draw on; else black.",
    )
    clean_edges: bool = Field(
        default=False,
        description="Estimate the subject's own color at soft edges: no rim of the old background. The first use on a "
        "machine compiles for a minute.",
    )
    post_process_mask: bool = Field(default=False, description="Smooth the mask and make it hard: for ragged masks.")
    alpha_matting: bool = Field(
        default=False,
        description="Compute soft edges such as hair by closed-form matting: seconds an image. Compiles likewise.",
    )
    foreground_threshold: int = Field(
        default=240, ge=0, le=255, description="alpha_matting: mask values above are surely subject."
    )
    background_threshold: int = Field(
        default=10, ge=0, le=255, description="alpha_matting: mask values below are surely background."
    )
    erode_size: int = Field(
        default=10, ge=0, le=256, description="alpha_matting: pixels around the mask's edge that are open to doubt."
    )
    background: Color | None = Field(default=None, description="Color to lay behind the subject; the result is RGB.")

    @override
    def model_refs(self) -> tuple[ModelRef, ...]:
        return (ModelRef(self.model, "cutout"),)

    @override
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        if self.clean_edges and any(frame.input_image.size == (1, 1) for frame in frames):
            raise ValueError("an image of 1 x 1 pixels has no edges to clean: leave `clean_edges` out, or enlarge it")
        session = context.model(self.model_refs()[0])
        return [self._cut_out(frame, session) for frame in frames]

    def _cut_out(self, frame: Frame, session: Any) -> StepResult:
        original = frame.input_image
        cutout = self._removed(flatten(original, WHITE), session)
        alpha = np.minimum(alpha_of(cutout), alpha_of(original))
        image = with_alpha(_colors(original, cutout), alpha)
        if self.background is not None:
            image = flatten(image, rgb(self.background))
        elif not self.keep_color:
            pixels = np.array(image)
            pixels[alpha == 0] = 0
            image = Image.fromarray(pixels)
        confidence = float(np.abs(alpha_of(cutout) / (OPAQUE / 2) - 1).mean())
        return StepResult(image, {"mask_confidence": round(confidence, 6)})

    def _removed(self, image: Image.Image, session: Any) -> Image.Image:
        """RGBA of the image's size, straight colors."""
        import rembg

        with np.errstate(invalid="ignore"):  # rembg divides by the mask's range, which is 0 for a blank image
            cutout: Image.Image = rembg.remove(
                image.copy(),
                session=session,
                post_process_mask=self.post_process_mask,
                alpha_matting=self.alpha_matting,
                alpha_matting_foreground_threshold=self.foreground_threshold,
                alpha_matting_background_threshold=self.background_threshold,
                alpha_matting_erode_size=self.erode_size,
                decontaminate=self.clean_edges,
                putalpha=not self.clean_edges,  # else rembg multiplies the colors by alpha
            )
        if cutout.size != image.size:
            raise ValueError(f"model {self.model} gives several masks an image: choose a model that gives one")
        return cutout


def _colors(image: Image.Image, cutout: Image.Image) -> Image.Image:
    """RGB: the cut-out's colors, which may be estimates, but the image's own wherever the subject is opaque."""
    opaque = Image.fromarray(((alpha_of(cutout) == OPAQUE) * OPAQUE).astype(np.uint8))
    return Image.composite(image.convert("RGB"), cutout.convert("RGB"), opaque)
