"""What ledgers and reports hold of programs and walks stays as it is from version to version.

A changed digest of programs plans every job again; of explanations, it changes what `explain` prints.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from configs.recipe.recipe import Recipe
from flows.explain.document import explanation_document
from flows.explain.explain import Explainer
from flows.explain.lines import lines_of
from gpu_worker.walk.prediction import ReachableVisits
from steps.recipe import compile_recipe
from steps.recipe.program import Program
from steps.recipe.revision import describe_program
from tests.support.null.jobs import job_of, reported
from tests.support.null.recipes import some_items
from tests.support.null.recipes_at_random import recipe_at_random

pytestmark = pytest.mark.usefixtures("null_steps")

RECIPES = 20
ITEMS = 3


def programs() -> Iterator[tuple[Recipe, Program]]:
    for seed in range(RECIPES):
        recipe = Recipe.model_validate(recipe_at_random(seed))
        if (program := compile_recipe(recipe).program) is not None:
            yield recipe, program


def digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def test_a_program_is_described_as_a_line_of_guarded_operations() -> None:
    base = {"id": "base", "step": "null_draw", "size": 1, "when": "item.seed > 0"}
    base |= {"require": ["facts.this.score > 0.5"], "on_fail": {"retry": 1, "then": "warn"}}
    loop = {"best_of": 2, "by": "facts.this.score", "steps": [{"id": "pose", "step": "null_draw", "size": 1}]}
    compiled = compile_recipe(Recipe.model_validate({"name": "x", "steps": [base, loop]}))
    assert compiled.program is not None, compiled.problems
    program = compiled.program
    first, again = ["base.when", True], ["base.when~2", True]
    failed, failed_again = ["base.require", False], ["base.require~2", False]
    drawn = {"step_id": "base", "step": "null_draw", "version": 1}
    parameters = {"size": 1, "seconds": 0.0, "lift": 0}
    posed = {"step_id": "pose", "step": "null_draw", "version": 1, "parameters": parameters}
    test = {"requirements": ["facts.this.score > 0.5"]}
    score = {"key": "best of pose", "by": "facts.this.score"}
    assert json.loads(json.dumps(describe_program(program))) == [
        ["Save", [], {"key": "before base"}],
        ["Decide", [], {"key": "base.when", "condition": "item.seed > 0"}],
        ["Visit", [first], {"id": "base", "seeds": "", "parameters": parameters, **drawn}],
        ["Test", [first], {"key": "base.require", **test}],
        ["Return", [first, failed], {"key": "before base"}],
        ["Decide", [first, failed], {"key": "base.when~2", "condition": "item.seed > 0"}],
        ["Visit", [first, failed, again], {"id": "base~2", "seeds": "base:2", "parameters": parameters, **drawn}],
        ["Test", [first, failed, again], {"key": "base.require~2", **test}],
        ["Warn", [first, failed, again, failed_again], {"test": "base.require~2"}],
        ["Save", [], {"key": "best of pose"}],
        ["Visit", [], {"id": "pose", "seeds": "", **posed}],
        ["Score", [], {"candidate": 1, **score}],
        ["Return", [], {"key": "best of pose"}],
        ["Visit", [], {"id": "pose~2", "seeds": "pose:2", **posed}],
        ["Score", [], {"candidate": 2, **score}],
        ["Pick", [], {"key": "best of pose", "candidate_of": None}],
    ]


@pytest.mark.parts
def test_programs_have_the_revisions_that_they_had() -> None:
    assert digest([describe_program(program) for _, program in programs()]) == (
        "a1630d4f748ffec094930c5fc204874299e885c71b45989c622f5d8d8097e3d2"
    )


@pytest.mark.parts
def test_planning_expects_the_visits_that_it_expected() -> None:
    found = []
    for _, program in programs():
        prospect = ReachableVisits(program)
        found.append([[(visit.id, sure) for visit, sure in prospect.of(item).visits] for item in some_items(ITEMS)])
    assert digest(found) == "7580e2fb506c34a2d5d6c0f925bd3859e6fb97b4acf1f77d7c69d316f2a1a02f"


@pytest.mark.parts
def test_items_are_explained_as_they_were() -> None:
    found: list[Any] = []
    for recipe, program in programs():
        explainer = Explainer(job_of(recipe))
        for item in some_items(ITEMS):
            of_before = item.model_copy(update={"wide_seeds": True})
            explanation = explainer.explain(reported(of_before, program))
            found += [explanation_document(explanation), [list(map(str, line)) for line in lines_of(explanation)]]
    assert digest(found) == "70012b867eadc13c4b4021463b1cafcc77c10fd12c3125dc59e57359b745505e"
