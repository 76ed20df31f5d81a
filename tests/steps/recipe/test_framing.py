"""The item's mask and steps that change which part of the picture an image shows."""

from typing import Any

import pytest

from configs.recipe.recipe import Recipe
from steps.recipe import compile_recipe, resolve_program

LOAD = {"id": "photo", "step": "load"}
PAINT = {"id": "paint", "step": "inpaint", "model": "starter"}
SQUARE = {"id": "square", "step": "pad", "square": True}
MOVES: dict[str, dict[str, Any]] = {
    "pad": {"step": "pad", "square": True},
    "trim": {"step": "trim"},
    "resize": {"step": "resize", "width": 64, "height": 64, "fit": "cover"},
}
KEEPS: dict[str, dict[str, Any]] = {
    "resize": {"step": "resize", "width": 64},
    "stretch": {"step": "resize", "width": 64, "height": 64, "fit": "stretch"},
    "upscale": {"step": "upscale", "model": "starter"},
    "cut out": {"step": "remove_background", "model": "starter"},
    "paint from it": {"step": "generate", "model": "starter", "from_image": True},
    "paint anew": {"step": "generate", "model": "starter"},
    "a pad of nothing": {"step": "pad"},
}


def recipe(*entries: dict[str, Any]) -> Recipe:
    return Recipe.model_validate({"name": "framed", "steps": list(entries)})


def problems(*entries: dict[str, Any]) -> list[tuple[str, str]]:
    return [(problem.path, problem.message) for problem in compile_recipe(recipe(*entries)).problems]


@pytest.mark.parametrize("name", MOVES)
def test_a_step_that_leaves_the_mask_behind_is_refused_before_one_that_reads_it(name: str) -> None:
    move = {"id": "frame", **MOVES[name]}
    ((path, message),) = problems(LOAD, move, PAINT)
    assert path == "steps[2]"
    assert "`frame` changes which part of it the image shows: put this step before that one" in message
    assert problems(LOAD, PAINT, move) == []
    assert problems(LOAD, move, {**PAINT, "mask": "alpha"}) == []


@pytest.mark.parametrize("name", KEEPS)
def test_a_mask_is_read_after_steps_that_show_the_whole_picture(name: str) -> None:
    assert problems(LOAD, {"id": "other", **KEEPS[name]}, PAINT) == []


def test_another_picture_has_a_mask_of_its_own() -> None:
    anew = {"id": "draw", "step": "generate", "model": "starter"}
    assert problems(LOAD, SQUARE, anew, PAINT) == []
    assert len(problems(LOAD, SQUARE, {**anew, "from_image": True}, PAINT)) == 1


def test_a_mask_may_be_left_behind_in_a_branch_or_by_a_later_pass_of_a_loop() -> None:
    branch = {"when": "vars.square", "steps": [SQUARE]}
    loop = {"repeat": 2, "start": "previous", "until": "facts.this.width > 99", "steps": [PAINT, SQUARE]}
    assert [path for path, _ in problems(LOAD, branch, PAINT)] == ["steps[2]"]
    assert [path for path, _ in problems(LOAD, loop)] == ["steps[1].steps[0]"]
    assert problems(LOAD, {**branch, "else": [PAINT]}) == []


def test_jobs_that_began_with_such_a_recipe_can_still_be_followed() -> None:
    assert len(resolve_program(recipe(LOAD, SQUARE, PAINT)).visits) == 3
