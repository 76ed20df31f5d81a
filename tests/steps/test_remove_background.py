"""remove_background: the subject's alpha, and colors that later steps can use."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from steps.engines import rembg_engine
from steps.remove_background import RemoveBackground
from tests.steps import images
from tests.support.step_context import Context

SUBJECT = (200, 30, 40)


def cut_out(context: Context, image: Image.Image | None = None, **fields: Any) -> Any:
    image = image or images.disc(64, color=SUBJECT, under=255).convert("RGB")
    return RemoveBackground(model="tiny", **fields).run([images.frame(image=image)], context)[0]


def told_by(script: str, *arguments: object, **environment: str) -> str:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    return done.stdout


@pytest.mark.parts
def test_subject_opaque_background_transparent(context: Context) -> None:
    result = cut_out(context)
    assert result.image.mode == "RGBA"
    assert result.image.getpixel((32, 32)) == (*SUBJECT, 255)
    assert result.image.getpixel((2, 2)) == (255, 255, 255, 0)  # the color stays
    assert 0.8 < result.facts["mask_confidence"] <= 1


@pytest.mark.parts
def test_colors_stay_as_they_are(context: Context) -> None:
    image = images.noise(40, 40)
    assert np.asarray(cut_out(context, image).image)[..., :3].tobytes() == image.tobytes()


@pytest.mark.parts
def test_dropped_colors_are_black_only_where_nothing_shows(context: Context) -> None:
    pixels = np.asarray(cut_out(context, keep_color=False).image)
    clear = pixels[..., 3] == 0
    assert (pixels[clear] == 0).all()
    soft = (pixels[..., 3] > 0) & (pixels[..., 3] < 255)
    assert soft.any()
    assert (pixels[soft][:, 0] >= 200).all()  # not multiplied by alpha


@pytest.mark.parts
def test_clean_edges_take_the_old_background_out(context: Context) -> None:
    rims = {}
    for clean in (False, True):
        pixels = np.asarray(cut_out(context, clean_edges=clean).image).astype(int)
        soft = (pixels[..., 3] > 60) & (pixels[..., 3] < 255)
        rims[clean] = np.abs(pixels[soft][:, :3] - SUBJECT).mean()
        assert tuple(pixels[32, 32]) == (*SUBJECT, 255)
    assert rims[True] < rims[False] / 2


@pytest.mark.parts
def test_a_background_makes_it_opaque(context: Context) -> None:
    result = cut_out(context, background="#0000ff")
    assert result.image.mode == "RGB"
    assert result.image.getpixel((2, 2)) == (0, 0, 255)
    assert result.image.getpixel((32, 32)) == SUBJECT


@pytest.mark.parts
def test_what_was_transparent_stays_so(context: Context) -> None:
    image = images.disc(64, color=SUBJECT, hole=8, under=255)
    assert cut_out(context, image).image.getpixel((32, 32))[3] == 0


@pytest.mark.parts
def test_a_blank_image_is_no_trouble(context: Context) -> None:
    assert cut_out(context, Image.new("RGB", (30, 30), "white")).image.size == (30, 30)


@pytest.mark.parts
def test_matting_and_hard_masks_run(context: Context) -> None:
    hard = np.asarray(cut_out(context, post_process_mask=True).image)[..., 3]
    assert set(np.unique(hard)) == {0, 255}
    assert cut_out(context, alpha_matting=True, erode_size=2).image.getpixel((32, 32))[3] == 255


@pytest.mark.parts
def test_only_soft_edges_import_pymatting(cutout_file: Path) -> None:
    """The first import on a machine compiles for most of a minute."""
    script = f"""
import sys
from PIL import Image
from steps.engines import rembg_engine
from steps.contract import Frame
from configs.documents.fields import Item
from steps.remove_background import RemoveBackground

class Context:
    session = rembg_engine.load({str(cutout_file)!r}, {{}}, "cpu")
    def model(self, ref):
        return self.session

frame = Frame(Item(index=0, name="a", seed=1), Image.new("RGB", (8, 8), "red"))
for fields in ({{"post_process_mask": True}}, {{"clean_edges": True}}):
    RemoveBackground(model="tiny", **fields).run([frame], Context())
    print("pymatting" in sys.modules, "numba" in sys.modules)
"""
    assert told_by(script).splitlines() == ["False False", "True True"]


@pytest.mark.slow
def test_soft_edges_are_the_same_compiled(tmp_path: Path) -> None:
    images.disc(64, color=SUBJECT).save(tmp_path / "disc.png")
    script = """
import json, sys
import numpy as np
from PIL import Image
from steps.engines.rembg_engine import late_pymatting
with late_pymatting():
    from rembg import bg
pixels = np.asarray(Image.open(sys.argv[1])) / 255
json.dump(bg.estimate_foreground_ml(pixels[..., :3], pixels[..., 3]).tolist(), sys.stdout)
"""
    colors = [
        np.array(json.loads(told_by(script, tmp_path / "disc.png", NUMBA_DISABLE_JIT=disabled)))
        for disabled in ("0", "1")
    ]
    assert np.abs(colors[0] - colors[1]).max() < 1e-4


def test_wrong_colors_are_refused() -> None:
    for color in ("nocolor", "#12", "#ff000080"):
        with pytest.raises(ValidationError):
            RemoveBackground(model="tiny", background=color)


@pytest.mark.parts
def test_loading_leaves_torch_s_threads_alone(cutout_file: Path) -> None:
    import torch

    before = torch.get_num_threads()
    rembg_engine.load(str(cutout_file), {}, "cpu")
    assert torch.get_num_threads() == before


@pytest.mark.parts
def test_any_file_serves_any_of_rembg_s_networks(cutout_file: Path) -> None:
    session = rembg_engine.load(str(cutout_file), {"network": "u2net"}, "cpu")
    assert "U2net" in type(session).__mro__[1].__name__


@pytest.mark.parts
def test_sources_that_cannot_be_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="put the ONNX file there"):
        rembg_engine.load(str(tmp_path / "no.onnx"), {}, "cpu")
    with pytest.raises(FileNotFoundError, match="allow_download"):
        rembg_engine.load("isnet-general-use", {}, "cpu")
    with pytest.raises(ValueError, match="no network named"):
        rembg_engine.load("no-such-network", {}, "cpu")
    with pytest.raises(ValidationError):
        rembg_engine.load("u2net", {"unknown": 1}, "cpu")


@pytest.mark.parts
def test_an_image_without_edges_to_clean_names_the_parameter(context: Context) -> None:
    pixel = Image.new("RGB", (1, 1), "red")
    assert cut_out(context, pixel).image.size == (1, 1)
    with pytest.raises(ValueError, match="leave `clean_edges` out"):
        cut_out(context, pixel, clean_edges=True)
