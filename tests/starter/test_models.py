"""The bundled weights load by the ordinary loaders and give pictures of the right size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from starter.sprites import draw_sprite
from tests.support import ROOT

pytestmark = pytest.mark.parts

MODELS = ROOT / "starter" / "models"
FOLDER = MODELS / "text-to-image"


@pytest.fixture(scope="module")
def pipeline() -> Any:
    from diffusers import StableDiffusionPipeline

    loaded = StableDiffusionPipeline.from_pretrained(FOLDER)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def _generator(seed: int) -> Any:
    import torch

    return torch.Generator("cpu").manual_seed(seed)


@pytest.mark.parametrize("prompt", ["a red potion, game icon, white background", "", "ein Drache Ünïcode 🐉, " * 20])
def test_any_prompt_gives_a_picture(pipeline: Any, prompt: str) -> None:
    picture = pipeline(prompt, num_inference_steps=2, generator=_generator(1)).images[0]
    assert (picture.size, picture.mode) == ((64, 64), "RGB")


def test_every_word_of_our_prompts_is_one_token(pipeline: Any) -> None:
    tokens = pipeline.tokenizer("an orange apple, game icon, striped background").input_ids
    assert len(tokens) == 2 + 9
    assert pipeline.tokenizer.model_max_length == 20


def test_the_vocabulary_is_the_one_that_the_weights_were_trained_on(pipeline: Any) -> None:
    from starter.training.vocabulary import new_tokenizer

    assert new_tokenizer().get_vocab() == pipeline.tokenizer.get_vocab()


def test_the_classifier_agrees_with_a_generated_picture(pipeline: Any) -> None:
    from starter.classifier import classify, load_classifier
    from starter.painter import paint

    (verdict,) = classify(load_classifier(), paint(pipeline, ["a red heart, game icon, white background"], [7]))
    assert (verdict.object, verdict.color) == ("heart", "red")


def test_the_same_folder_inpaints(pipeline: Any) -> None:
    from diffusers import StableDiffusionInpaintPipeline

    inpainter = StableDiffusionInpaintPipeline.from_pretrained(FOLDER)
    inpainter.set_progress_bar_config(disable=True)
    sprite = draw_sprite("gem", "blue", "white", seed=1)
    outside = Image.eval(sprite.mask, lambda value: 255 - value)
    picture = inpainter(
        "a blue gem, game icon, black background",
        image=sprite.image,
        mask_image=outside,
        height=64,
        width=64,
        num_inference_steps=2,
        generator=_generator(1),
    ).images[0]
    assert picture.size == (64, 64)


def test_the_same_folder_repaints(pipeline: Any) -> None:
    from diffusers import StableDiffusionImg2ImgPipeline

    repainter = StableDiffusionImg2ImgPipeline.from_pretrained(FOLDER)
    repainter.set_progress_bar_config(disable=True)
    sprite = draw_sprite("gem", "blue", "white", seed=1)
    picture = repainter(
        sprite.prompt, image=sprite.image, strength=0.5, num_inference_steps=4, generator=_generator(1)
    ).images[0]
    assert picture.size == (64, 64)


def test_a_picture_does_not_depend_on_its_batch(pipeline: Any) -> None:
    from starter.painter import paint

    prompts = ["a red coin", "a blue fish"]
    together = paint(pipeline, prompts, [1, 2], steps=3)
    alone = paint(pipeline, prompts, [1, 2], steps=3, batch=1)
    for first, second in zip(together, alone, strict=True):
        assert np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int)).max() <= 2


@pytest.mark.parametrize("name", ["key", "rocket"])
def test_rembg_cuts_a_sprite_out_and_keeps_its_holes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from starter.measures.cutting import load_remover
    from starter.measures.subject import overlap

    monkeypatch.setenv("U2NET_HOME", str(MODELS))
    sprite = draw_sprite(name, "red", "checkered", seed=1_000_001)
    mask = load_remover()(sprite.image)
    assert mask.size == (64, 64)
    assert overlap(np.asarray(mask) > 127, np.asarray(sprite.mask) > 127) > 0.93


def test_realesrgan_enlarges_four_times() -> None:
    from starter.realesrgan import load_upscaler

    picture = np.asarray(draw_sprite("star", "yellow", "white", seed=3).image)
    output, mode = load_upscaler().enhance(np.ascontiguousarray(picture[..., ::-1]), outscale=4)
    assert (output.shape, mode) == ((256, 256, 3), "RGB")


def test_the_files_are_small() -> None:
    folder = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    assert folder <= 12_000_000
    assert (MODELS / "cutout.onnx").stat().st_size <= 2_000_000
