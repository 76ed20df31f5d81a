"""Decisions about refused images: what is recorded, what is refused, and what becomes of the items."""

from pathlib import Path

import pytest

from configs.documents.problems import InvalidInput
from flows.burst.publish import waiting_markdown
from flows.burst.review import decide
from flows.cli.items import decide_command
from flows.job.plan import retry_items
from gpu_worker.walk.prediction import forecast
from storage.ledger.records import ItemState, ReviewVerdict
from storage.objects.keys import sha256_hex
from tests.support.jobs.refused_job import STEPS, refused_job, states
from tests.support.jobs.verified_job import IconJob
from tests.support.mill import JOB

DONE, FAILED, PENDING, QUARANTINED = ItemState.DONE, ItemState.FAILED, ItemState.PENDING, ItemState.QUARANTINED


@pytest.fixture
def job(refused: IconJob) -> IconJob:
    return refused


def accept(job: IconJob, *items: str, verdict: ReviewVerdict = ReviewVerdict.ACCEPTED) -> tuple[str, ...]:
    wanted = dict.fromkeys(items) if items else None
    return decide(JOB, wanted, verdict, reason="as meant", reviewer="mira", ledger=job.ledger).items


def run_again(job: IconJob) -> dict[str, int]:
    job.ledger.reviews.release(JOB, ReviewVerdict.ACCEPTED)
    return job.run()


def test_the_ledger_knows_what_the_gate_refused(job: IconJob) -> None:
    assert states(job) == {
        "first": QUARANTINED,
        "twin": QUARANTINED,
        "second": DONE,
        "cut": QUARANTINED,
        "broken": FAILED,
    }
    record = job.report("first").record
    assert record.refused_image == job.artefact("first", "small").fingerprint
    assert record.refused_by == "small"
    assert "too narrow" in str(record.error)


def test_an_accepted_image_goes_on_and_nothing_is_made_twice(job: IconJob) -> None:
    assert accept(job, "first") == ("first",)
    assert states(job)["first"] is QUARANTINED, "until the job runs again"
    assert job.verify().sound
    assert run_again(job) == {"large": 1}
    assert states(job)["first"] is DONE
    assert states(job)["twin"] is QUARANTINED, "its image is the same, but nobody accepted it for this item"
    (warning,) = job.report("first").record.warnings
    assert "too narrow" in warning and "accepted in review" in warning
    assert job.verify().sound


def test_all_that_wait_can_be_decided_at_once(job: IconJob) -> None:
    accept(job, "twin", verdict=ReviewVerdict.REJECTED)
    assert accept(job) == ("first", "cut")
    assert run_again(job) == {"large": 2}
    assert states(job)["twin"] is QUARANTINED
    assert accept(job) == ()


def test_a_later_gate_may_refuse_a_later_image_of_an_accepted_item(tmp_path: Path) -> None:
    steps = [*STEPS[:2], {**STEPS[2], "require": ["item.name != 'first'"]}]
    job = refused_job(tmp_path, steps=steps)
    accept(job, "first")
    run_again(job)
    record = job.report("first").record
    assert record.refused_image == job.artefact("first", "large").fingerprint
    accept(job, "first")
    assert run_again(job) == {}
    assert states(job)["first"] is DONE


def test_the_forecast_knows_what_was_accepted(job: IconJob) -> None:
    def large_to_make() -> int:
        waiting = [record.item for record in job.ledger.items.find(JOB, states=[QUARANTINED])]
        seen = forecast(
            waiting,
            job.mill.program,
            model_digests={},
            find_artefacts=lambda some: job.ledger.steps.find_artefacts(job.store.root, some),
            digest_file=lambda uri: sha256_hex(Path(uri).read_bytes()),
            accepted=job.ledger.reviews.images_with(JOB, ReviewVerdict.ACCEPTED),
        )
        return seen["large"].computed

    assert large_to_make() == 0
    accept(job, "first", "cut")
    assert large_to_make() == 2


def test_accepting_an_image_that_another_recipe_does_not_make_has_no_effect(tmp_path: Path) -> None:
    job = refused_job(tmp_path)
    accept(job, "first")
    changed = refused_job(tmp_path, steps=[STEPS[0], {**STEPS[1], "width": 5}, STEPS[2]])
    changed.ledger.items.reset(JOB)
    run_again(changed)
    assert states(changed)["first"] is QUARANTINED
    assert changed.ledger.reviews.count_waiting(JOB) == 3


def test_rejected_items_stay_until_a_retry_asks_for_them(job: IconJob) -> None:
    accept(job, "first", verdict=ReviewVerdict.REJECTED)
    assert job.ledger.reviews.count_waiting(JOB) == 2
    assert retry_items(JOB, "quarantined", job.ledger) == 2
    assert states(job)["first"] is QUARANTINED
    assert retry_items(JOB, "rejected", job.ledger) == 1
    assert states(job)["first"] is PENDING


def test_a_decision_can_be_changed(job: IconJob) -> None:
    accept(job, "first", verdict=ReviewVerdict.REJECTED)
    accept(job, "first")
    assert run_again(job) == {"large": 1}


def test_every_mistake_is_told_and_nothing_recorded(job: IconJob) -> None:
    with pytest.raises(InvalidInput) as refusal:
        accept(job, "first", "frist", "second", "broken")
    assert [
        (problem.path, problem.message.partition(";")[2] or problem.message) for problem in refusal.value.problems
    ] == [
        ("frist", " did you mean `first`?"),
        ("second", "is not quarantined: it is done"),
        ("broken", "is not quarantined: it is failed"),
    ]
    assert job.ledger.reviews.all(JOB) == []


def test_an_item_that_a_step_could_not_make_is_nothing_to_decide(job: IconJob) -> None:
    job.tamper("UPDATE items SET refused_image = NULL, error = 'out of memory' WHERE name = 'first'")
    with pytest.raises(InvalidInput, match="no gate refused"):
        accept(job, "first")


def test_a_decision_about_an_image_that_is_another_by_now_is_refused(job: IconJob) -> None:
    with pytest.raises(InvalidInput, match="another image by now"):
        decide(JOB, {"first": "f" * 64}, ReviewVerdict.ACCEPTED, reason=None, reviewer=None, ledger=job.ledger)


@pytest.mark.parametrize(("items", "everything"), [([], False), (["first"], True)], ids=["none", "both"])
def test_items_or_all(job: IconJob, items: list[str], everything: bool) -> None:
    with pytest.raises(InvalidInput, match="--all"):
        command(job, items, everything=everything)


def command(
    job: IconJob, items: list[str], verdict: ReviewVerdict = ReviewVerdict.ACCEPTED, *, everything: bool = False
):
    return decide_command(
        job.job,
        items,
        verdict,
        everything=everything,
        reason=None,
        by=None,
        ledger=job.ledger,
        settings=job.mill.settings,
    )


def test_the_command_takes_the_login_name_and_says_how_to_go_on(job: IconJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "mira")
    answer = command(job, ["first"])
    assert answer.document == {"job": JOB, "verdict": "accepted", "items": ["first"], "waiting": 2, "burst": None}
    assert [str(line) for line in answer.text.renderables] == [
        "1 accepted; 2 still wait",
        f"`pixelmill resume {JOB}` continues with them.",
    ]
    assert job.ledger.reviews.all(JOB)[0].reviewer == "mira"


def test_the_list_in_prefect_is_bounded_and_shows_texts_as_texts(job: IconJob) -> None:
    settings = job.mill.settings.model_copy(update={"gallery_url": "http://127.0.0.1:4201"})
    job.tamper("UPDATE items SET error = '<img src=x> | [a](b)' WHERE name = 'first'")
    some = list(job.ledger.reviews.refused_items(JOB, waiting=True, limit=2))
    text = waiting_markdown(job.job, 3, some, job.store, settings)
    assert "3 items wait" in text and "The first 2 of 3" in text
    assert r"\<img src\=x\> \| \[a\]\(b\)" in text
    assert text.count("[image](http://127.0.0.1:4201/files/") == 2
    assert "/review.html)" in text
    assert "nothing waits" in waiting_markdown(job.job, 0, [], job.store, settings)
