"""The steps over the starter's own models, where they are trained."""

import random
from pathlib import Path
from typing import Any

import pytest

from configs.catalogues import catalogue
from configs.catalogues.models import ModelCatalogue, ModelRef, Role
from configs.settings.settings import Settings
from steps.generate import Generate
from steps.remove_background import RemoveBackground
from steps.upscale import Upscale
from tests.steps import images
from tests.support.step_context import Context

pytestmark = pytest.mark.parts

ROLES: tuple[Role, ...] = ("diffusion", "cutout", "upscaler", "classifier")


def needs(*roles: Role) -> pytest.MarkDecorator:
    sources = [ModelCatalogue(Settings()).part(ModelRef("starter", role)).source for role in roles]
    return pytest.mark.skipif(not all(Path(source).exists() for source in sources), reason="the model is not there")


@pytest.fixture(scope="module")
def starter() -> Context:
    import torch

    torch.set_num_threads(1)
    models = ModelCatalogue(Settings())

    def loader(role: Role) -> Any:
        part = models.part(ModelRef("starter", role))
        return lambda: catalogue.load_engine(part.engine)(part.source, part.options, "cpu")

    return Context({role: loader(role) for role in ROLES})


@needs("diffusion")
def test_same_seed_same_image_at_any_micro_batch_and_order(starter: Context) -> None:
    step = Generate(model="starter", steps=2, guidance=3)
    frames = [images.frame(index, prompt=f"a red potion {index}") for index in range(8)]
    alone = {frame.item.index: step.run([frame], starter)[0].image.tobytes() for frame in frames}
    for size in (3, 8):
        shuffled = random.Random(size).sample(frames, 8)
        for start in range(0, 8, size):
            batch = shuffled[start : start + size]
            for frame, result in zip(batch, step.run(batch, starter), strict=True):
                assert result.image.tobytes() == alone[frame.item.index]


@needs("cutout", "upscaler")
def test_a_sprite_is_cut_out_and_enlarged(starter: Context) -> None:
    import numpy as np

    from starter.sprites import draw_sprite

    sprite = draw_sprite("potion", "red", "white", seed=3)
    cutout = RemoveBackground(model="starter").run([images.frame(image=sprite.image)], starter)[0]
    found = np.asarray(cutout.image.getchannel("A")) > 127
    drawn = np.asarray(sprite.mask) > 127
    assert (found & drawn).sum() / (found | drawn).sum() > 0.8
    large = Upscale(model="starter").run([images.frame(image=cutout.image)], starter)[0].image
    assert large.size == (256, 256)
    assert large.mode == "RGBA"
