"""A job whose images have to be distinct: real steps, a real ledger, each kind of store."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from configs.recipe.recipe import DISTINCT
from configs.settings.settings import Settings
from flows.burst.distinct import settle_repetitions
from flows.burst.review import decide
from flows.pages.gallery import finish_job
from storage.ledger.records import ItemState, Review, ReviewVerdict
from storage.objects.artefacts import ArtefactStore
from storage.objects.open_store import open_store
from tests.support.jobs.refused_job import states
from tests.support.jobs.verified_job import IconJob
from tests.support.mill import JOB

pytestmark = pytest.mark.e2e  # half of them start a server

REASON = "near-duplicate of item first (distance 0.0)"


def settle(job: IconJob) -> int:
    return settle_repetitions(job.job, job.ledger, job.mill.settings)


def exists(job: IconJob, item: str) -> bool:
    return job.store.exists(f"{job.job.name}/final/{item}.png")


@pytest.fixture
def distinct(tmp_path: Path, store: ArtefactStore) -> IconJob:
    """`twin` repeats `first`; `broken` fails."""
    job = IconJob(tmp_path, store, distinct=True)
    job.run()
    return job


def test_the_later_twin_is_quarantined_and_says_why(distinct):
    assert settle(distinct) == 1
    twin = distinct.report("twin").record
    assert (twin.state, twin.error, twin.error_step, twin.finals) == (ItemState.QUARANTINED, REASON, DISTINCT, {})
    assert {name for name, state in states(distinct).items() if state is ItemState.DONE} == {"first", "second", "cut"}
    assert exists(distinct, "first") and not exists(distinct, "twin")
    assert distinct.store.exists(distinct.artefact("twin", "small").key)


def test_the_report_the_manifest_and_a_verification_agree(distinct):
    settle(distinct)
    summary = finish_job(distinct.job, distinct.ledger, distinct.mill.settings)
    assert summary.items.quarantined == 1
    failed = {one.item: (one.step, one.message) for one in summary.failures}
    assert failed["twin"] == (DISTINCT, REASON)
    assert distinct.verify().findings.listed == []


def test_a_second_time_changes_nothing(distinct):
    settle(distinct)
    before = [report.record for report in distinct.ledger.items.reports(JOB)]
    assert settle(distinct) == 1
    assert [report.record for report in distinct.ledger.items.reports(JOB)] == before


def test_what_was_interrupted_between_store_and_ledger_is_completed(distinct):
    distinct.store.delete(distinct.final("twin"))
    settle(distinct)
    assert states(distinct)["twin"] is ItemState.QUARANTINED


def test_an_item_gets_its_image_back_when_the_one_it_repeats_is_gone(distinct):
    settle(distinct)
    distinct.tamper("UPDATE items SET state = 'failed' WHERE name = 'first'")
    assert settle(distinct) == 0
    twin = distinct.report("twin").record
    assert (twin.state, twin.error, twin.error_step) == (ItemState.DONE, None, None)
    assert exists(distinct, "twin")
    assert distinct.final("twin").endswith("final/twin.png")


def test_one_that_comes_late_takes_its_place_in_the_order(distinct):
    distinct.tamper("UPDATE items SET state = 'failed' WHERE name = 'first'")
    assert settle(distinct) == 0
    distinct.tamper("UPDATE items SET state = 'done' WHERE name = 'first'")
    assert settle(distinct) == 1
    assert states(distinct)["twin"] is ItemState.QUARANTINED


def test_an_image_that_a_person_accepted_stays(distinct):
    settle(distinct)
    assert distinct.report("twin").record.refused_image == distinct.artefact("twin", "small").fingerprint
    decide(JOB, {"twin": None}, ReviewVerdict.ACCEPTED, reason=None, reviewer=None, ledger=distinct.ledger)
    assert settle(distinct) == 0
    assert states(distinct)["twin"] is ItemState.DONE and exists(distinct, "twin")


def test_of_two_images_of_an_item_one_accepted_does_not_stand_for_the_other(distinct):
    review = Review("twin", "another image of it", ReviewVerdict.ACCEPTED, None, None, datetime.now(UTC))
    distinct.ledger.reviews.add(JOB, [review])
    assert settle(distinct) == 1


def test_an_accepted_repetition_goes_through_the_recipe_once_more_and_stays(distinct):
    settle(distinct)
    decide(JOB, {"twin": None}, ReviewVerdict.ACCEPTED, reason=None, reviewer=None, ledger=distinct.ledger)
    assert distinct.ledger.reviews.release(JOB, ReviewVerdict.ACCEPTED) == 1
    assert distinct.run() == {}
    assert settle(distinct) == 0
    assert distinct.ledger.reviews.release(JOB, ReviewVerdict.ACCEPTED) == 0
    assert states(distinct)["twin"] is ItemState.DONE and exists(distinct, "twin")


def test_what_was_quarantined_for_another_reason_stays_so(distinct):
    distinct.tamper("UPDATE items SET state = 'quarantined', error_step = 'small' WHERE name = 'first'")
    assert settle(distinct) == 0
    assert states(distinct)["first"] is ItemState.QUARANTINED


def test_a_warning_leaves_the_image(tmp_path, store):
    job = IconJob(tmp_path, store, distinct={"on_fail": "warn"})
    job.run()
    assert [settle(job), settle(job)] == [1, 1]
    twin = job.report("twin").record
    assert (twin.state, twin.warnings) == (ItemState.DONE, (REASON,))
    assert exists(job, "twin")
    job.tamper("UPDATE items SET state = 'failed' WHERE name = 'first'")
    assert settle(job) == 0
    assert job.report("twin").record.warnings == ()


def test_nothing_is_done_for_a_recipe_that_does_not_ask(tmp_path):
    job = IconJob(tmp_path, open_store(tmp_path / "out", Settings()))
    job.run()
    assert settle(job) == 0
    assert states(job)["twin"] is ItemState.DONE


def test_a_run_that_is_no_longer_the_newest_decides_nothing(distinct):
    old = distinct.job
    distinct.tamper("UPDATE jobs SET run = run + 1")
    settle_repetitions(old, distinct.ledger, distinct.mill.settings)
    assert states(distinct)["twin"] is ItemState.DONE
