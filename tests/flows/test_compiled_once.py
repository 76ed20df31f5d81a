"""A process compiles each revision of a recipe once, from the plan to the gallery and to `regate`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from configs.recipe.recipe import Recipe
from flows.verify.verify import verify_job
from steps.recipe import compile_recipe, compiler
from tests.support.jobs.regated_job import RegatedJob
from tests.support.null import steps
from tests.support.null.recipes import null_steps_known, some_items

BASE = {"id": "base", "step": "null_draw", "size": 4, "require": ["facts.this.score > 0.2"]}
RETRIED = {**BASE, "on_fail": {"retry": 2, "then": "warn"}}
RECIPE = {"name": "once", "distinct": True, "steps": [RETRIED, {"id": "last", "step": "null_pass"}]}


@pytest.fixture(autouse=True)
def null_steps() -> Iterator[None]:
    with null_steps_known():
        yield


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """The recipes that were compiled, in order."""
    found: list[Recipe] = []
    original = compiler._compile

    def counting(recipe: Recipe, *more: Any) -> compiler.Compiled:
        found.append(recipe)
        return original(recipe, *more)

    monkeypatch.setattr(compiler, "_compile", counting)
    compiler._compile_once.cache_clear()
    return found


def test_a_run_and_what_follows_it_compile_the_recipe_once(tmp_path: Path, compiled: list[Recipe]) -> None:
    job = RegatedJob(tmp_path / "job", RECIPE, some_items(4)).run()
    verify_job("job", job.ledger, job.store, running=False, advance=lambda number: None)
    assert len(compiled) == 1
    job.decide(None)
    job.decide({**RECIPE, "steps": [BASE, RECIPE["steps"][1]]})
    assert len(compiled) == 2


def test_a_catalogue_with_another_class_compiles_the_recipe_again(compiled: list[Recipe]) -> None:
    recipe = Recipe.model_validate(RECIPE)
    first = compile_recipe(recipe)
    assert compile_recipe(recipe.model_copy()) is first
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "NullPass", type("NullPass", (steps.NullPass,), {}))
        assert compile_recipe(recipe) is not first
    assert compile_recipe(recipe) is first
