"""load: start from the item's input image."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from PIL import Image, ImageOps
from typing_extensions import override

from configs.documents.fields import Item, ItemFile
from steps.contract import Frame, Step, StepContext, StepResult
from steps.pixels.images import OPAQUE


class Load(Step):
    """The item's input image, upright (by its EXIF orientation) and as RGB, or RGBA if it has any transparency."""

    makes_image: ClassVar[bool] = True

    @override
    def item_files(self, item: Item) -> tuple[ItemFile, ...]:
        return ("image",)

    @override
    def item_problems(self, item: Item) -> list[str]:
        return [] if item.image is not None else ["has no image: give it the path or URI of one"]

    @override
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        for frame in frames:
            if "image" not in frame.files:
                raise ValueError(f"{frame.item.name}: has no image: give it the path or URI of one")
        return [StepResult(normalized(frame.files["image"])) for frame in frames]


def normalized(image: Image.Image) -> Image.Image:
    """RGB, or RGBA where the image can be transparent, 8 bits a channel, upright. The first frame of an animation."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        # 16 bits of gray, which Pillow would clip instead of scale.
        values = np.clip(np.asarray(upright, dtype=np.float64) / 257, 0, OPAQUE)
        upright = Image.fromarray(np.rint(values).astype(np.uint8))
    plain = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    plain.info = {}
    return plain
