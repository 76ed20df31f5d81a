"""What holds for every step of the catalogue."""

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from configs.catalogues import catalogue
from steps.contract import Frame, Step
from steps.facts import ALWAYS, FACTS, measure
from tests.steps import images
from tests.steps.new_step import new_step
from tests.support.step_context import Context

# What a step needs besides a model, and what keeps its test fast.
HEAVY = (
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "rembg",
    "realesrgan",
    "basicsr",
    "onnxruntime",
    "rapidocr",
    "skimage",
    "cv2",
)


def frames_for(step: Step, mode: str) -> list[Frame]:
    """Three frames of one shape, so that they may share a micro-batch."""
    image = images.disc(40, hole=5) if mode == "RGBA" else images.noise(40, 40)
    before = None if step.makes_image else image
    return [images.frame(index, before, {"image": image}) for index in range(3)]


@pytest.fixture(params=catalogue.names("steps"))
def step(request: pytest.FixtureRequest) -> Step:
    return new_step(request.param)


@pytest.mark.parts
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_one_result_a_frame_in_order(step: Step, mode: str, context: Context) -> None:
    frames = frames_for(step, mode)
    together = step.run(frames, context)
    alone = [step.run([frame], context)[0] for frame in frames]

    assert [result.image.mode in ("RGB", "RGBA") for result in together] == [True] * 3
    assert [result.image.tobytes() for result in together] == [result.image.tobytes() for result in alone]
    assert all(set(result.facts) == set(step.measured_facts()) for result in together)
    assert [result.facts for result in together] == [result.facts for result in alone]


@pytest.mark.parts
def test_a_step_that_keeps_its_image_gives_back_the_same_one(step: Step, context: Context) -> None:
    frames = frames_for(step, "RGBA")
    kept = [result.image is frame.image for frame, result in zip(frames, step.run(frames, context), strict=True)]
    assert all(kept) or not step.keeps_image


@pytest.mark.parts
def test_the_input_image_is_left_alone(step: Step, context: Context) -> None:
    frames = frames_for(step, "RGBA")
    shown = frames[0].image or frames[0].files["image"]
    before = shown.tobytes()
    step.run(frames, context)
    assert shown.tobytes() == before


@pytest.mark.parts
def test_only_declared_models_are_asked_for(step: Step, context: Context) -> None:
    step.run(frames_for(step, "RGBA"), context)
    assert set(context.asked) <= set(step.model_refs())


def test_parameters_are_frozen(step: Step) -> None:
    field = next(iter(type(step).model_fields), None)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(step, field or "anything", 1)


def test_an_unknown_parameter_is_refused(step: Step) -> None:
    with pytest.raises(ValidationError, match="no_such_parameter"):
        type(step).model_validate({**step.model_dump(), "no_such_parameter": 1})


def test_every_parameter_has_a_description(step: Step) -> None:
    assert [name for name, field in type(step).model_fields.items() if not field.description] == []


def test_every_number_has_bounds(step: Step) -> None:
    schema = type(step).model_json_schema()["properties"]
    kinds = [(name, kind) for name, field in schema.items() for kind in field.get("anyOf", [field])]
    unbounded = {
        name
        for name, kind in kinds
        if kind.get("type") in ("integer", "number")
        and not ({"minimum", "exclusiveMinimum"} & kind.keys() and "maximum" in kind)
    }
    assert unbounded == set()


def test_identity_is_json_and_the_same_each_time(step: Step) -> None:
    item = images.item(image="/input.png")
    assert json.dumps(step.identity(item), sort_keys=True) == json.dumps(step.identity(item), sort_keys=True)


def test_facts_of_a_step_are_among_those_of_its_class(step: Step) -> None:
    assert step.measured_facts().items() <= step.own_facts.items()


def test_own_facts_do_not_hide_measured_ones(step: Step) -> None:
    assert not set(step.own_facts) & set(FACTS)


@pytest.mark.parts
def test_a_missing_image_is_an_error_that_names_the_item(step: Step, context: Context) -> None:
    if step.makes_image and step.item_problems(images.item()) == []:
        pytest.skip("needs no image")
    with pytest.raises(ValueError, match="item-0"):
        step.run([images.frame()], context)


@pytest.mark.parts
def test_results_can_be_measured(step: Step, context: Context) -> None:
    result = step.run(frames_for(step, "RGBA")[:1], context)[0]
    assert set(measure(result.image)) == ALWAYS


@pytest.mark.parts
def test_importing_all_steps_and_engines_loads_nothing_heavy() -> None:
    code = (
        "import sys; from configs.catalogues import catalogue\n"
        "[catalogue.load_step(name) for name in catalogue.names('steps')]\n"
        "[catalogue.load_engine(name) for name in catalogue.names('engines')]\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
