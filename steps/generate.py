"""generate: an image from a prompt, or from a prompt and an image."""

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

from PIL import Image
from pydantic import Field
from typing_extensions import override

from configs.documents.fields import Item, ItemFile
from configs.documents.notes import Notes
from steps.contract import Frame, Framing, MemoryFallback, StepContext, StepResult
from steps.diffusion import DiffusionModel, DiffusionStep
from steps.pixels.images import Color, crop, flatten, pad_to_multiple, rgb


class Generate(DiffusionStep):
    """Text to image, and with `from_image` image to image. The result is RGB.

    The noise of an item comes from a CPU generator of its own, seeded with the item's seed, so that its image does
    not depend on the micro-batch, its neighbors or the order.
    """

    makes_image: ClassVar[bool] = True
    own_facts: ClassVar[dict[str, str]] = {
        "prompt_truncated": "Whether the model's text encoder saw only the prompt's beginning."
    }

    width: int | None = Field(
        default=None, ge=16, le=4096, multiple_of=8, description="Pixels; default: the model's, or the image's, width."
    )
    height: int | None = Field(
        default=None, ge=16, le=4096, multiple_of=8, description="Pixels; default: the model's, or the image's, height."
    )
    from_image: bool = Field(
        default=False, description="Start from the current image, or from the item's input image if there is none yet."
    )
    strength: float = Field(
        default=0.6, gt=0, le=1, description="from_image: how much may change, 0: nothing, 1: everything."
    )
    background: Color = Field(default="white", description="from_image: color behind transparent pixels.")

    @property
    @override
    def painted_share(self) -> float:
        return self.strength if self.from_image else 1.0

    @property
    @override
    def framing(self) -> Framing:
        return "kept" if self.from_image else "new"

    @override
    def item_files(self, item: Item) -> tuple[ItemFile, ...]:
        return ("image",) if self.from_image and item.image is not None else ()

    @override
    def identity(self, item: Item) -> dict[str, Any]:
        identity = super().identity(item)
        if not self.from_image:
            del identity["strength"], identity["background"]
        return identity

    @override
    def batch_key(self, frame: Frame) -> Hashable:
        start = self._start(frame)
        if self.from_image and start is None:
            return frame.item.index  # it will fail: alone
        # Some models take no negative prompt for zeros and an empty one for words: the two never share a batch.
        return start.size if start else None, bool(self._negative_prompt(frame.item))

    @override
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        model: DiffusionModel = context.model(self.model_refs()[0])
        paint = self._from_images if self.from_image else self._from_noise
        images = paint(frames, model, context.fallback)
        return [
            StepResult(image, {"prompt_truncated": model.is_truncated(self._prompt(frame.item))})
            for frame, image in zip(frames, images, strict=True)
        ]

    def _from_noise(
        self, frames: Sequence[Frame], model: DiffusionModel, fallback: MemoryFallback
    ) -> list[Image.Image]:
        width, height = model.default_size
        sampling = self.sampling(self.width or width, self.height or height)
        images = model.paint("text_to_image", [self.request(frame.item) for frame in frames], sampling, fallback)
        return [self.with_notes(image, image) for image in images]

    def _from_images(
        self, frames: Sequence[Frame], model: DiffusionModel, fallback: MemoryFallback
    ) -> list[Image.Image]:
        starts = [self._prepared(frame) for frame in frames]
        padded = [pad_to_multiple(start, model.size_multiple) for start in starts]
        requests = [self.request(frame.item, image) for frame, image in zip(frames, padded, strict=True)]
        images = model.paint("image_to_image", requests, self.sampling(*padded[0].size), fallback)
        return [
            self.with_notes(crop(image, start.size), image, Notes.of(self._start(frame)))
            for image, start, frame in zip(images, starts, frames, strict=True)
        ]

    def _start(self, frame: Frame) -> Image.Image | None:
        if not self.from_image:
            return None
        return frame.image if frame.image is not None else frame.files.get("image")

    def _prepared(self, frame: Frame) -> Image.Image:
        start = self._start(frame)
        if start is None:
            raise ValueError(
                f"{frame.item.name}: from_image needs an image: give the item one, or put a step that makes one first"
            )
        flat = flatten(start, rgb(self.background)).convert("RGB")
        size = (self.width or flat.width, self.height or flat.height)
        return flat if flat.size == size else flat.resize(size, Image.Resampling.LANCZOS)
