"""What steps do against a lack of memory: how near the pixels stay, and that nobody else notices."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from steps.contract import MemoryFallback
from steps.diffusion import ImageRequest, Sampling
from steps.engines import diffusers_engine, realesrgan_engine
from steps.upscale import Upscale
from tests.steps import images
from tests.support import ROOT, tiny_models
from tests.support.step_context import Context

pytestmark = pytest.mark.parts

STARTER = ROOT / "starter" / "models"
ACCELERATOR = "cpu:0"  # to the engines; to torch it is the CPU
SAMPLING = Sampling(3, 7.5, 32, 32)


@pytest.fixture(scope="module")
def starter_upscaler() -> Any:
    options = {"arch": "SRVGGNetCompact", "num_feat": 32, "num_conv": 12, "scale": 4}
    return realesrgan_engine.load(str(STARTER / "upscaler-x4.pth"), options, ACCELERATOR)


@pytest.fixture
def diffusion(diffusion_folder: Path) -> Any:
    return diffusers_engine.load(str(diffusion_folder), {}, ACCELERATOR)


@pytest.fixture
def tiles(starter_upscaler: Any) -> Iterator[list[tuple[int, int]]]:
    """Sizes of what the network is given on the device."""
    seen: list[tuple[int, int]] = []
    hook = starter_upscaler.model.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    yield seen
    hook.remove()


def upscale(image: Image.Image, upscaler: Any, fallback: MemoryFallback, **fields: Any) -> np.ndarray:
    context = Context({"upscaler": lambda: upscaler}, fallback=fallback)
    result = Upscale(model="starter", **fields).run([images.frame(image=image)], context)[0].image
    return np.asarray(result, dtype=int)


@pytest.mark.parametrize("fallback", [MemoryFallback.TILE, MemoryFallback.OFFLOAD])
@pytest.mark.parametrize("image", [images.noise(301, 217), images.disc(160)], ids=["noise", "cut-out"])
def test_an_upscaled_image_does_not_tell_the_relief(
    image: Image.Image, fallback: MemoryFallback, starter_upscaler: Any
) -> None:
    whole = upscale(image, starter_upscaler, MemoryFallback.NONE)
    assert np.abs(upscale(image, starter_upscaler, fallback) - whole).max() <= 1


@pytest.mark.parametrize(
    ("side", "own", "largest"),
    [(48, 0, 24 + 16), (600, 0, 256 + 2 * 16), (600, 64, 32 + 2 * 16)],
    ids=["small", "large", "in tiles already"],
)
def test_tiles_are_smaller_than_what_did_not_fit(
    side: int, own: int, largest: int, starter_upscaler: Any, tiles: list[tuple[int, int]]
) -> None:
    upscale(images.noise(side, 20), starter_upscaler, MemoryFallback.TILE, tile=own)
    assert max(max(size) for size in tiles) == largest


def test_an_offloaded_network_leaves_the_device_alone(starter_upscaler: Any, tiles: list[tuple[int, int]]) -> None:
    upscale(images.noise(32, 32), starter_upscaler, MemoryFallback.OFFLOAD)
    assert tiles == []
    upscale(images.noise(32, 32), starter_upscaler, MemoryFallback.NONE)
    assert tiles == [(32, 32)]


def test_a_cpu_cannot_offload_to_itself(diffusion_folder: Path, upscaler_file: Path) -> None:
    upscaler = realesrgan_engine.load(str(upscaler_file), tiny_models.UPSCALER_OPTIONS, "cpu")
    diffusion = diffusers_engine.load(str(diffusion_folder), {}, "cpu")
    assert (*upscaler.fallbacks, *diffusion.fallbacks) == (MemoryFallback.TILE, MemoryFallback.TILE)


def paint(model: Any, fallback: MemoryFallback = MemoryFallback.NONE, seeds: tuple[int, ...] = (1, 2)) -> list[bytes]:
    requests = [ImageRequest("a red potion", "", seed) for seed in seeds]
    return [image.tobytes() for image in model.paint("text_to_image", requests, SAMPLING, fallback)]


def test_a_picture_in_tiles_is_nearly_the_same() -> None:
    model = diffusers_engine.load(str(STARTER / "text-to-image"), {}, ACCELERATOR)
    requests, sampling = [ImageRequest("a red potion, white background", "", 1)], Sampling(4, 3.0, 128, 128)
    whole, tiled = (
        np.asarray(model.paint("text_to_image", requests, sampling, fallback)[0], dtype=int)
        for fallback in (MemoryFallback.NONE, MemoryFallback.TILE)
    )
    assert 0 < np.abs(whole - tiled).mean() < 2


def test_tiles_are_for_those_who_asked(diffusion: Any) -> None:
    before = paint(diffusion)
    assert paint(diffusion, MemoryFallback.TILE) != before
    with ThreadPoolExecutor(1) as other:
        assert other.submit(paint, diffusion).result() == before
    assert paint(diffusion) == before


def test_tiles_are_the_same_alone_and_side_by_side_on_a_cpu(diffusion_folder: Path) -> None:
    model = diffusers_engine.load(str(diffusion_folder), {}, "cpu")
    together = paint(model, MemoryFallback.TILE, (1, 2, 3))
    assert together == [paint(model, MemoryFallback.TILE, (seed,))[0] for seed in (1, 2, 3)]
    assert together != paint(model, MemoryFallback.NONE, (1, 2, 3))


def test_offloading_changes_no_pixel_and_ends_when_it_is_not_needed(diffusion: Any) -> None:
    pytest.importorskip("accelerate")
    whole, tiled = paint(diffusion), paint(diffusion, MemoryFallback.TILE)
    unet = diffusion.pipeline("text_to_image").unet
    assert paint(diffusion, MemoryFallback.OFFLOAD) == tiled
    assert hasattr(unet, "_hf_hook")
    assert paint(diffusion, MemoryFallback.OFFLOAD) == tiled
    assert paint(diffusion) == whole
    assert not hasattr(unet, "_hf_hook")
    with ThreadPoolExecutor(1) as other:
        assert other.submit(paint, diffusion, MemoryFallback.OFFLOAD).result() == tiled
    assert paint(diffusion, MemoryFallback.TILE) == tiled


@pytest.mark.parametrize("fallback", [MemoryFallback.NONE, MemoryFallback.OFFLOAD])
def test_what_breaks_off_in_the_middle_leaves_nothing_behind(fallback: MemoryFallback, diffusion_folder: Path) -> None:
    """Stable Diffusion XL decodes in float32: an autoencoder that runs out of memory stays there."""
    import torch

    if fallback is MemoryFallback.OFFLOAD:
        pytest.importorskip("accelerate")
    diffusion = diffusers_engine.load(str(diffusion_folder), {"dtype": "bfloat16"}, ACCELERATOR)
    before = paint(diffusion, fallback)

    def break_off(decoder: Any, inputs: Any) -> None:
        diffusion._base.vae.to(torch.float32)
        raise torch.OutOfMemoryError("simulated")

    hook = diffusion._base.vae.decoder.register_forward_pre_hook(break_off)
    with pytest.raises(torch.OutOfMemoryError):
        paint(diffusion, fallback)
    hook.remove()
    assert diffusion._base.vae.dtype == torch.float32
    assert paint(diffusion, fallback) == before


def test_without_accelerate_there_is_no_offloading(
    diffusion: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from steps.engines import diffusers_engine

    monkeypatch.setattr(diffusers_engine, "find_spec", lambda name: None)
    diffusers_engine._has_accelerate.cache_clear()
    try:
        assert [diffusion.fallbacks, diffusion.fallbacks] == [(MemoryFallback.TILE,)] * 2
    finally:
        diffusers_engine._has_accelerate.cache_clear()
    assert [record.message for record in caplog.records if "accelerate" in record.message] == [
        "Images too large for the device are not tried with parts of the model kept off it: that needs the package "
        "accelerate, which comes with pixelmill[cuda]."
    ]
