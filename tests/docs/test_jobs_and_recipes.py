"""The pages say what the code does: their examples are valid, and they name every field."""

import re

import pytest

from configs.catalogues.gates import find_gate, write_out_gates
from configs.catalogues.models import ModelSpec
from configs.conditions import Condition
from configs.documents.problems import check
from configs.documents.yaml_source import parse_yaml
from configs.job.job import ItemEntry, Job, read_job
from configs.recipe.recipe import OnFail, Recipe, RecipeStep, Repeat
from configs.recipe.source import BUILT_IN
from configs.settings.settings import Settings
from steps.facts import IMAGE_FACTS
from steps.recipe import resolve_program
from tests.support import ROOT

DOCS = ROOT / "docs"
JOBS, RECIPES = ((DOCS / name).read_text(encoding="utf-8") for name in ("jobs.md", "recipes.md"))


def examples(page: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)


def test_the_job_is_valid():
    read = read_job(parse_yaml(examples(JOBS)[0].encode(), "jobs.md"))
    assert read.problems == []
    job = read.value
    values = [len(each) for each in job.matrix.axes.values()]
    assert (len(job.items) + values[0] * values[1] * values[2]) * job.seeds_per_item == 18


def test_the_recipe_is_the_one_that_comes_with_pixelmill():
    recipe, problems = check(Recipe, parse_yaml(examples(RECIPES)[0].encode(), "recipes.md").data)
    assert problems == []
    shipped, _ = check(Recipe, parse_yaml((BUILT_IN / "game-icon.yaml").read_bytes(), "game-icon.yaml").data)
    assert resolve_program(recipe) == resolve_program(shipped)
    assert recipe.keep == shipped.keep


@pytest.mark.parametrize(("example", "visits"), [(1, 12), (3, 17)], ids=["branches", "gates"])
def test_recipes_of_all_constructs(example, visits):
    document = parse_yaml(examples(RECIPES)[example].encode(), "recipes.md")
    assert write_out_gates(document.data, lambda name: find_gate(name, Settings())) == []
    recipe, problems = check(Recipe, document.data)
    assert problems == []
    assert len(resolve_program(recipe).visits) == visits


def test_the_changes_of_a_loop_are_changes():
    change = parse_yaml(examples(RECIPES)[2].encode(), "recipes.md").data["change"]
    loop = {"repeat": 2, "until": "true", "steps": [{"id": "base", "step": "generate"}], "change": change}
    assert Repeat.model_validate(loop).change == change


def test_the_conditions_are_conditions():
    conditions = [line.removeprefix("when: ") for line in examples(RECIPES)[4].splitlines()]
    assert len(conditions) == 3
    for condition in conditions:
        Condition.parse(condition)


def test_the_model_is_valid():
    spec, problems = check(ModelSpec, parse_yaml(examples(RECIPES)[5].encode(), "recipes.md").data)
    assert problems == [] and spec.parts


def _written(model):
    """The fields as files name them."""
    return [field.alias or name for name, field in model.model_fields.items()]


@pytest.mark.parametrize(
    ("page", "names"),
    [
        (JOBS, [*Job.model_fields, *ItemEntry.model_fields]),
        (RECIPES, [*_written(Recipe), *_written(RecipeStep), *_written(OnFail)]),
        (RECIPES, [path.stem for path in BUILT_IN.glob("*.yaml")]),
    ],
    ids=["jobs", "recipes", "shipped"],
)
def test_every_field_has_a_row(page, names):
    for name in names:
        assert f"\n| `{name}` |" in page


def test_every_fact_is_named():
    for name in IMAGE_FACTS:
        assert f"`{name}`" in RECIPES
