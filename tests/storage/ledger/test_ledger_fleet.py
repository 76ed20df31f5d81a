"""What the ledger says of all jobs together, on SQLite and on PostgreSQL."""

from datetime import UTC, datetime, timedelta

from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemResult, ItemState, JobStatus, Progress, ShardState
from tests.support.ledger_samples import computed, start

WAITING, RUNNING = ShardState.PENDING, ShardState.RUNNING


def end(ledger: Ledger, index: int, state: ItemState = ItemState.DONE, *, job: str = "job-1", run: int = 1) -> None:
    ledger.steps.record(job, run, "draw", [computed(index)], {index: ItemResult(state)})


def test_an_empty_ledger_has_nothing_to_do(ledger: Ledger) -> None:
    fleet = ledger.fleet.work()
    assert (dict(fleet.jobs), fleet.running, fleet.oldest_waiting) == ({}, (), None)
    assert set(fleet.shards.values()) == {0}
    assert ledger.fleet.progress() == Progress(0, 0, 0, 0, 0)


def test_only_running_jobs_are_counted(ledger: Ledger) -> None:
    for job in ("a", "b", "c"):
        start(ledger, job_id=job)
    ledger.jobs.set_status("b", JobStatus.CANCELLED)
    end(ledger, 0, job="a")
    end(ledger, 1, ItemState.FAILED, job="c")
    end(ledger, 2, ItemState.QUARANTINED, job="c")
    end(ledger, 3, job="b")
    fleet = ledger.fleet.work()
    assert dict(fleet.jobs) == {JobStatus.RUNNING: 2, JobStatus.CANCELLED: 1}
    assert fleet.running == ("a", "c")
    assert fleet.shards[WAITING] == 4
    assert ledger.fleet.progress() == Progress(total=12, pending=9, done=1, failed=1, quarantined=1)


def test_a_shard_that_a_worker_has_begun_waits_no_longer(ledger: Ledger) -> None:
    start(ledger)
    ledger.runs.set_shard("job-1", 0, RUNNING, flow_run_id="x")
    assert (ledger.fleet.work().shards[WAITING], ledger.fleet.work().shards[RUNNING]) == (1, 1)


def test_a_shard_without_items_to_do_does_not_wait(ledger: Ledger) -> None:
    """As after `resume`, which sets all shards back: a scaler would start workers for nothing."""
    start(ledger)
    for index in range(3):
        end(ledger, index)
    start(ledger)
    fleet = ledger.fleet.work()
    assert (fleet.shards[WAITING], fleet.shards[ShardState.DONE]) == (1, 1)


def test_the_oldest_waiting_shard_says_since_when(ledger: Ledger) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    start(ledger, job_id="first")
    between = datetime.now(UTC)
    start(ledger, job_id="second")
    oldest = ledger.fleet.work().oldest_waiting
    assert oldest is not None
    assert before <= oldest <= between
    for shard in (0, 1):
        ledger.runs.set_shard("first", shard, RUNNING, flow_run_id="x")
    oldest = ledger.fleet.work().oldest_waiting
    assert oldest is not None
    assert oldest >= between
