"""A recipe is a list of steps. A step with a condition is visited only by the items that meet it."""

from configs.recipe.recipe import Recipe
from steps.recipe import resolve_program
from tests.support.mill import Mill

RECIPE = Recipe.model_validate(
    {
        "name": "branches",
        "steps": [
            {"id": "photo", "step": "load"},
            {"id": "small", "step": "resize", "width": 8, "when": "item.name == 'red'"},
            {"id": "square", "step": "pad", "square": True, "when": "facts.photo.width > facts.photo.height"},
        ],
    }
)


def test_each_item_takes_its_own_path_through_the_steps(photos, tmp_path):
    mill = Mill(tmp_path, resolve_program(RECIPE), photos("red", "blue"), recipe=RECIPE)
    mill.run()
    assert mill.outcomes() == [
        {"photo": "computed", "small": "computed", "square": "computed"},
        {"photo": "computed", "small": "skipped", "square": "computed"},
    ]
    red, blue = mill.reports()
    assert red.steps["square"].artefact.width == 8
    assert blue.steps["square"].artefact.width == 32
