"""Whatever the recipes, a job that was decided again is what a run under the new recipe in a new ledger would be."""

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from configs.documents.fields import Item
from configs.recipe.recipe import Recipe
from flows.regate.reevaluate import Change
from steps.recipe import compile_recipe
from storage.ledger.records import ItemState
from tests.support.jobs.regated_job import Document, RegatedJob
from tests.support.null.recipes import some_items, with_variables
from tests.support.null.recipes_at_random import recipe_at_random

pytestmark = [pytest.mark.parts, pytest.mark.usefixtures("null_steps")]

PAIRS = 5  # of recipes
MOST_VISITS = 40
_CONDITIONS = ("when", "require", "until", "by", "switch", "that")


def odd_items(count: int) -> list[Item]:
    """The fifth cannot be drawn, and the last alone has what others lack."""
    *others, last = [with_variables(item, poison=item.index == 4) for item in some_items(count)]
    return [*others, with_variables(last, lacking=0.5)]


def small_recipe(random: Random) -> Document:
    while True:
        document = recipe_at_random(random.randrange(10**6))
        program = compile_recipe(Recipe.model_validate(document)).program
        if program is not None and 2 <= len(program.visits) <= MOST_VISITS:
            return document


def other_thresholds(value: Any, random: Random, *, condition: bool = False) -> Any:
    """The recipe with the numbers of its conditions changed."""
    if isinstance(value, dict):
        return {name: other_thresholds(each, random, condition=name in _CONDITIONS) for name, each in value.items()}
    if isinstance(value, list):
        return [other_thresholds(each, random, condition=condition) for each in value]
    if isinstance(value, str) and condition:
        return re.sub(r"\b0\.\d+\b", lambda _: str(random.choice([0.1, 0.3, 0.45, 0.55, 0.7, 0.9])), value)
    return value


@pytest.mark.parametrize("wholly", [False, True], ids=["thresholds", "recipes"])
def test_as_if_it_had_always_been_the_recipe(tmp_path: Path, wholly: bool) -> None:
    seen: set[Change] = set()
    for number in range(PAIRS):
        random = Random(f"{number} {wholly}")
        before = small_recipe(random)
        after = small_recipe(random) if wholly else other_thresholds(before, random)
        job = RegatedJob(tmp_path / f"{number} old", before, odd_items(9)).run()
        told = job.decide(after)
        job.apply(after)
        fresh = RegatedJob(tmp_path / f"{number} new", after, odd_items(9)).run()
        assert job.outcomes() == fresh.outcomes()
        assert job.finals() == fresh.finals()
        assert job.is_sound()
        for each, report in zip(told.items, fresh.reports(), strict=True):
            seen.add(each.change)
            if each.result is not None:
                assert each.result.state is report.record.state
                assert (each.result.error, each.result.warnings) == (report.record.error, report.record.warnings)
                assert set(each.images) == set(report.record.finals.values())
            elif each.expected is not None and report.record.state is not ItemState.FAILED:
                assert each.expected is report.record.state
        to_run = {visit for each in told.items for visit in each.computes}
        undecided = {visit for each in told.items for visit in each.undecided}
        assert set(job.computed) <= to_run | undecided
        assert job.decide(after).is_applied
        job.ledger.close()
        fresh.ledger.close()
    assert Change.TO_RUN in seen and len(seen) > 1
