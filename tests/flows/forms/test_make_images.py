"""Forms of recipes: what they ask, and the job that their answers make."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from configs.documents.problems import InvalidInput
from configs.job.deployment import Deployment, deployments
from configs.job.file_sets import FileSet
from configs.settings.settings import Settings
from flows.forms.make_images import JOB_FILE, ImageForm, Stamp, form_request, image_form, keep_job_file
from flows.job.request import JobRequest, read_request
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
    names = ["name", "prompts", "table", "dynamic_prompts", "style", "size", "transparent", "seeds_per_item", "seed"]
    assert list(form.model.model_fields) == [*names, "output", "budget", "review", "dry_run"]


def test_a_recipe_of_photos_asks_for_images_and_not_for_prompts(settings):
    fields = image_form(Deployment(name="cut", recipe="photo-cutout"), settings).model.model_fields
    assert {"images", "image_folder"} <= set(fields)
    assert {"prompts", "dynamic_prompts"}.isdisjoint(fields)


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


def test_a_form_of_photos_that_asks_for_nothing_says_no_more_than_that(photos, settings):
    assert mistakes(photos, settings) == ["images or image_folder or table: nothing is requested: fill it in"]


def test_prompts_and_a_table_are_too_much(form, settings):
    assert mistakes(form, settings, prompts="x", table="a.csv") == [
        "table: give either this or the fields above it, not both"
    ]


@pytest.fixture
def photos(settings: Settings, tmp_path: Path) -> ImageForm:
    for name in ("A1/front.png", "B2/front.png", "one.jpg", "notes.txt"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "names.csv").write_text("image\nphotos/one.jpg\n")
    return image_form(Deployment(name="cut", recipe="photo-cutout"), settings)


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("photos", ["one"]),
        (" photos/ ", ["one"]),
        ("photos/**", ["A1-front", "B2-front", "one"]),
        ("photos/*/front.png", ["A1-front", "B2-front"]),
    ],
)
def test_a_folder_of_images_makes_an_item_of_each(photos, settings, tmp_path, folder, names):
    request = filled(photos, settings, image_folder=folder)
    assert [item.name for item in request.items] == names
    assert all(item.image.startswith(str(tmp_path / "photos")) for item in request.items)


def test_what_is_left_out_of_a_folder_is_told(photos, settings):
    left_out, not_looked_into = filled(photos, settings, image_folder="photos").notices
    assert left_out == "1 file is no image and left out: notes.txt"
    assert not_looked_into.startswith("2 folders are not looked into: A1, B2; ")


def test_mistakes_about_a_folder_are_its_field_s_and_all_told_at_once(photos, settings):
    said = mistakes(photos, settings, image_folder="photoz", name="a/b", output="..")
    assert [line.partition(":")[0] for line in said] == ["output", "name", "image_folder"]
    assert said[2].startswith("image_folder: cannot be read: ") and "is not there, or is no folder" in said[2]
    assert mistakes(photos, settings, image_folder="https://x.test/photos/") == [
        "image_folder: web servers have no folders to list: give a table of addresses",
    ]


def test_a_folder_and_other_items_are_too_much(photos, settings):
    assert mistakes(photos, settings, image_folder="photos", images="photos/one.jpg") == [
        "image_folder: give either this or the fields above it, not both"
    ]
    assert mistakes(photos, settings, image_folder="photos", table="names.csv") == [
        "table: give either this or image_folder, not both"
    ]


@pytest.mark.parametrize(
    "answers", [{"image_folder": "photos"}, {"image_folder": "photos/**"}, {"images": "photos/one.jpg"}]
)
def test_the_job_file_that_is_kept_makes_the_same_items(photos, settings, tmp_path, answers):
    filled_in = photos.model.model_validate(answers).model_dump()
    request, document = form_request(photos, filled_in, STAMP, settings, folder=str(tmp_path))
    keep_job_file(request, document, settings, folder=str(tmp_path))
    again = read_request(Path(request.output) / request.job.name / JOB_FILE, settings)
    assert again.items == request.items
    assert again.revision == request.revision


def test_a_prefix_of_a_bucket_needs_no_slash(photos, settings, monkeypatch):
    asked = []

    def listed(base: str, glob: str, settings: Settings) -> FileSet:
        asked.append((base, glob))
        return FileSet(base, ("a.png",))

    monkeypatch.setattr("flows.job.request.list_files", listed)
    (item,) = filled(photos, settings, image_folder="s3://shop/photos").items
    assert (asked, item.image) == ([("s3://shop/photos", "*")], "s3://shop/photos/a.png")


def test_choices_in_prompts_are_made_where_the_form_says_so(form, settings):
    answers = {"prompts": "a {red|blue} key", "style": "as written"}
    assert filled(form, settings, **answers).items[0].prompt == "a {red|blue} key"
    assert filled(form, settings, dynamic_prompts=True, **answers).items[0].prompt in ("a red key", "a blue key")


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
