"""Forms of recipes: what they ask, and the job that their answers make."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from configs.documents.problems import InvalidInput
from configs.job.deployment import Deployment, deployments
from configs.settings.settings import Settings
from flows.forms.make_images import ImageForm, Stamp, form_request, image_form
from flows.job.request import JobRequest
from tests.support import ROOT

STAMP = Stamp("icons-2026-03-01-0200-3fa9", 77)
ICONS = Deployment.model_validate(
    {
        "name": "icons",
        "recipe": "game-icon",
        "choices": {
            "style": {
                "title": "Style",
                "options": {"icon": {"prompt": "{prompt}, game icon"}, "as written": {}},
            },
            "size": {
                "title": "Size",
                "options": {"large": {}, "small": {"parameters": {"large": {"scale": 2}}}},
            },
        },
    }
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", output=str(tmp_path / "out"), price_per_hour=2)


@pytest.fixture
def form(settings: Settings) -> ImageForm:
    return image_form(ICONS, settings)


def filled(form: ImageForm, settings: Settings, **answers: Any) -> JobRequest:
    return form_request(
        form,
        form.model.model_validate(answers).model_dump(),
        STAMP,
        settings,
        folder=str(settings.home.parent),
    )[0]


def mistakes(form: ImageForm, settings: Settings, **answers: Any) -> list[str]:
    with pytest.raises(InvalidInput) as refusal:
        filled(form, settings, **answers)
    return [str(problem) for problem in refusal.value.problems]


def test_the_fields_come_in_the_order_in_which_people_think(form):
    names = ["name", "prompts", "table", "style", "size", "transparent", "seeds_per_item", "seed"]
    assert list(form.model.model_fields) == [*names, "output", "budget", "review", "dry_run"]


def test_a_recipe_of_photos_asks_for_images_and_not_for_prompts(settings):
    fields = image_form(Deployment(name="cut", recipe="photo-cutout"), settings).model.model_fields
    assert "images" in fields
    assert "prompts" not in fields


def test_answers_make_a_job(form, settings):
    request = filled(form, settings, prompts=" a red key \n\na coin", size="small", transparent=True, seeds_per_item=2)
    assert [item.name for item in request.items] == ["a-red-key-1", "a-red-key-2", "a-coin-1", "a-coin-2"]
    assert request.items[0].prompt == "a red key, game icon"
    assert request.items[0].vars == {"transparent": True}
    assert request.job.name == STAMP.name
    assert request.job.budget is None
    assert request.output == settings.output
    assert request.program.visits[3].step.scale == 2


def test_prompts_that_are_written_twice_have_two_names(form, settings):
    request = filled(form, settings, prompts="a key\na key", style="as written")
    assert [item.name for item in request.items] == ["a-key", "a-key-2"]
    assert request.items[0].seed != request.items[1].seed


def test_the_same_seed_makes_the_same_images(form, settings):
    first, again = (filled(form, settings, prompts="a key", name=name) for name in ("one", "two"))
    assert first.items[0].seed == again.items[0].seed
    assert filled(form, settings, prompts="a key", seed=-1).job.seed == STAMP.seed


def test_images_go_below_the_output(form, settings):
    assert filled(form, settings, prompts="x", output="spring/icons/").output == f"{settings.output}/spring/icons"


@pytest.mark.parametrize("output", ["../other", "a/../../b", "s3://bucket/x", "file:///etc", "~/x", "..\\x"])
def test_and_nowhere_else(form, settings, output):
    assert mistakes(form, settings, prompts="x", output=output) == [
        f"output: must be the name of a folder below {settings.output}"
    ]


def test_every_mistake_names_its_field(form, settings):
    said = mistakes(form, settings, name="a/b", prompts="good\n" + "x" * 10_001, output="..", seed=2**63 - 1)
    assert len(said) == 3
    assert any(line.startswith("name: must not hold a path separator") for line in said)
    assert any(line.startswith("prompts, line 2: must have at most 10000 characters") for line in said)
    assert any(line.startswith("output: must be the name of a folder") for line in said)


def test_a_missing_table_is_a_mistake_of_its_field(form, settings):
    (said,) = mistakes(form, settings, table="none.csv")
    assert said.startswith("table: cannot be read")


def test_a_form_that_asks_for_nothing_is_refused(form, settings):
    assert mistakes(form, settings) == ["prompts or table: nothing is requested: fill it in"]


def test_prompts_and_a_table_are_too_much(form, settings):
    assert mistakes(form, settings, prompts="x", table="a.csv") == [
        "table: give either a table or the fields above it, not both"
    ]


def test_a_parameter_of_a_choice_that_the_recipe_refuses_is_that_choice_s(settings):
    options = {"huge": {"parameters": {"large": {"scale": 99}}}, "normal": {}}
    deployment = Deployment.model_validate(
        {"name": "icons", "recipe": "game-icon", "choices": {"size": {"title": "Size", "options": options}}}
    )
    (said,) = mistakes(image_form(deployment, settings), settings, prompts="x")
    assert said.startswith("size: must be at most 8")


@pytest.mark.parametrize(
    "answers", [{"seeds_per_item": 0}, {"seeds_per_item": 1001}, {"seed": -2}, {"budget": -1}, {"style": "other"}]
)
def test_the_form_itself_refuses_what_is_out_of_bounds(form, answers):
    with pytest.raises(ValidationError):
        form.model.model_validate(answers)


def test_a_default_for_a_field_that_is_not_there_is_refused(settings):
    with pytest.raises(InvalidInput, match="its form has no field `promts`"):
        image_form(Deployment(name="icons", recipe="game-icon", parameters={"promts": "x"}), settings)


def test_the_example_of_the_docs_is_a_form(settings, tmp_path):
    page = (ROOT / "docs" / "prefect-ui.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "posters.yaml").write_text(example, encoding="utf-8")
    own = settings.model_copy(update={"deployments_path": (tmp_path,)})
    (posters,) = [each for each in deployments(own) if each.name == "posters"]
    request = filled(image_form(posters, own), own, prompts="a fair", size="512 × 512")
    assert request.items[0].prompt == "a fair, flat colors, white background"
    assert request.program.visits[3].step.scale == 8
