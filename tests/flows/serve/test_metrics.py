"""The fleet's metrics: what a scaler and an alert read, while jobs run and when nobody runs them any more."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flows.serve.metrics import CONTENT_TYPE, FLEET_TABLE, FleetWatch, render_fleet_metrics
from storage.ledger.lease import job_lease, lease_of_job
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobStatus, ShardState
from tests.support.ledger_samples import start

ELSEWHERE = "other-12345678/4711/99/abcd"


class Time:
    """A clock that the test turns."""

    seconds = 100.0

    def watch(self) -> FleetWatch:
        return FleetWatch(clock=lambda: self.seconds)


def figures(ledger: Ledger) -> dict[str, float]:
    text = render_fleet_metrics(ledger).decode()
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_it_is_prometheus_text_of_all_metrics_in_the_table(ledger: Ledger) -> None:
    families = list(text_string_to_metric_families(render_fleet_metrics(ledger).decode()))
    assert [family.name for family in families] == [row.name for row in FLEET_TABLE]
    assert all(family.samples and family.documentation for family in families)
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")


def test_what_there_is_to_do(ledger: Ledger) -> None:
    start(ledger, job_id="a")
    start(ledger, job_id="b")
    ledger.jobs.set_status("b", JobStatus.DONE)
    ledger.runs.set_shard("a", 0, ShardState.RUNNING, flow_run_id="x")
    seen = figures(ledger)
    assert seen["pixelmill_fleet_jobs[running]"] == seen["pixelmill_fleet_jobs[done]"] == 1
    assert seen["pixelmill_fleet_shards[waiting]"] == seen["pixelmill_fleet_shards[running]"] == 1
    assert seen["pixelmill_fleet_items[pending]"] == 6


def test_the_longest_wait_is_told_in_seconds_and_never_negative(ledger: Ledger) -> None:
    start(ledger)
    later = FleetWatch(now=lambda: datetime.now(UTC) + timedelta(seconds=90))
    assert later.read(ledger).waited == pytest.approx(90, abs=5)
    assert FleetWatch(now=lambda: datetime.now(UTC) - timedelta(days=1)).read(ledger).waited == 0


def test_a_job_that_a_process_runs_is_not_silent(ledger: Ledger) -> None:
    start(ledger, job_id="a")
    with job_lease("a", ledger):
        assert figures(ledger)["pixelmill_fleet_silent_jobs"] == 0
    assert figures(ledger)["pixelmill_fleet_silent_jobs"] == 1


def test_a_job_elsewhere_is_silent_once_its_beats_stop(ledger: Ledger) -> None:
    start(ledger, job_id="a")
    ledger.leases.take(lease_of_job("a"), ELSEWHERE)
    time = Time()
    watch = time.watch()
    assert watch.read(ledger).orphaned == 0
    time.seconds += 15
    ledger.leases.confirm(lease_of_job("a"), ELSEWHERE)
    assert watch.read(ledger).orphaned == 0
    time.seconds += 15
    assert watch.read(ledger).orphaned == 0
    time.seconds += 15
    assert watch.read(ledger).orphaned == 1
    ledger.leases.confirm(lease_of_job("a"), ELSEWHERE)
    assert watch.read(ledger).orphaned == 0


def test_counting_many_items_is_not_repeated_before_it_has_paid_off(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(ledger)
    time = Time()
    watch = time.watch()
    counted: list[float] = []
    count = ledger.fleet.progress

    def slow_count() -> object:
        counted.append(time.seconds)
        time.seconds += 0.4
        return count()

    monkeypatch.setattr(ledger.fleet, "progress", slow_count)
    for _ in range(30):
        assert watch.read(ledger).progress.pending == 6
        time.seconds += 1
    assert len(counted) == 2
    ledger.jobs.set_status("job-1", JobStatus.DONE)
    assert watch.read(ledger).progress.total == 0
    start(ledger, job_id="next")
    assert watch.read(ledger).progress.pending == 6
