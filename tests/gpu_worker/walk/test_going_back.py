"""What loops, retries and lost candidates leave behind: nothing but the number of attempts."""

from pathlib import Path
from typing import Any

import pytest

from configs.documents.fields import Item
from configs.recipe.recipe import Recipe
from gpu_worker.walk.item_path import ItemPath
from gpu_worker.walk.prediction import ReachableVisits
from steps.recipe import compile_recipe
from steps.recipe.program import Program
from tests.support.mill import Mill
from tests.support.null.program_walk import Walk, passed, reasons

pytestmark = pytest.mark.usefixtures("null_steps")

ITEM = Item(index=0, name="key", prompt="a key", seed=7)


def program_of(*steps: dict[str, Any]) -> Program:
    compiled = compile_recipe(Recipe.model_validate({"name": "test", "steps": steps}))
    assert compiled.program is not None, compiled.problems
    return compiled.program


def path_of(*steps: dict[str, Any]) -> ItemPath:
    return Walk(ITEM, program_of(*steps)).path


def draw(step_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": step_id, "step": "null_draw", "size": 1, **fields}


def shade(step_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": step_id, "step": "null_shade", "by": 1, **fields}


def gate(condition: str, **plan: Any) -> dict[str, Any]:
    return {"require": [{"that": condition, "because": "not so"}], "on_fail": plan}


FIRST, SECOND = "0 - steps.pose.attempts", "steps.pose.attempts"  # which of two candidates wins


@pytest.mark.parametrize(("by", "warnings"), [(FIRST, ["not so"]), (SECOND, [])])
def test_warnings_are_of_the_candidate_that_won(by: str, warnings: list[str]) -> None:
    warned = draw("pose", **gate("steps.pose.attempts > 1", then="warn"))
    path = path_of({"best_of": 2, "by": by, "steps": [warned]})
    assert [reasons(text) for text in path.state.warnings] == warnings


@pytest.mark.parametrize(("by", "has_passed"), [(FIRST, False), (SECOND, True)])
def test_conditions_see_whether_the_candidate_that_won_has_passed(by: str, has_passed: bool) -> None:
    warned = draw("pose", **gate("steps.pose.attempts > 1", then="warn"))
    path = path_of({"best_of": 2, "by": by, "steps": [warned]}, shade("after", when="steps.pose.passed"))
    assert passed(path, "pose") is has_passed
    assert ("after" in path.made) is has_passed


def test_a_loop_that_begins_anew_takes_back_the_warnings_of_the_time_before() -> None:
    warned = shade("shine", **gate("steps.shine.attempts > 1", then="warn"))
    again = {"repeat": 2, "until": "steps.shine.attempts > 1", "steps": [warned]}
    assert path_of(draw("base"), again).state.warnings == ()
    assert len(path_of(draw("base"), again | {"start": "previous"}).state.warnings) == 1


@pytest.mark.parametrize("start", ["same", "previous"])
def test_whichever_time_of_a_loop_an_item_leaves_after_its_image_is_measured(start: str, tmp_path: Path) -> None:
    """`edge_width` is measured only where a condition asks for it."""
    leaving = {"repeat": 3, "until": "item.seed % 3 < steps.pose.attempts", "start": start, "steps": [draw("pose")]}
    program = program_of(draw("base"), leaving, gate("facts.this.edge_width >= 0"))
    mill = Mill(
        tmp_path,
        program,
        [ITEM.model_copy(update={"index": seed, "name": f"i{seed}", "seed": seed}) for seed in range(3)],
    )
    mill.run()
    assert [len(report.steps) for report in mill.reports()] == [2, 3, 4]
    assert [report.record.error for report in mill.reports()] == [None] * 3
    mill.ledger.close()


def test_a_retry_has_no_more_measured_than_the_first_attempt() -> None:
    judged = gate("facts.this.edge_width >= 0", retry=1, **{"from": "base"})
    program = program_of(draw("base"), shade("shine", **judged))
    assert {visit.id: "edge_width" in visit.facts for visit in program.visits} == {
        "base": False,
        "shine": True,
        "base~2": False,
        "shine~2": True,
    }


def test_a_retry_that_turns_the_item_away_from_its_step_takes_it_through_the_else() -> None:
    step = shade("shine", when="steps.base.attempts < 2", **gate("item.seed < 0", retry=1, **{"from": "base"}))
    path = path_of(draw("base"), step | {"else": [shade("dull")]})
    assert list(path.made) == ["base", "shine", "base~2", "dull~2"]
    assert path.rejected is None


@pytest.mark.parametrize("seed", ["new", "same"])
def test_candidates_and_their_retries_have_seeds_of_their_own(seed: str) -> None:
    pose = draw("pose", **gate("steps.pose.attempts in [2, 4]", retry=1))
    walk = Walk(ITEM, program_of({"best_of": 2, "by": FIRST, "seed": seed, "steps": [pose]}))
    assert list(walk.path.made) == ["pose", "pose~2", "pose~3", "pose~4"]
    assert len(walk.colors) == (4 if seed == "new" else 2)


def test_seeds_of_further_attempts_are_numbers_that_every_program_can_hold() -> None:
    """Those of items that earlier versions began have 63 bits, as they had."""
    program = program_of({"best_of": 4, "by": FIRST, "steps": [draw("pose")]})
    large = ITEM.model_copy(update={"seed": 2**40})
    for item in (ITEM, large):
        _, *again = [visit.item(item).seed for visit in program.visits]
        assert all(seed < 2**32 for seed in again) and len(set(again)) == 3
    first, second, *_ = [visit.item(ITEM.model_copy(update={"wide_seeds": True})).seed for visit in program.visits]
    assert (first, second) == (7, 2345841140168823481)


def test_two_gates_that_send_an_item_back_to_the_same_step_do_so_with_different_seeds() -> None:
    first = gate("steps.base.attempts > 1", retry=1, **{"from": "base"})
    second = gate("steps.base.attempts > 2", retry=1, **{"from": "base"})
    walk = Walk(ITEM, program_of(draw("base"), first, second))
    assert len(walk.path.made) == len(walk.colors) == 3


def test_a_retry_changes_only_steps_that_it_goes_through() -> None:
    changed = gate("item.seed < 0", retry=1, change={"bose": {"lift": [1]}}, **{"from": "base"})
    recipe = Recipe.model_validate({"name": "test", "steps": [draw("base"), shade("shine", **changed)]})
    (problem,) = compile_recipe(recipe).problems
    assert problem.path == "steps[1].on_fail.change.bose"
    assert problem.message == "the retry goes through no step `bose`; did you mean `base`?"


def test_a_change_of_the_repair_that_comes_after_the_retries_is_a_mistake() -> None:
    mend = {"id": "mend", "step": "null_pass"}
    plan = {"retry": 1, "change": {"mend": {"seconds": [1]}}, "repair": [mend]}
    steps = [{"id": "base", "step": "null_generate", "require": ["facts.this.width > 1"], "on_fail": plan}]
    (problem,) = compile_recipe(Recipe.model_validate({"name": "test", "steps": steps})).problems
    assert problem.path == "steps[0].on_fail.change.mend"
    assert problem.message == "the retry goes through no step `mend`; known: base"


def test_planning_does_not_know_whether_a_step_was_visited_that_facts_decide() -> None:
    program = program_of(
        draw("base"),
        shade("shine", when="facts.base.score > 0.5"),
        shade("dull", when="steps.shine.visited", **{"else": [shade("sad")]}),
    )
    visits = ReachableVisits(program).of(ITEM).visits
    assert [(visit.id, certain) for visit, certain in visits] == [
        ("base", True),
        ("shine", False),
        ("dull", False),
        ("sad", False),
    ]


def test_planning_does_not_know_whether_a_step_has_passed_that_facts_decide() -> None:
    program = program_of(
        draw("base", **gate("facts.this.score > 0.5", then="warn")), shade("shine", when="steps.base.passed")
    )
    assert [certain for _, certain in ReachableVisits(program).of(ITEM).visits] == [True, False]
