"""A gate is a condition that an image must meet. An item that fails it is retried, repaired, warned or quarantined."""

import pytest

from configs.documents.fields import Item
from configs.recipe.recipe import Recipe
from steps.recipe import resolve_program
from storage.ledger.records import ItemState
from tests.support.mill import Mill

pytestmark = pytest.mark.usefixtures("null_steps")  # `null_generate` draws one color, which follows from the seed

RECIPE = Recipe.model_validate(
    {
        "name": "gated",
        "steps": [
            {
                "id": "base",
                "step": "null_generate",
                "require": [{"that": "facts.this.brightness < 0.5", "because": "too bright"}],
                "on_fail": {"retry": 2},
            }
        ],
    }
)


def test_a_gate_retries_with_other_seeds_and_then_quarantines(tmp_path):
    items = [Item(index=index, name=f"i{index}", seed=index) for index in range(16)]
    mill = Mill(tmp_path, resolve_program(RECIPE), items, recipe=RECIPE)
    mill.run()
    reports = mill.reports()
    passed = [report for report in reports if report.record.state is ItemState.DONE]
    refused = [report for report in reports if report.record.state is ItemState.QUARANTINED]
    assert len(passed) + len(refused) == 16
    # `base~2` is the second visit of the step `base`.
    assert any(list(report.steps) == ["base"] for report in passed)
    assert any(list(report.steps)[:2] == ["base", "base~2"] for report in passed)
    assert all(list(report.steps) == ["base", "base~2", "base~3"] for report in refused)
    assert all(report.record.error.startswith("too bright: ") for report in refused)
