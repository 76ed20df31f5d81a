"""Branches and loops within each other, as deep as they may be and deeper."""

from typing import Any

import pytest

from configs.recipe.recipe import MAX_DEPTH, Recipe
from steps.recipe import compile_recipe

Entry = dict[str, Any]


def nested(entries: list[Entry], depth: int) -> Recipe:
    """These entries in so many branches."""
    for _ in range(depth):
        entries = [{"when": "item.seed > 0", "steps": entries}]
    return Recipe.model_validate({"name": "deep", "steps": entries})


def again(step_id: str, **fields: Any) -> Entry:
    """A step that is tried three times."""
    return {"id": step_id, "step": "load", "require": ["facts.this.width > 9"], **fields}


RETRY = {"retry": 2, "seed": "same"}
WAYS = {
    "itself": [again("a", on_fail=RETRY)],
    "from a step before": [{"id": "a", "step": "load"}, again("b", on_fail=RETRY | {"from": "a"})],
    "from a step before a branch": [
        {"id": "a", "step": "load"},
        {"when": "item.seed > 1", "steps": [{"id": "b", "step": "load"}]},
        again("c", on_fail=RETRY | {"from": "a"}),
    ],
}


@pytest.mark.parametrize("name", WAYS)
def test_retries_are_no_deeper_than_the_list_that_they_are_in(name: str) -> None:
    entries = WAYS[name]
    within = 1 if any("steps" in entry for entry in entries) else 0
    compiled = compile_recipe(nested(entries, MAX_DEPTH - within))
    assert compiled.program is not None, compiled.problems
    once = list(dict.fromkeys(visit.step_id for visit in compiled.program.visits))
    assert compiled.program.step_ids == (*once, *(f"{step}~{time}" for time in (2, 3) for step in once))


def test_a_list_that_is_too_deep_is_named() -> None:
    compiled = compile_recipe(nested([{"id": "a", "step": "load"}], MAX_DEPTH + 1))
    assert compiled.program is None
    (problem,) = compiled.problems
    assert problem.path == "steps[0]" + ".steps[0]" * (MAX_DEPTH + 1)
    assert problem.message == "branches and loops are more than 8 deep: make two recipes of it"
