"""What an image says of itself is anybody's text: it is believed as far as it proves itself, and within bounds."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from configs.catalogues.models import ModelCatalogue
from flows.reproduce.plan import MAX_STEPS, CannotReproduce, ReproductionPlan, plan_reproduction
from steps.transform import Resize
from storage.images.images import read_recipe
from storage.images.png_recipe import ImageRecipe, Provenance
from tests.support.finished_images import labeled, mark, settings_for

FILE = "a" * 64
DIGEST = "d" * 64
LOAD = mark("load", {"damaged": "refuse"}, FILE, version=2)
SMALL = mark("resize", Resize(width=8).model_dump(mode="json"), LOAD.fingerprint)
DRAWN: dict[str, Any] = {
    "model": "starter",
    "prompt": "a red key",
    "negative_prompt": "",
    "seed": 5,
    "steps": 4,
    "guidance": 3.0,
    "scheduler": None,
    "width": 64,
    "height": 64,
    "from_image": False,
}


def plan(
    tmp_path: Path, *marks: Provenance, files: Collection[str] = (FILE,), can_compute: bool = True
) -> ReproductionPlan:
    catalogue = ModelCatalogue(settings_for(tmp_path))
    return plan_reproduction(ImageRecipe(marks), catalogue, files=files, can_compute=can_compute)


def reasons(tmp_path: Path, *marks: Provenance, **arguments: Any) -> list[str]:
    with pytest.raises(CannotReproduce) as refused:
        plan(tmp_path, *marks, **arguments)
    return [str(problem) for problem in refused.value.problems]


def test_what_nothing_has_changed_of_has_its_own_fingerprints(tmp_path: Path) -> None:
    made = plan(tmp_path, LOAD, SMALL)
    assert [(step.then, step.here) for step in made.steps] == [(LOAD, LOAD), (SMALL, SMALL)]
    assert made.differences == ()
    assert made.files == {FILE}


def test_another_version_of_a_step_is_told_and_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Resize, "version", 3)
    made = plan(tmp_path, LOAD, SMALL)
    (difference,) = made.differences
    assert (difference.kind, difference.then, difference.here) == ("version", "1", "3")
    assert made.steps[1].here.fingerprint != SMALL.fingerprint


def test_a_parameter_that_came_since_is_told_and_has_its_default(tmp_path: Path) -> None:
    old = mark("resize", {"width": 8, "height": None, "fit": "contain"}, LOAD.fingerprint)
    (difference,) = plan(tmp_path, LOAD, old).differences
    assert (difference.kind, difference.name) == ("parameter", "step 2 (resize).resampling")
    assert (difference.then, difference.here) == (None, '"lanczos"')


def test_a_parameter_that_went_cannot_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = mark("resize", {**SMALL.identity, "gamma": 2.2}, LOAD.fingerprint, version=0)
    assert reasons(tmp_path, LOAD, old) == [
        "step 2 (resize).gamma: unknown field; known: fit, height, resampling, width; the image was made by version 0 "
        "of the step, and here is version 1"
    ]


def test_other_weights_of_a_model_are_told(tmp_path: Path) -> None:
    made = plan(tmp_path, mark("generate", DRAWN, diffusion=DIGEST))
    (difference,) = made.differences
    assert (difference.kind, difference.name) == ("model", "step 1 (generate): starter/diffusion")
    assert (difference.then, difference.here) == (DIGEST, made.model_digests["starter/diffusion"])


def test_everything_in_the_way_is_told_at_once(tmp_path: Path) -> None:
    cut = mark("remove_background", {"model": "nobody"}, LOAD.fingerprint, cutout=DIGEST)
    gone = mark("vanished", {}, cut.fingerprint)
    upscaled = mark("upscale", {"model": "starter", "scale": 900}, gone.fingerprint)
    said = "\n".join(reasons(tmp_path, LOAD, cut, gone, upscaled, files=()))
    for part in (f"image with the SHA-256 {FILE}", "unknown model `nobody`", "`vanished`", "step 4 (upscale).scale"):
        assert part in said


def test_without_what_computes_images_models_are_refused_and_the_rest_is_not(tmp_path: Path) -> None:
    plan(tmp_path, LOAD, SMALL, can_compute=False)
    (said,) = reasons(tmp_path, mark("generate", DRAWN, diffusion=DIGEST), can_compute=False)
    assert "pixelmill[worker]" in said


# -- texts that are not Pixelmill's ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "altered",
    [
        replace(SMALL, identity={**SMALL.identity, "width": 9}),
        replace(SMALL, version=2),
        replace(SMALL, fingerprint="f" * 64),
        replace(SMALL, models={"starter/upscaler": DIGEST}),
        mark("resize", SMALL.identity, FILE),
        mark("resize", SMALL.identity),
    ],
    ids=["parameter", "version", "fingerprint", "model", "another input", "no input"],
)
def test_an_altered_chain_is_refused(tmp_path: Path, altered: Provenance) -> None:
    assert any("altered" in said for said in reasons(tmp_path, LOAD, altered))


def test_a_chain_that_begins_without_an_image_is_refused(tmp_path: Path) -> None:
    (said,) = reasons(tmp_path, mark("resize", SMALL.identity))
    assert "needs an image" in said


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "starter/../starter", "starter\x00", "https://x/y"]
)
def test_a_model_is_a_name_that_the_catalogue_has(tmp_path: Path, name: str) -> None:
    (said,) = reasons(tmp_path, mark("generate", {**DRAWN, "model": name}))
    assert "unknown model" in said
    assert said.isprintable()


@pytest.mark.parametrize("name", ["os:system", "../resize", "steps.transform:Resize", "", "\x1b]0;mine\x07\x1b[2J"])
def test_a_step_is_a_name_that_the_catalogue_has(tmp_path: Path, name: str) -> None:
    (said,) = reasons(tmp_path, mark(name, {}, FILE))
    assert "unknown step" in said
    assert said.isprintable()


@pytest.mark.parametrize(
    ("identity", "place"),
    [
        ({"width": 10**9}, "width"),
        ({"height": -1}, "height"),
        ({"steps": 10**6}, "steps"),
        ({"seed": 2**70}, "seed"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": ["x"] * 1000}, "prompt"),
        ({"guidance": "1"}, "guidance"),
        ({"scheduler": "__import__"}, "scheduler"),
    ],
)
def test_parameters_have_the_bounds_that_recipes_have(tmp_path: Path, identity: dict[str, Any], place: str) -> None:
    said = reasons(tmp_path, mark("generate", {**DRAWN, **identity}, diffusion=DIGEST))
    assert [f"step 1 (generate).{place}" in one for one in said] == [True]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_values_that_no_fingerprint_is_made_of_are_refused(tmp_path: Path, value: object) -> None:
    odd = Provenance("load", 1, {"x": value}, {}, (FILE,), "f" * 64)
    assert "altered" in reasons(tmp_path, odd)[0]


def test_a_chain_has_an_end(tmp_path: Path) -> None:
    marks = [LOAD]
    while len(marks) <= MAX_STEPS:
        marks.append(mark("pad", {}, marks[-1].fingerprint))
    assert reasons(tmp_path, *marks) == [f"steps: the image names {MAX_STEPS + 1} steps, more than {MAX_STEPS}"]
    assert reasons(tmp_path) == ["steps: the image names no step that made it"]


def test_there_are_not_many_models_and_inputs(tmp_path: Path) -> None:
    many = mark("load", {}, *[FILE] * 1000)
    assert "altered" in reasons(tmp_path, many)[0]
    models = mark("load", {}, FILE, **{f"m{number}": DIGEST for number in range(1000)})
    assert "altered" in reasons(tmp_path, models)[0]
    words = mark("load", {}, "not a digest")
    assert "altered" in reasons(tmp_path, words)[0]


def test_files_that_a_step_does_not_read_are_refused(tmp_path: Path) -> None:
    assert "2 files" in reasons(tmp_path, mark("load", {}, FILE, "b" * 64))[0]


@pytest.mark.parametrize(
    "text",
    [
        '{"format":1,"steps":[' + '{"step":"load"},' * 1000 + "0]}",
        '{"format":1,"steps":' + "[" * 100_000,
        '{"format":1,"steps":{"step":1}}',
        '{"format":1,"steps":["load"]}',
        '{"format":1,"steps":[{"step":1,"version":1,"identity":{},"models":{},"inputs":[],"fingerprint":""}]}',
        '{"format":1,"steps":[{"step":"load","version":1,"identity":[],"models":{},"inputs":[],"fingerprint":""}]}',
        '{"format":1,"steps":[{"step":"load","version":1,"identity":{},"models":{},"inputs":"ab","fingerprint":""}]}',
        '{"format":1,"steps":[],"made_with":["torch"]}',
        '{"format":1,"steps":[],"made_with":{' + ",".join(f'"{n}":"1"' for n in range(100)) + "}}",
        '{"format":1,"steps":[' + "9" * 5000 + "]}",
        '{"Software":"another program"}',
    ],
)
def test_another_text_is_no_recipe(tmp_path: Path, text: str) -> None:
    assert read_recipe(labeled(tmp_path / "odd.png", text).read_bytes()) is None
