"""load: start from the item's input image."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from PIL import Image, ImageOps
from pydantic import Field
from typing_extensions import override

from configs.documents.fields import Item, ItemFile
from configs.documents.notes import Notes
from steps.contract import Frame, Step, StepContext, StepResult
from steps.pixels.images import OPAQUE

MORE_FRAMES = "the file holds more frames or pages than the first, which alone is used"
CUT_OFF = "the file's end is missing, so that a part of the image may be gray or black"


class Load(Step):
    """The item's input image: upright (by its EXIF orientation), in sRGB, as RGB, or RGBA if it has any transparency.

    Copyright, artist, title, description and resolution go along into every image made of it. All other
    metadata is left behind on purpose, such as the place and the camera's number. Of an animation or a file
    of several pages the first image is taken.
    """

    version: ClassVar[int] = 2
    makes_image: ClassVar[bool] = True

    damaged: Literal["refuse", "accept"] = Field(
        default="refuse",
        description="A file whose end is missing: refuse fails the item, accept takes what is there of the image.",
    )

    @property
    @override
    def takes_damaged(self) -> bool:
        return self.damaged == "accept"

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
        return [_loaded(frame.files["image"]) for frame in frames]


def _loaded(file: Image.Image) -> StepResult:
    image, notes = normalized(file), Notes.of(file)
    replace(notes, more_frames=False, damaged=False).put_on(image)
    warned = {MORE_FRAMES: notes.more_frames, CUT_OFF: notes.damaged}
    return StepResult(image, warnings=tuple(text for text, applies in warned.items() if applies))


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
