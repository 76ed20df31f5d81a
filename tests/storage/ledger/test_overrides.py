"""What a job has set in its recipe, as the ledger keeps it."""

from configs.recipe.recipe import Distinct
from configs.recipe.source import Overrides
from storage.ledger.ledger import Ledger
from tests.support.ledger_samples import RECIPE, start

OWN = Overrides(parameters={"big": {"scale": 4, "words": ["é", None]}}, distinct=Distinct(distance=3, on_fail="warn"))


def test_what_a_job_has_set_comes_back_and_goes_by_its_last_run(ledger: Ledger) -> None:
    assert start(ledger).overrides is None
    assert start(ledger, overrides=OWN).overrides == OWN == ledger.jobs.get("job-1").overrides
    assert start(ledger, overrides=Overrides()).overrides == Overrides()
    assert [job.overrides for job in ledger.jobs.all()] == [Overrides()]


def test_another_recipe_comes_with_its_own(ledger: Ledger) -> None:
    job = start(ledger, overrides=OWN)
    for overrides in (Overrides(parameters={"big": {"scale": 2}}), None):
        job = ledger.runs.change_recipe(
            job, recipe=RECIPE, overrides=overrides, revision="b", model_digests={}, variables={}, items=[]
        )
        assert job.overrides == overrides == ledger.jobs.get("job-1").overrides


def test_of_two_the_later_counts() -> None:
    both = OWN | Overrides(parameters={"big": {"scale": 2}, "cut": {"model": "starter"}})
    assert both.parameters == {"big": {"scale": 2, "words": ["é", None]}, "cut": {"model": "starter"}}
    assert both.distinct == OWN.distinct
    assert (OWN | Overrides(distinct=False)).distinct is False
