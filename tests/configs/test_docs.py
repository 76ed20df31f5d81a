"""The pages say what the code does: their examples are valid, and they name every field."""

import re
from pathlib import Path

import pytest

from configs.conditions import Condition
from configs.job import ItemEntry, Job, read_job
from configs.model_spec import ModelSpec
from configs.recipe import Recipe, RecipeStep
from configs.recipe_files import BUILT_IN
from configs.validation import check
from configs.yaml_source import parse_yaml
from steps.facts import IMAGE_FACTS
from steps.resolve import resolve_steps

DOCS = Path(__file__).parents[2] / "docs"
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
    assert resolve_steps(recipe) == resolve_steps(shipped)
    assert recipe.keep == shipped.keep


def test_the_conditions_are_conditions():
    conditions = [line.removeprefix("when: ") for line in examples(RECIPES)[1].splitlines()]
    assert len(conditions) == 3
    for condition in conditions:
        Condition.parse(condition)


def test_the_model_is_valid():
    spec, problems = check(ModelSpec, parse_yaml(examples(RECIPES)[2].encode(), "recipes.md").data)
    assert problems == [] and spec.parts


@pytest.mark.parametrize(
    ("page", "names"),
    [
        (JOBS, [*Job.model_fields, *ItemEntry.model_fields]),
        (RECIPES, [*Recipe.model_fields, *RecipeStep.model_fields, *(path.stem for path in BUILT_IN.glob("*.yaml"))]),
    ],
    ids=["jobs", "recipes"],
)
def test_every_field_has_a_row(page, names):
    for name in names:
        assert f"\n| `{name}` |" in page


def test_every_fact_is_named():
    for name in IMAGE_FACTS:
        assert f"`{name}`" in RECIPES
