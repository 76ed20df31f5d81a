"""inpaint: paint by a prompt inside a mask, and leave every other pixel exactly as it is."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image
from pydantic import Field
from typing_extensions import override

from configs.documents.fields import Item, ItemFile
from configs.documents.notes import Notes
from steps.contract import Fact, Frame, StepContext, StepResult
from steps.diffusion import DiffusionModel, DiffusionStep, ImageRequest
from steps.pixels import masks
from steps.pixels.images import OPAQUE, Plane, alpha_of, bleed, crop, flatten, pad_to_multiple, padded_size, with_alpha

NO_MASK = "has no mask: give it one, or choose another kind of mask in the step"
NEUTRAL = (127, 127, 127)  # behind transparent pixels, for the model: not a color that it could carry over


@dataclass(frozen=True, slots=True)
class _Work:
    """`mask` is what must be painted, `weight` (0 … 255) how much of the painting each pixel takes."""

    image: Image.Image
    mask: masks.Mask
    weight: Plane
    warnings: tuple[str, ...] = ()


class Inpaint(DiffusionStep):
    """Paints the masked part again. Painted pixels become opaque; pixels of weight 0 keep color and alpha bit by bit.

    `background` paints behind the subject and gives an opaque RGB image; the other kinds keep the image's mode. An
    empty mask gives the image back without running the model.
    """

    version: ClassVar[int] = 2
    own_facts: ClassVar[Mapping[str, str]] = {
        "masked_ratio": "Share of the image that the mask covers, mask_grow included, 0 … 1; 0: nothing was painted."
    }

    mask: masks.MaskKind = Field(
        default="item",
        description="item: the item's mask file, white is painted. holes: transparent regions that the subject "
        "encloses. background: all around the subject. alpha: all pixels more transparent than threshold.",
    )
    threshold: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="item: lightness or alpha from which the mask counts; else: alpha below which.",
    )
    mask_channel: masks.MaskChannel = Field(
        default="auto",
        description="item: what of the mask file counts. auto: its lightness, or its alpha where only that "
        "marks anything; an item whose mask could be meant both ways fails.",
    )
    min_hole: int = Field(default=4, ge=1, le=16_777_216, description="holes, alpha: smallest region painted, pixels.")
    mask_grow: int = Field(default=0, ge=0, le=512, description="Pixels by which the mask grows on all sides.")
    mask_blur: int = Field(default=0, ge=0, le=512, description="Pixels over which the painting fades out around it.")
    strength: float = Field(
        default=1.0, gt=0, le=1, description="How much may change under the mask, 0: nothing, 1: everything."
    )
    seed_offset: int = Field(
        default=1, ge=0, le=2**31, description="Added to the item's seed, so that two steps draw different noise."
    )

    @property
    @override
    def painted_share(self) -> float:
        return self.strength

    @override
    def item_files(self, item: Item) -> tuple[ItemFile, ...]:
        return ("mask",) if self.mask == "item" else ()

    @override
    def item_problems(self, item: Item) -> list[str]:
        problems = super().item_problems(item)
        if self.mask == "item" and item.mask is None:
            problems.append(NO_MASK)
        return problems

    @override
    def batch_key(self, frame: Frame) -> Hashable:
        if frame.image is None:
            return frame.item.index
        return frame.image.size, bool(self._negative_prompt(frame.item))

    @override
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        works = [self._work(frame) for frame in frames]
        painting = [(frame, work) for frame, work in zip(frames, works, strict=True) if work.mask.any()]
        painted = iter(self._paint(painting, context) if painting else [])
        results = []
        for work in works:
            facts: dict[str, Fact] = {"masked_ratio": round(float(work.mask.mean()), 6)}
            image = self._put_back(next(painted), work) if work.mask.any() else work.image
            results.append(StepResult(image, facts, warnings=work.warnings))
        return results

    def _work(self, frame: Frame) -> _Work:
        image = frame.input_image
        alpha = alpha_of(image)
        warnings: tuple[str, ...] = ()
        if self.mask == "item":
            if "mask" not in frame.files:
                raise ValueError(f"{frame.item.name}: {NO_MASK}")
            mask = frame.files["mask"]
            try:
                found, warnings = masks.from_image(mask, image.size, self.threshold, self.mask_channel)
            except ValueError as error:
                raise ValueError(f"{frame.item.name}: {error}") from None
        else:
            found = masks.FROM_ALPHA[self.mask](alpha, self.threshold, self.min_hole)
        grown = masks.dilate(found, self.mask_grow)
        return _Work(image, grown, self._weight(grown, alpha), warnings)

    def _weight(self, grown: masks.Mask, alpha: Plane) -> Plane:
        if self.mask == "background" and not self.mask_grow:
            # A soft edge takes as much of the painting as it lets through.
            return np.maximum(OPAQUE - alpha, masks.feather(alpha == 0, self.mask_blur))
        return masks.feather(grown, self.mask_blur)

    def _paint(self, painting: Sequence[tuple[Frame, _Work]], context: StepContext) -> list[Image.Image]:
        model: DiffusionModel = context.model(self.model_refs()[0])
        requests = [self._masked_request(frame, work, model) for frame, work in painting]
        sampling = self.sampling(*padded_size(painting[0][1].image.size, model.size_multiple))
        return model.paint("inpaint", requests, sampling, context.fallback)

    def _masked_request(self, frame: Frame, work: _Work, model: DiffusionModel) -> ImageRequest:
        image = pad_to_multiple(self._start(work), model.size_multiple)
        weight = np.asarray(pad_to_multiple(Image.fromarray(work.weight), model.size_multiple))
        mask = masks.to_blocks(weight > 0, model.latent_block)
        return self.request(frame.item, image, Image.fromarray(mask.astype(np.uint8) * np.uint8(OPAQUE)))

    def _start(self, work: _Work) -> Image.Image:
        """Return RGB for the model: transparent pixels neutral, but in the mask in the colors around them.

        A strength below 1 starts from those colors.
        """
        flat = flatten(work.image, NEUTRAL)
        if work.image.mode != "RGBA" or self.mask == "background":
            return flat
        return Image.composite(bleed(work.image, OPAQUE), flat, Image.fromarray(work.mask))

    def _put_back(self, painted: Image.Image, work: _Work) -> Image.Image:
        """Join painting and original by Porter and Duff's `over`, which copies pixels of weight 0 as they are."""
        image, before = self._joined(painted, work), Notes.of(work.image)
        # The one who drew the whole picture counts.
        return image if before.drawn else self.with_notes(image, painted, before)

    def _joined(self, painted: Image.Image, work: _Work) -> Image.Image:
        layer = crop(painted, work.image.size)
        if self.mask == "background":
            subject = with_alpha(work.image, OPAQUE - work.weight)
            return Image.alpha_composite(layer.convert("RGBA"), subject).convert("RGB")
        result = Image.alpha_composite(work.image.convert("RGBA"), with_alpha(layer, work.weight))
        return result.convert(work.image.mode)
