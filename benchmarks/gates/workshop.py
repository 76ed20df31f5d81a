"""Where pictures come from: drawn by code, or made by the starter's models through the steps' own classes."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from benchmarks.bare_process import BareContext
from benchmarks.gates.picture import SCALE, SMALL, Asked, Picture, Stage
from configs.documents.fields import Item
from configs.settings.settings import Settings
from starter.sprites import BACKGROUNDS, COLORS, OBJECTS, draw_sprite, prompt_for
from steps.contract import Frame, Step
from steps.generate import Generate
from steps.remove_background import RemoveBackground
from steps.upscale import Upscale

BATCH = 8
GENERATE = Generate(model="starter", width=SMALL, height=SMALL, steps=15, guidance=3.0)
CUT_OUT = RemoveBackground(model="starter")
ENLARGE = Upscale(model="starter", scale=SCALE)


class Workshop:
    """Makes pictures; the models are loaded when first needed."""

    def __init__(self, settings: Settings) -> None:
        self._context = BareContext(settings)

    def drawn(self, asked: Asked) -> Picture:
        """A sprite whose alpha is the exact mask, over its own colors as remove_background leaves them."""
        sprite = draw_sprite(asked.object, asked.color, asked.background, asked.seed)
        cutout = sprite.image.copy()
        cutout.putalpha(sprite.mask)
        return Picture(asked, "drawn", (Stage("cutout", cutout, sprite.image),))

    def generated(self, wanted: Sequence[Asked]) -> list[Picture]:
        """generate, then remove_background, at the starter recipe's parameters."""
        pictures = []
        for start in range(0, len(wanted), BATCH):
            part = wanted[start : start + BATCH]
            bases = self._run(GENERATE, part, [None] * len(part))
            cutouts = self._run(CUT_OUT, part, bases)
            for asked, base, cutout in zip(part, bases, cutouts, strict=True):
                pictures.append(Picture(asked, "generated", (Stage("cutout", cutout, base),)))
        return pictures

    def enlarged(self, picture: Picture) -> Picture:
        """Return the picture with `large`, made from its cut-out."""
        (large,) = self._run(ENLARGE, [picture.asked], [picture.cutout])
        return Picture(picture.asked, picture.origin, (picture.stages[0], Stage("large", large, picture.cutout)))

    def _run(self, step: Step, wanted: Sequence[Asked], images: Sequence[Image.Image | None]) -> list[Image.Image]:
        frames = [Frame(item_of(asked), image) for asked, image in zip(wanted, images, strict=True)]
        return [result.image for result in step.run(frames, self._context)]


def asked_for(count: int, rng: np.random.Generator, first_seed: int) -> list[Asked]:
    """Objects and colors in turn, so that each pair comes as often; backgrounds by chance; each a seed of its own."""
    colors = tuple(COLORS)
    return [
        Asked(
            OBJECTS[i % len(OBJECTS)],
            colors[(i + i // len(OBJECTS)) % len(colors)],
            BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))],
            first_seed + i,
        )
        for i in range(count)
    ]


def item_of(asked: Asked) -> Item:
    """Return the item with its prompt."""
    prompt = prompt_for(asked.object, asked.color, asked.background)
    return Item(index=0, name="picture", prompt=prompt, seed=asked.seed)
