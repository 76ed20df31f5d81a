"""Whatever a recipe is made of, each item takes the way that a plain interpreter of its text would take.

Most recipes are walked without a store, images of a pixel in hand; some go through a shard. They are the same at each
run. What fails is the recipe with the shortest text of those that fail.
"""

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from configs.recipe.recipe import Recipe
from gpu_worker.walk.prediction import ReachableVisits, replay
from steps.recipe import compile_recipe
from steps.recipe.program import Program
from storage.ledger.records import ItemReport, ItemState
from tests.support.mill import Mill
from tests.support.null.program_walk import Walk, passed, reasons
from tests.support.null.recipes import some_items
from tests.support.null.recipes_at_random import (
    Entry,
    Way,
    entries_of,
    recipe_at_random,
    walk,
)
from tests.support.null.steps import Color, color_of

pytestmark = [pytest.mark.parts, pytest.mark.usefixtures("null_steps")]

RECIPES = 150
ITEMS = 5
IN_A_SHARD = 8  # recipes, of neither few nor many visits
EVENTS = {
    "candidate dropped out",
    "case",
    "default",
    "else of a step",
    "ended early",
    "no candidate left",
    "not the first candidate",
    "rejection",
    "repair helped",
    "retry helped",
    "turned away by a retry",
    "warning",
}
TOO_LONG = "more than 256 steps"


@cache
def documents(count: int) -> list[tuple[Entry, Program]]:
    """The first recipes that are not too long, with their programs."""
    found: list[tuple[Entry, Program]] = []
    seed = 0
    while len(found) < count:
        document, seed = recipe_at_random(seed), seed + 1
        compiled = compile_recipe(Recipe.model_validate(document))
        if compiled.program is not None:
            found.append((document, compiled.program))
        else:
            assert any(TOO_LONG in problem.message for problem in compiled.problems), (document, compiled.problems)
    return found


def told(way: Way) -> dict[str, Any]:
    """What of it can be compared."""
    steps = {name: (one.color, one.passed) for name, one in way.state.steps.items()}
    end = {} if way.rejected else {"image": way.state.image, "steps": steps, "warnings": list(way.state.warnings)}
    return {"visits": way.visits, "rejected": way.rejected, **end}


def test_ways() -> None:
    failing = []
    for document, program in documents(RECIPES):
        for item in some_items(ITEMS):
            if Walk(item, program).told() != told(walk(document, item)):
                failing.append((document, item))
    document, item = min(failing, key=lambda each: len(json.dumps(each[0])), default=(None, None))
    if document is not None and item is not None:
        told_by_program = Walk(item, compile_recipe(Recipe.model_validate(document)).program).told()  # type: ignore[arg-type]
        assert told_by_program == told(walk(document, item)), f"{len(failing)} ways, such as {item.index} of {document}"


def test_the_recipes_have_everything_happen() -> None:
    events = Counter[str]()
    for document, _ in documents(RECIPES):
        for item in some_items(ITEMS):
            events += walk(document, item).events
    assert set(events) == EVENTS
    assert min(events.values()) >= 10, events


def test_what_is_foreseen_of_an_item_comes_so() -> None:
    for document, program in documents(RECIPES):
        prospect = ReachableVisits(program)
        for item in some_items(ITEMS):
            path = Walk(item, program).path
            foreseen = {visit.id: certain for visit, certain in prospect.of(item).visits}
            assert path.made.keys() <= foreseen.keys(), document
            if path.rejected is None:
                assert {visit for visit, certain in foreseen.items() if certain} <= path.made.keys(), document


def test_no_two_attempts_share_a_seed() -> None:
    compared = 0
    for document, program in documents(RECIPES):
        if any(
            each.get("seed") == "same" or _plan(each).get("seed") == "same" for each in entries_of(document["steps"])
        ):
            continue
        attempts = Counter((visit.step_id, visit.seeds) for visit in program.visits)
        assert set(attempts.values()) == {1}, document
        compared += len(attempts)
    assert compared > 300


def _plan(entry: Entry) -> Entry:
    plan = entry.get("on_fail", {})
    return plan if isinstance(plan, dict) else {}


@pytest.mark.parametrize("streams", [True, False])
def test_ways_through_a_shard(streams: bool, tmp_path: Path) -> None:
    """With images, facts that are measured, and what the ledger and the finals say afterwards."""
    some = [each for each in documents(RECIPES) if 15 < len(each[1].visits) < 60][:IN_A_SHARD]
    for number, (document, program) in enumerate(some[streams::2]):
        recipe = Recipe.model_validate(document)
        folder = tmp_path / str(number)
        folder.mkdir()
        mill = Mill(
            folder,
            program,
            some_items(ITEMS),
            recipe=recipe,
            streams=streams,
            chunk_size=(1, 4, 32)[number % 3],
            micro_batch=3,
        )
        mill.run()
        for report in mill.reports():
            assert from_ledger(report, program, mill) == told(walk(document, report.record.item)), document
        mill.ledger.close()


def from_ledger(report: ItemReport, program: Program, mill: Mill) -> dict[str, Any]:
    path = replay(report.record.item, program, report.steps)
    colors = {visit: color_in(report, visit, mill) for visit in path.made}
    computed = {visit for visit, entry in report.steps.items() if entry.artefact is not None}
    assert computed == path.made.keys()
    visits = [(visit.partition("~")[0], color) for visit, color in colors.items()]
    record = report.record
    if path.rejected is not None:
        assert record.state is ItemState.QUARANTINED
        assert not record.finals
        return {"visits": visits, "rejected": reasons(record.error or "")}
    assert record.state is ItemState.DONE
    (last,) = record.finals
    return {
        "visits": visits,
        "rejected": None,
        "image": colors[last],
        "steps": {name: (colors[visit.id], passed(path, name)) for name, visit in path.state.visited.items()},
        "warnings": [reasons(text) for text in record.warnings],
    }


def color_in(report: ItemReport, visit: str, mill: Mill) -> Color:
    artefact = report.steps[visit].artefact
    assert artefact is not None
    with Image.open(Path(mill.store.uri(artefact.key))) as image:
        return color_of(image)
