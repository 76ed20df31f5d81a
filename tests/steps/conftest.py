"""Models for the steps' tests: tiny ones with random weights, written once a session."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.steps.engines import tiny_judges
from tests.support import tiny_models
from tests.support.step_context import Context

# What numba compiles for soft edges, for most of a minute on a fresh machine, computes the same uncompiled.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def diffusion_folder(model_folder: Path) -> Path:
    folder = model_folder / "diffusion"
    tiny_models.write_diffusion_model(folder)
    return folder


@pytest.fixture(scope="session")
def cutout_file(model_folder: Path) -> Path:
    file = model_folder / "cutout.onnx"
    tiny_models.write_cutout_model(file)
    return file


@pytest.fixture(scope="session")
def upscaler_file(model_folder: Path) -> Path:
    file = model_folder / "upscaler.pth"
    tiny_models.write_upscaler(file)
    return file


@pytest.fixture(scope="session")
def clip_folder(model_folder: Path) -> Path:
    folder = model_folder / "clip"
    tiny_judges.write_clip(folder)
    return folder


@pytest.fixture(scope="session")
def aesthetic_file(model_folder: Path) -> Path:
    file = model_folder / "aesthetic.safetensors"
    tiny_judges.write_aesthetic_head(file)
    return file


@pytest.fixture(scope="session")
def nsfw_folder(model_folder: Path) -> Path:
    folder = model_folder / "nsfw"
    tiny_judges.write_image_classifier(folder)
    return folder


@pytest.fixture(scope="session")
def models(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Role -> loader of the tiny model."""
    import torch

    torch.set_num_threads(1)  # for networks this small threads only wait for each other
    loaded: dict[str, Any] = {}

    def once(role: str, load: Any) -> Any:
        if role not in loaded:
            loaded[role] = load()
        return loaded[role]

    def diffusion() -> Any:
        from steps.engines.diffusers_engine import load

        return load(str(request.getfixturevalue("diffusion_folder")), {}, "cpu")

    def cutout() -> Any:
        from steps.engines.rembg_engine import load

        return load(str(request.getfixturevalue("cutout_file")), {}, "cpu")

    def upscaler() -> Any:
        from steps.engines.realesrgan_engine import load

        return load(str(request.getfixturevalue("upscaler_file")), tiny_models.UPSCALER_OPTIONS, "cpu")

    def classifier() -> Any:
        from starter.classifier import CLASSIFIER_FILE
        from starter.engine import load

        return load(str(CLASSIFIER_FILE), {}, "cpu")

    def clip() -> Any:
        from steps.engines.judge_engines import load_clip as load

        return load(str(request.getfixturevalue("clip_folder")), {}, "cpu")

    def aesthetic() -> Any:
        from steps.engines.judge_engines import load_aesthetic as load

        return load(str(request.getfixturevalue("aesthetic_file")), {}, "cpu")

    def nsfw() -> Any:
        from steps.engines.judge_engines import load_image_classifier as load

        return load(str(request.getfixturevalue("nsfw_folder")), {}, "cpu")

    loads = (diffusion, cutout, upscaler, classifier, clip, aesthetic, nsfw)
    parts = {load.__name__: load for load in loads}
    return {role: lambda role=role, load=load: once(role, load) for role, load in parts.items()}


@pytest.fixture
def context(models: dict[str, Any]) -> Context:
    return Context(models)
