"""Bursts that wait for people: when their wait is over, and who is woken."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.burst.review import has_expired, is_over, resume_if_decided, stop_waiting, wake_due
from flows.burst.supervisor import BurstSupervisor
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemResult, ItemState, JobStatus, Review, ReviewVerdict, Wait
from tests.support.ledger_samples import computed, start
from tests.support.new_ledger import new_ledger

JOB = "job-1"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A job that has ended with two items that wait."""
    opened = new_ledger(tmp_path / "ledger.db")
    start(opened)
    ends = {
        index: ItemResult(ItemState.QUARANTINED, error="soft", refused_image=f"generate-{index}", refused_by="sharp")
        for index in range(2)
    }
    opened.steps.record(JOB, 1, "draw", [computed(0), computed(1)], ends)
    opened.jobs.set_status(JOB, JobStatus.INCOMPLETE)
    yield opened
    opened.close()


def wait(ledger: Ledger, run: str = "run-a", *, hours: float = 1, since: float = 0) -> Wait:
    now = datetime.now(UTC)
    made = Wait(run, JOB, now + timedelta(seconds=since), now + timedelta(hours=hours))
    ledger.reviews.set_wait(made)
    return made


def decide(ledger: Ledger, index: int) -> None:
    now = datetime.now(UTC)
    ledger.reviews.add(JOB, [Review(f"item-{index}", f"generate-{index}", ReviewVerdict.REJECTED, None, None, now)])


def woken(ledger: Ledger) -> list[str]:
    runs: list[str] = []
    wake_due(ledger, lambda wait, _: bool(runs.append(wait.flow_run_id)) or True)
    return runs


def test_a_burst_waits_until_the_last_item_is_decided(ledger: Ledger) -> None:
    wait(ledger)
    decide(ledger, 0)
    assert woken(ledger) == []
    decide(ledger, 1)
    assert woken(ledger) == ["run-a"]


def test_a_burst_waits_until_its_time_is_up(ledger: Ledger) -> None:
    expired = wait(ledger, hours=-1)
    assert has_expired(expired)
    assert woken(ledger) == ["run-a"]


def test_nobody_is_woken_while_somebody_else_runs_the_job(ledger: Ledger) -> None:
    late = wait(ledger, hours=-1)
    ledger.jobs.set_status(JOB, JobStatus.RUNNING)
    assert not is_over(late, ledger)
    assert woken(ledger) == []


def test_of_several_bursts_of_a_job_one_is_woken_at_a_time(ledger: Ledger) -> None:
    wait(ledger, "run-b", hours=-1, since=60)
    wait(ledger, "run-a", hours=-1)
    assert woken(ledger) == ["run-a"]
    ledger.reviews.drop_wait("run-a")
    assert woken(ledger) == ["run-b"]


def test_a_job_that_waits_is_not_revived(ledger: Ledger) -> None:
    wait(ledger)
    assert BurstSupervisor(ledger, lambda *_: pytest.fail("a burst was started")).restart_orphaned() == []


def test_cancelling_ends_the_wait_without_asking_prefect(ledger: Ledger, without_api: None) -> None:
    assert not stop_waiting(JOB, ledger)
    wait(ledger)
    assert stop_waiting(JOB, ledger)
    assert woken(ledger) == ["run-a"]


def test_without_an_api_the_last_decision_leaves_the_waking_to_others(ledger: Ledger, without_api: None) -> None:
    assert resume_if_decided(JOB, ledger) is False
    wait(ledger)
    assert resume_if_decided(JOB, ledger) is False, "something waits still"
    decide(ledger, 0)
    decide(ledger, 1)
    assert resume_if_decided(JOB, ledger) is None
