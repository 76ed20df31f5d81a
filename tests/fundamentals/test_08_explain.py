"""Every item can be explained: which steps it visited, which conditions held and with which values."""

from configs.recipe.recipe import Recipe
from flows.explain.explain import Explainer
from flows.explain.lines import lines_of
from steps.recipe import resolve_program
from tests.support.mill import JOB, Mill

RECIPE = Recipe.model_validate(
    {
        "name": "checked",
        "steps": [
            {"id": "photo", "step": "load"},
            {"id": "small", "step": "resize", "width": 8, "require": ["facts.this.height > 8"]},
        ],
    }
)


def test_an_item_is_explained_with_the_values_that_decided(photos, tmp_path):
    mill = Mill(tmp_path, resolve_program(RECIPE), photos("red"), recipe=RECIPE)
    mill.run()
    explanation = Explainer(mill.ledger.jobs.get(JOB)).explain(mill.ledger.items.report(JOB, 0))
    assert [visited.visit for visited in explanation.visits] == ["photo", "small"]
    lines = [f"{line.text} {line.detail}".strip() for line in lines_of(explanation)]
    assert any(line.startswith("facts.this.height > 8") and "facts.this.height is 4" in line for line in lines)
    assert "quarantined at small" in lines[-1]
