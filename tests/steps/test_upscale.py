"""upscale: any scale, tiles that do not show, and cut-outs without a fringe."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from steps.engines import realesrgan_engine
from steps.pixels.images import alpha_of, bleed, flatten
from steps.transform import Trim
from steps.upscale import Upscale
from tests.steps import images
from tests.support import tiny_models
from tests.support.step_context import Context


def upscale(image: Image.Image, context: Context, **fields: Any) -> Image.Image:
    return Upscale(model="tiny", **fields).run([images.frame(image=image)], context)[0].image


@pytest.mark.parts
@pytest.mark.parametrize(("scale", "factor"), [(None, 4), (1, 1), (2, 2), (2.5, 2.5), (8, 8)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_size_follows_the_scale(scale: float | None, factor: float, mode: str, context: Context) -> None:
    result = upscale(images.noise(21, 12, mode), context, scale=scale)
    assert result.size == (round(21 * factor), round(12 * factor))
    assert result.mode == mode


@pytest.mark.parts
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2)])
def test_tiny_images_are_no_trouble(size: tuple[int, int], context: Context) -> None:
    assert upscale(images.noise(*size), context).size == (4 * size[0], 4 * size[1])


@pytest.mark.parts
@pytest.mark.parametrize("tile", [8, 16, 33])
def test_tiles_do_not_show(tile: int, context: Context) -> None:
    image = images.noise(50, 37)
    whole = np.asarray(upscale(image, context), dtype=int)
    tiled = np.asarray(upscale(image, context, tile=tile), dtype=int)
    assert np.abs(whole - tiled).max() <= 1  # the network sees 4 pixels around, a tile 10


@pytest.mark.parts
def test_too_thin_a_pad_would_show(context: Context) -> None:
    image = images.noise(50, 37)
    assert upscale(image, context).tobytes() != upscale(image, context, tile=8, tile_pad=0).tobytes()


@pytest.mark.parts
def test_a_tile_that_fails_is_an_error_and_not_a_patch(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    upscaler = context.model(Upscale(model="tiny").model_refs()[0])
    network, seen = upscaler.model, []

    def fail_at_the_second(tile: Any) -> Any:
        seen.append(tile)
        if len(seen) == 2:
            raise RuntimeError("out of memory")
        return network(tile)

    monkeypatch.setattr(upscaler, "model", fail_at_the_second)
    with pytest.raises(RuntimeError, match="out of memory"):
        upscale(images.noise(32, 16), context, tile=16)


@pytest.mark.parts
def test_tiling_prints_nothing(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    upscale(images.noise(32, 16), context, tile=16)
    assert capsys.readouterr().out == ""


@pytest.mark.parts
@pytest.mark.parametrize("alpha", ["model", "bicubic"])
@pytest.mark.parametrize(("under", "backdrop"), [(0, "white"), (255, "black"), (0, "black"), (255, "white")])
def test_what_is_hidden_does_not_bleed_into_the_edge(under: int, backdrop: str, alpha: str, context: Context) -> None:
    """Against one color the edge runs straight from the subject to it: never darker nor lighter than both."""
    color = (200, 120, 60)
    result = upscale(images.disc(48, color=color, under=under), context, alpha=alpha)
    behind = 255 if backdrop == "white" else 0
    shown = np.asarray(flatten(result, (behind,) * 3), dtype=int)
    low, high = np.minimum(color, behind), np.maximum(color, behind)
    noise = 12  # at most what the tiny network's random weights add to a flat color
    assert (shown >= low - noise).all()
    assert (shown <= high + noise).all()
    edge = (np.asarray(result.getchannel("A")) > 20) & (np.asarray(result.getchannel("A")) < 235)
    assert edge.sum() > 100
    assert np.abs(np.asarray(result)[edge][:, :3] - np.array(color)).max() <= noise


@pytest.mark.parts
def test_hidden_colors_change_nothing_at_all(context: Context) -> None:
    first = upscale(images.disc(32, under=0), context)
    second = upscale(images.disc(32, under=255), context)
    assert first.tobytes() == second.tobytes()


class NoisyUpscaler:
    """A network that is never quite black nor white, four times as large."""

    scale, reach = 4, 4

    def enhance(self, pixels: Any) -> tuple[Any, None]:
        large = np.asarray(Image.fromarray(pixels).resize((4 * pixels.shape[1], 4 * pixels.shape[0]))).astype(int)
        noise = np.random.default_rng(0).integers(1, 4, large.shape)
        return np.where(large < 128, large + noise, large - noise).astype(np.uint8), None


@pytest.mark.parametrize("scale", [None, 2, 3.3])
@pytest.mark.parametrize("alpha", ["model", "bicubic"])
def test_what_is_clear_or_opaque_stays_so_and_can_be_trimmed(alpha: str, scale: float | None) -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((200, 120, 60, 255), (16, 16, 48, 48))
    context = Context({"upscaler": NoisyUpscaler}, device="another")
    result = upscale(image, context, alpha=alpha, scale=scale)
    factor = scale or 4
    large = np.asarray(result.getchannel("A"))
    inner, outer = round(17 * factor), round(15 * factor)  # a pixel around the edge may mix
    assert (large[inner : round(47 * factor), inner : round(47 * factor)] == 255).all()
    large = large.copy()
    large[outer : round(49 * factor), outer : round(49 * factor)] = 0
    assert not large.any()
    trimmed = Trim().transform(result)
    assert trimmed.image.width <= 34 * factor + 1
    assert trimmed.facts["trimmed_ratio"] > 0.7


def test_the_edge_is_the_networks_own() -> None:
    image = images.disc(32)
    sharp, smooth = (
        upscale(image, Context({"upscaler": NoisyUpscaler}, device="another"), alpha=way)
        for way in ("model", "bicubic")
    )
    assert (alpha_of(sharp) != alpha_of(smooth)).mean() > 0.05


def test_bleed_takes_the_nearest_opaque_color() -> None:
    pixels = np.zeros((1, 7, 4), dtype=np.uint8)
    pixels[0, 0], pixels[0, 6] = (10, 20, 30, 255), (200, 210, 220, 255)
    pixels[0, 1:6, :3] = 99
    bled = np.asarray(bleed(Image.fromarray(pixels)))
    assert bled[0, :3, 0].tolist() == [10, 10, 10]
    assert bled[0, 4:, 0].tolist() == [200, 200, 200]


def test_bleed_of_extremes() -> None:
    empty, faint = images.disc(8), Image.new("RGBA", (4, 4), (50, 60, 70, 3))
    empty.putalpha(0)
    assert bleed(empty).mode == "RGB"
    assert bleed(faint).getpixel((0, 0)) == (50, 60, 70)


@pytest.mark.parts
def test_weights_that_hold_more_than_tensors_are_refused(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "owned").touch, ())

    import torch

    torch.save({"params": Attack()}, tmp_path / "bad.pth")
    with pytest.raises(pickle.UnpicklingError):
        realesrgan_engine.load(str(tmp_path / "bad.pth"), tiny_models.UPSCALER_OPTIONS, "cpu")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parts
@pytest.mark.parametrize("damage", [lambda sound: sound[:2000], lambda _: b"\x08\x07 another kind", lambda _: b""])
def test_a_file_that_is_no_weights_is_called_that(
    tmp_path: Path, upscaler_file: Path, damage: Callable[[bytes], bytes]
) -> None:
    bad = tmp_path / "bad.pth"
    bad.write_bytes(damage(upscaler_file.read_bytes()))
    with pytest.raises(pickle.UnpicklingError, match=r"bad\.pth cannot be read as weights") as refused:
        realesrgan_engine.load(str(bad), tiny_models.UPSCALER_OPTIONS, "cpu")
    assert "weights_only" not in str(refused.value)


@pytest.mark.parts
def test_other_weights_than_the_options_say_are_refused(upscaler_file: Path) -> None:
    options = {**tiny_models.UPSCALER_OPTIONS, "num_conv": 3}
    with pytest.raises(ValueError, match="another network than the options describe"):
        realesrgan_engine.load(str(upscaler_file), options, "cpu")


@pytest.mark.parts
def test_rrdbnet_files_load(tmp_path: Path) -> None:
    import torch

    options = {"arch": "RRDBNet", "scale": 2, "num_feat": 4, "num_block": 1, "num_grow_ch": 2}
    network = realesrgan_engine.ResidualOptions.model_validate(options).network()
    torch.save({"params_ema": network.state_dict()}, tmp_path / "x2.pth")
    upscaler = realesrgan_engine.load(str(tmp_path / "x2.pth"), options, "cpu")
    assert upscale(images.noise(9, 7), Context({"upscaler": lambda: upscaler})).size == (18, 14)


@pytest.mark.parts
@pytest.mark.parametrize("scale", [8, 1])
def test_a_result_too_large_to_be_read_again_is_refused_before_it_is_made(scale: int, context: Context) -> None:
    """With scale 1 too: the model makes its own, larger image first."""
    with pytest.raises(ValueError, match="more than 178,956,970"):
        upscale(Image.new("RGB", (12_000, 1_000)), context, scale=scale)
