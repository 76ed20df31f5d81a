"""The diffusers engine: safe sources only, quiet, and the model files that come with Pixelmill."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from configs.catalogues.models import ModelCatalogue
from configs.settings.settings import Settings
from starter.engine import SpriteOptions
from steps.engines import diffusers_engine
from steps.engines.diffusers_engine import DiffusersOptions
from steps.engines.hugging_face import PretrainedOptions
from steps.engines.judge_engines import AestheticOptions, ImageClassifierOptions
from steps.engines.rapidocr_engine import RapidOcrOptions
from steps.engines.realesrgan_engine import RealesrganOptions
from steps.engines.rembg_engine import RembgOptions
from tests.steps import images
from tests.support.step_context import Context

OPTIONS: dict[str, Any] = {
    "diffusers": DiffusersOptions,
    "rembg": RembgOptions,
    "realesrgan": RealesrganOptions,
    "sprite_classifier": SpriteOptions,
    "clip": PretrainedOptions,
    "aesthetic": AestheticOptions,
    "image_classifier": ImageClassifierOptions,
    "rapidocr": RapidOcrOptions,
}


@pytest.mark.parts
def test_a_missing_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="put the model's diffusers folder there"):
        diffusers_engine.load(str(tmp_path / "none"), {}, "cpu")


@pytest.mark.parts
def test_nothing_is_fetched_unasked() -> None:
    with pytest.raises(FileNotFoundError, match="allow_download"):
        diffusers_engine.load("nobody/no-such-model", {}, "cpu")


@pytest.mark.parts
def test_unknown_options_are_refused(diffusion_folder: Path) -> None:
    with pytest.raises(ValidationError, match="no_such_option"):
        diffusers_engine.load(str(diffusion_folder), {"no_such_option": 1}, "cpu")


@pytest.mark.parts
def test_pickled_weights_are_refused(diffusion_folder: Path, tmp_path: Path) -> None:
    import shutil

    import torch

    folder = shutil.copytree(diffusion_folder, tmp_path / "pickled")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    torch.save({}, weights.with_suffix(".bin"))
    with pytest.raises(OSError, match="safetensors"):
        diffusers_engine.load(str(folder), {}, "cpu")


@pytest.mark.parts
def test_painting_prints_nothing(context: Context, capfd: pytest.CaptureFixture[str]) -> None:
    from steps.generate import Generate

    Generate(model="tiny", steps=1).run([images.frame(prompt="word " * 40)], context)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


@pytest.mark.parts
def test_half_precision_starts_from_the_same_noise(diffusion_folder: Path) -> None:
    import torch

    from steps.diffusion import Sampling

    noises = []
    for dtype in ("float32", "bfloat16"):
        model = diffusers_engine.load(str(diffusion_folder), {"dtype": dtype}, "cpu")
        noises.append(model._noise([torch.Generator().manual_seed(1)], Sampling(1, 0, 32, 32)).float())
    assert (noises[0] - noises[1]).abs().max() < 0.02


@pytest.mark.parts
def test_threads_share_weights_and_nothing_that_a_prompt_or_a_step_changes(models: dict[str, Any]) -> None:
    model = models["diffusion"]()
    with ThreadPoolExecutor(1) as other:
        theirs = other.submit(model.pipeline, "text_to_image").result()
    ours = model.pipeline("text_to_image")
    assert theirs.unet is ours.unet
    assert theirs.scheduler is not ours.scheduler
    assert theirs.tokenizer is not ours.tokenizer


@pytest.mark.parametrize("name", ModelCatalogue(Settings()).names())
def test_the_model_files_options_suit_their_engines(name: str) -> None:
    for part in ModelCatalogue(Settings()).get(name).parts.values():
        TypeAdapter(OPTIONS[part.engine]).validate_python(part.options)
