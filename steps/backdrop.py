"""backdrop: a plain or shaded background behind what a cut-out shows."""

import numpy as np
from PIL import Image
from pydantic import Field
from typing_extensions import override

from steps.contract import StepResult, Transform
from steps.pixels.images import Color, flatten, rgb


class Backdrop(Transform):
    """Lays the image over a color, or over one that goes over into another from top to bottom. The result is RGB.

    An opaque image comes back as it is.
    """

    color: Color = Field(default="white", description="Color of the background; with `fade`, at its top.")
    fade: Color | None = Field(default=None, description="Color at its bottom; default: the same.")

    @override
    def transform(self, image: Image.Image) -> StepResult:
        if self.fade is None:
            return StepResult(flatten(image, rgb(self.color)))
        top, bottom = np.array(rgb(self.color)), np.array(rgb(self.fade))
        share = np.linspace(0, 1, image.height)[:, None, None]
        rows = np.rint(top + (bottom - top) * share).astype(np.uint8)
        behind = Image.fromarray(np.broadcast_to(rows, (image.height, image.width, 3)).copy())
        return StepResult(Image.alpha_composite(behind.convert("RGBA"), image.convert("RGBA")).convert("RGB"))
