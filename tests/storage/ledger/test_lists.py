"""Lists of jobs: what they show of each, from a few queries for all of them."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import event

from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemResult, ItemState, JobStatus, Progress, Review, ReviewVerdict
from tests.support.ledger_samples import computed, start

DONE = ItemState.DONE


def refused(image: str) -> ItemResult:
    return ItemResult(ItemState.QUARANTINED, "too dark", "draw", refused_image=image, refused_by="draw")


def finish(ledger: Ledger, job_id: str, ends: dict[int, ItemResult]) -> None:
    ledger.steps.record(job_id, 1, "draw", [computed(index) for index in ends])
    ledger.steps.record(job_id, 1, "big", [computed(index, "upscale") for index in ends], ends)


def done(index: int) -> ItemResult:
    return ItemResult(DONE, finals={"big": f"foxes/final/item-{index}.png"})


def test_jobs_are_listed_newest_first_with_their_counts(ledger: Ledger) -> None:
    start(ledger, job_id="old")
    start(ledger, job_id="new")
    finish(ledger, "new", {0: done(0), 1: ItemResult(ItemState.FAILED, "x", "big"), 2: refused("generate-2")})
    ledger.jobs.set_status("new", JobStatus.INCOMPLETE)
    new, old = ledger.lists.jobs()
    assert (new.id, new.status, new.progress, new.waiting) == ("new", JobStatus.INCOMPLETE, Progress(6, 3, 1, 1, 1), 1)
    assert (old.id, old.status, old.progress, old.waiting) == ("old", JobStatus.RUNNING, Progress(6, 6, 0, 0, 0), 0)
    assert [job.id for job in ledger.lists.jobs(limit=1, offset=1)] == ["old"]
    assert [job.id for job in ledger.lists.jobs(job_id="old")] == ["old"]
    assert ledger.lists.jobs(job_id="nobody") == []


def test_the_counts_are_those_of_each_job_alone(ledger: Ledger) -> None:
    start(ledger, job_id="a")
    start(ledger, job_id="b")
    finish(ledger, "a", {0: refused("generate-0"), 1: refused("generate-1")})
    decided = Review("item-0", "generate-0", ReviewVerdict.REJECTED, None, None, datetime.now(UTC))
    ledger.reviews.add("a", [decided])
    listed = {job.id: job for job in ledger.lists.jobs()}
    for job_id, job in listed.items():
        assert job.progress == ledger.items.progress(job_id)
        assert job.waiting == ledger.reviews.count_waiting(job_id)
    assert listed["a"].waiting == 1


def test_samples_are_finals_spread_over_a_job_and_images_that_gates_refused(ledger: Ledger) -> None:
    start(ledger, 8, job_id="a")
    start(ledger, 8, job_id="b")
    finish(ledger, "a", {**{index: done(index) for index in range(8)}, 4: refused("generate-4")})
    samples = ledger.lists.samples(["a", "b"])
    assert {job: [(one.item, one.fingerprint) for one in some] for job, some in samples.items()} == {
        "a": [("item-0", "upscale-0"), ("item-2", "upscale-2"), ("item-4", "generate-4"), ("item-6", "upscale-6")]
    }


@pytest.mark.parametrize("jobs", [3, 40])
def test_the_number_of_queries_does_not_grow_with_the_jobs(ledger: Ledger, jobs: int) -> None:
    for number in range(jobs):
        start(ledger, 1, job_id=f"job-{number}")
        finish(ledger, f"job-{number}", {0: refused("generate-0")})
    statements: list[str] = []
    event.listen(ledger.database._engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    listed = ledger.lists.jobs()
    assert len(ledger.lists.samples([job.id for job in listed])) == jobs
    assert sum(statement.startswith("SELECT") for statement in statements) == 4
