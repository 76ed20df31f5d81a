"""The ledger is the record of every item: its state, and the outcome of each step. A failed item is a row."""

from configs.recipe.recipe import Recipe
from steps.recipe import resolve_program
from storage.ledger.records import ItemState, Outcome
from tests.support.mill import JOB, Mill

RECIPE = Recipe.model_validate(
    {"name": "thumbnail", "steps": [{"id": "photo", "step": "load"}, {"id": "small", "step": "resize", "width": 8}]}
)


def test_one_bad_item_is_a_row_and_the_others_go_on(photos, tmp_path):
    items = photos("red", "blue")
    (tmp_path / "blue.png").write_bytes(b"not an image")
    mill = Mill(tmp_path, resolve_program(RECIPE), items, recipe=RECIPE)
    mill.run()
    red, blue = mill.ledger.items.reports(JOB)

    assert red.record.state is ItemState.DONE
    assert red.steps["small"].outcome is Outcome.COMPUTED
    assert red.steps["small"].artefact.facts["width"] == 8
    assert red.steps["small"].seconds > 0

    assert blue.record.state is ItemState.FAILED
    assert blue.record.error_step == "photo"
    assert "no image in one of the formats" in blue.record.error
    assert "small" not in blue.steps

    progress = mill.ledger.items.progress(JOB)
    assert (progress.done, progress.failed, progress.total) == (1, 1, 2)
