"""The ledger holds what is done, so a job that stopped goes on where it was."""

from configs.recipe.recipe import Recipe
from steps.recipe import resolve_program
from storage.ledger.records import ItemState
from tests.support.mill import JOB, Mill

RECIPE = Recipe.model_validate(
    {"name": "thumbnail", "steps": [{"id": "photo", "step": "load"}, {"id": "small", "step": "resize", "width": 8}]}
)


def test_a_job_that_stopped_redoes_nothing(photos, tmp_path):
    mill = Mill(tmp_path, resolve_program(RECIPE), photos("red", "blue"), recipe=RECIPE)
    with mill.open() as shard:
        chunk, photo = next(iter(shard.schedule()))
        assert shard.run_step(chunk, photo).computed == 2  # and then the worker goes away
    assert mill.ledger.items.progress(JOB).pending == 2

    counts = {step: counts for _, step, counts in mill.run()}
    assert (counts["photo"].computed, counts["photo"].reused) == (0, 2)
    assert counts["small"].computed == 2
    assert [report.record.state for report in mill.reports()] == [ItemState.DONE] * 2


def test_a_job_that_is_done_has_nothing_left_to_do(photos, tmp_path):
    mill = Mill(tmp_path, resolve_program(RECIPE), photos("red"), recipe=RECIPE)
    mill.run()
    assert mill.run() == []
