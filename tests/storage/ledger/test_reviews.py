"""What the ledger promises about people's decisions and bursts that wait for them, on SQLite and on PostgreSQL."""

from datetime import UTC, datetime, timedelta

from configs.job.job import AtReview
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemResult, ItemState, Outcome, Review, ReviewVerdict, StepOutcome, Wait
from tests.support.ledger_samples import computed, start

JOB = "job-1"
NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
QUARANTINED = [ItemState.QUARANTINED]


def refuse(ledger: Ledger, *indices: int, run: int = 1) -> None:
    """A gate refuses the first image of these items."""
    ends = {
        index: ItemResult(
            ItemState.QUARANTINED,
            error="too soft",
            error_step="draw",
            refused_image=f"generate-{index}",
            refused_by="sharp",
        )
        for index in indices
    }
    ledger.steps.record(JOB, run, "draw", [computed(index) for index in indices], ends)


def decide(ledger: Ledger, verdict: ReviewVerdict, *indices: int, image: str = "generate") -> None:
    reviews = [Review(f"item-{index}", f"{image}-{index}", verdict, "because", "mira", NOW) for index in indices]
    ledger.reviews.add(JOB, reviews)


def states(ledger: Ledger) -> str:
    return "".join(record.state.value[0] for record in ledger.items.find(JOB))


def test_a_decision_comes_back_as_it_was_given(ledger: Ledger) -> None:
    start(ledger)
    given = Review("item-0", "generate-0", ReviewVerdict.ACCEPTED, "it is meant to be soft", "mira", NOW)
    ledger.reviews.add(JOB, [given])
    assert ledger.reviews.all(JOB) == [given]


def test_a_second_decision_about_an_image_replaces_the_first(ledger: Ledger) -> None:
    start(ledger)
    decide(ledger, ReviewVerdict.ACCEPTED, 0)
    decide(ledger, ReviewVerdict.REJECTED, 0)
    assert [review.verdict for review in ledger.reviews.all(JOB)] == [ReviewVerdict.REJECTED]
    assert ledger.reviews.images_with(JOB, ReviewVerdict.ACCEPTED) == {}
    assert ledger.reviews.images_with(JOB, ReviewVerdict.REJECTED) == {"item-0": frozenset({"generate-0"})}


def test_an_item_may_have_several_accepted_images(ledger: Ledger) -> None:
    start(ledger)
    decide(ledger, ReviewVerdict.ACCEPTED, 0, 1)
    decide(ledger, ReviewVerdict.ACCEPTED, 0, image="upscale")
    assert ledger.reviews.images_with(JOB, ReviewVerdict.ACCEPTED) == {
        "item-0": frozenset({"generate-0", "upscale-0"}),
        "item-1": frozenset({"generate-1"}),
    }


def test_what_waits_is_what_gates_refused_and_nobody_decided(ledger: Ledger) -> None:
    start(ledger)
    refuse(ledger, 0, 1, 2)
    unable = ItemResult(ItemState.QUARANTINED, error="out of memory", error_step="draw")
    ledger.steps.record(JOB, 1, "draw", [StepOutcome(3, Outcome.FAILED, error="out of memory")], {3: unable})
    decide(ledger, ReviewVerdict.REJECTED, 1)
    decide(ledger, ReviewVerdict.ACCEPTED, 2, image="former")  # another image of it
    assert ledger.reviews.count_waiting(JOB) == 2
    assert [item.record.item.name for item in ledger.reviews.refused_items(JOB, waiting=True)] == ["item-0", "item-2"]
    assert ledger.reviews.refused_images(JOB) == {
        "item-0": ("generate-0", None),
        "item-1": ("generate-1", ReviewVerdict.REJECTED),
        "item-2": ("generate-2", None),
    }


def test_refused_items_come_with_their_images_and_decisions(ledger: Ledger) -> None:
    start(ledger)
    refuse(ledger, 4, 1)
    decide(ledger, ReviewVerdict.REJECTED, 4)
    one, four = ledger.reviews.refused_items(JOB)
    assert (one.record.item.name, one.record.refused_by, one.record.error) == ("item-1", "sharp", "too soft")
    artefact = one.steps["draw"].artefact
    assert artefact is not None and artefact.fingerprint == one.record.refused_image
    assert one.review is None
    assert four.review is not None and four.review.verdict is ReviewVerdict.REJECTED
    assert [item.record.item.index for item in ledger.reviews.refused_items(JOB, limit=1)] == [1]


def test_many_are_read_in_slices_in_order(ledger: Ledger) -> None:
    count = 1203
    start(ledger, count)
    refuse(ledger, *range(0, count, 2))
    indices = [item.record.item.index for item in ledger.reviews.refused_items(JOB)]
    assert indices == list(range(0, count, 2))
    assert len(list(ledger.reviews.refused_items(JOB, limit=555))) == 555


def test_accepted_items_become_pending_and_lose_what_the_gate_said(ledger: Ledger) -> None:
    start(ledger)
    refuse(ledger, 0, 1, 2)
    decide(ledger, ReviewVerdict.ACCEPTED, 0)
    decide(ledger, ReviewVerdict.REJECTED, 1)
    assert ledger.reviews.release(JOB, ReviewVerdict.ACCEPTED) == 1
    assert states(ledger) == "pqqppp"
    (released, *_) = ledger.items.find(JOB)
    assert (released.error, released.refused_image, released.refused_by) == (None, None, None)
    assert ledger.reviews.release(JOB, ReviewVerdict.ACCEPTED) == 0


def test_a_retry_spares_what_a_person_rejected(ledger: Ledger) -> None:
    start(ledger)
    refuse(ledger, 0, 1)
    decide(ledger, ReviewVerdict.REJECTED, 1)
    assert ledger.items.retry(JOB, QUARANTINED) == 1
    assert states(ledger) == "pqpppp"
    assert ledger.reviews.release(JOB, ReviewVerdict.REJECTED) == 1
    assert states(ledger) == "pppppp"


def test_decisions_outlive_the_items_and_hold_in_any_order(ledger: Ledger) -> None:
    start(ledger)
    refuse(ledger, 0)
    decide(ledger, ReviewVerdict.ACCEPTED, 0)
    start(ledger, 2, revision="b" * 64)
    assert ledger.reviews.images_with(JOB, ReviewVerdict.ACCEPTED) == {"item-0": frozenset({"generate-0"})}
    assert ledger.reviews.count_waiting(JOB) == 0


def test_a_job_keeps_whether_it_waits(ledger: Ledger) -> None:
    assert start(ledger).review is AtReview.END
    assert start(ledger, review=AtReview.WAIT).review is AtReview.WAIT
    assert ledger.jobs.get(JOB).review is AtReview.WAIT


def test_waits_come_longest_first_and_can_be_shortened_and_dropped(ledger: Ledger) -> None:
    start(ledger)
    start(ledger, job_id="other")
    late = Wait("run-a", JOB, NOW + timedelta(hours=1), NOW + timedelta(days=2))
    early = Wait("run-b", "other", NOW, NOW + timedelta(days=1))
    for wait in (late, early):
        ledger.reviews.set_wait(wait)
    assert ledger.reviews.waits() == [early, late]
    assert ledger.reviews.waits(JOB) == [late]
    assert ledger.reviews.wait_of("run-b") == early
    assert ledger.reviews.wait_of("run-c") is None
    ledger.reviews.shorten_waits(JOB, NOW)
    assert [wait.until for wait in ledger.reviews.waits()] == [early.until, NOW]
    ledger.reviews.drop_wait("run-a")
    ledger.reviews.drop_wait("run-a")
    assert ledger.reviews.waits() == [early]
