"""Images of real networks, made again: every step that comes with Pixelmill, with the bundled models."""

import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from configs.catalogues.models import BUILT_IN
from flows.reproduce.reproduce import Reproduction, ReproductionResult, reproduce
from gpu_worker.device.device import DEVICE, made_with
from gpu_worker.device.runtime import get_runtime
from storage.images.images import read_recipe
from tests.support import ROOT
from tests.support.command import Pixelmill
from tests.support.finished_images import finished, photo, settings_for

pytestmark = [pytest.mark.e2e, pytest.mark.long]

MODEL = {"model": "starter"}
DRAW = {"step": "generate", **MODEL, "steps": 4, "guidance": 3.0, "negative_prompt": "{thing}, dark"}
CUT = {"step": "remove_background", **MODEL}
CHAINS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "all steps": [
        DRAW,
        CUT,
        {"step": "inpaint", **MODEL, "mask": "background", "prompt": "a {{red}} {thing}", "steps": 4, "strength": 0.7},
        {"step": "upscale", **MODEL, "scale": 3},
        {"step": "convert", "format": "webp", "quality": 60},
        {"step": "generate", **MODEL, "steps": 4, "from_image": True, "strength": 0.5, "seed_offset": 3},
        {"step": "trim", "by": "border"},
        {"step": "resize", "width": 50},
        {"step": "pad", "square": True},
    ],
    "a photo": [
        {"step": "load"},
        {"step": "inpaint", **MODEL, "mask": "item", "prompt": "a star", "steps": 4},
        CUT,
        {"step": "upscale", **MODEL, "alpha": "model"},
    ],
    "from the item's image": [{**DRAW, "from_image": True}],
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    mask = Image.new("L", (32, 24))
    mask.paste(255, (4, 4, 18, 18))
    mask.save(tmp_path / "mask.png")
    return {"image": str(photo(tmp_path)), "mask": str(tmp_path / "mask.png")}


def again(image: Path, inputs: Sequence[str] = (), **settings: object) -> Reproduction:
    return reproduce(
        str(image),
        inputs=inputs,
        tolerance=0,
        save=image.parent / f"again{image.suffix}",
        settings=settings_for(image.parent, **settings),
        log=lambda stage: None,
    )


@pytest.mark.parametrize("name", CHAINS)
def test_every_step_is_made_again(tmp_path: Path, files: dict[str, str], name: str) -> None:
    given = {} if name == "all steps" else files
    image = finished(tmp_path, CHAINS[name], prompt="a red {potion}", vars={"thing": "key"}, **given)
    done = again(image, [*given.values()])
    assert done.verdict is ReproductionResult.IDENTICAL
    assert done.differences == ()
    assert (image.parent / f"again{image.suffix}").read_bytes() == image.read_bytes()


def test_an_image_of_a_model_names_the_device(tmp_path: Path) -> None:
    recipe = read_recipe(finished(tmp_path, [DRAW], prompt="a key", vars={"thing": "x"}).read_bytes())
    assert recipe is not None
    assert recipe.made_with == made_with(get_runtime(settings_for(tmp_path)).device)
    assert recipe.made_with[DEVICE]


def _own_models(folder: Path, old: str, new: str) -> Path:
    """The bundled models with something in their description changed."""
    folder.mkdir()
    text = (BUILT_IN / "starter.yaml").read_text().replace("../../../starter/models", str(folder / "weights"))
    assert old in text
    (folder / "starter.yaml").write_text(text.replace(old, new))
    shutil.copytree(BUILT_IN.parents[2] / "starter" / "models", folder / "weights")
    return folder


def test_other_weights_are_named_as_what_differs(tmp_path: Path) -> None:
    import torch

    image = finished(tmp_path, [DRAW, CUT, {"step": "upscale", **MODEL}], prompt="a key", vars={"thing": "x"})
    models = _own_models(tmp_path / "models", "scale: 4", "scale: 4")
    weights = models / "weights" / "upscaler-x4.pth"
    state = torch.load(weights, weights_only=True)
    tensors = state.get("params", state)
    tensors["body.0.weight"] = tensors["body.0.weight"] * 1.5
    torch.save(state, weights)
    done = again(image, models_path=[models])
    assert done.verdict is ReproductionResult.DIFFERENT
    assert [(each.kind, each.name) for each in done.differences] == [("model", "step 3 (upscale): starter/upscaler")]


def test_a_model_that_only_is_called_otherwise_is_named_and_makes_the_same(tmp_path: Path) -> None:
    image = finished(tmp_path, [DRAW, CUT], prompt="a key", vars={"thing": "x"})
    old = "source: ../../../starter/models/cutout.onnx"
    models = _own_models(
        tmp_path / "models", f"source: {tmp_path / 'models' / 'weights'}/cutout.onnx", _revised(tmp_path, old)
    )
    done = again(image, models_path=[models])
    assert done.verdict is ReproductionResult.IDENTICAL
    assert [(each.kind, each.name) for each in done.differences] == [
        ("model", "step 2 (remove_background): starter/cutout")
    ]


def _revised(tmp_path: Path, old: str) -> str:
    source = old.replace("../../../starter/models", str(tmp_path / "models" / "weights"))
    return f"{source}\n    options: {{revision: another}}"


def test_the_page_shows_commands_that_work(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "cut").mkdir()
    shutil.copy(finished(tmp_path / "made", [DRAW], prompt="a key", vars={"thing": "x"}), tmp_path / "red-key.png")
    web = finished(tmp_path / "cut", [{"step": "load"}, CUT, {"step": "convert"}], image=str(photo(tmp_path)))
    shutil.copy(web, tmp_path / "cutout.webp")
    page = (ROOT / "docs" / "reproduce.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    pixelmill = Pixelmill(tmp_path)
    for line in block.splitlines():
        program, *words = shlex.split(line, comments=True)
        result = pixelmill.here(*words)
        assert (program, result.status) == ("pixelmill", 0), result.err
        assert "identical" in result.out
    assert (tmp_path / "red-key-again.png").read_bytes() == (tmp_path / "red-key.png").read_bytes()
