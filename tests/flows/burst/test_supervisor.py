"""Jobs whose bursts are gone go on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.burst.supervisor import RESTARTS, START_SECONDS, BurstSupervisor, FlowRunPhase
from storage.ledger.lease import PATIENCE_SECONDS, lease_of_job
from storage.ledger.records import ItemResult, ItemState, JobStatus
from tests.support.ledger_samples import computed, start
from tests.support.new_ledger import new_ledger

ELSEWHERE = "another/7/1/n"  # a holder on a machine that cannot be seen from here


class Scene:
    """A running job, and a clock that a test moves."""

    def __init__(self, folder: Path) -> None:
        self.ledger = new_ledger(folder / "ledger.db")
        start(self.ledger)
        self.now = 1000.0
        self.keys: list[str] = []
        self.phases: dict[str, FlowRunPhase] = {}  # of flow runs, by their keys

    def start(self, job_id: str, key: str) -> str:
        self.keys.append(key)
        return key

    def phase(self, run: str) -> FlowRunPhase:
        return self.phases.get(run, FlowRunPhase.STARTING)

    def supervisor(self) -> BurstSupervisor:
        return BurstSupervisor(self.ledger, self, lambda: self.now)

    def end_item(self, index: int) -> None:
        end = ItemResult(ItemState.DONE, finals={"draw": f"foxes/final/item-{index}.png"})
        self.ledger.steps.record("job-1", 1, "draw", [computed(index)], {index: end})


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.ledger.close()


def test_a_job_that_nobody_holds_goes_on_at_once_and_once(scene: Scene) -> None:
    supervisor = scene.supervisor()
    assert supervisor.restart_orphaned() == ["job-1"]
    assert supervisor.restart_orphaned() == []
    assert len(scene.keys) == 1


def test_a_burst_that_gives_signs_of_life_is_left_alone(scene: Scene) -> None:
    scene.ledger.leases.take(lease_of_job("job-1"), ELSEWHERE)
    supervisor = scene.supervisor()
    for _ in range(5):
        assert supervisor.restart_orphaned() == []
        scene.now += PATIENCE_SECONDS
        assert scene.ledger.leases.confirm(lease_of_job("job-1"), ELSEWHERE)


def test_a_burst_that_falls_silent_is_replaced(scene: Scene) -> None:
    scene.ledger.leases.take(lease_of_job("job-1"), ELSEWHERE)
    supervisor = scene.supervisor()
    assert supervisor.restart_orphaned() == []
    scene.now += PATIENCE_SECONDS + 1
    assert supervisor.restart_orphaned() == ["job-1"]


def test_all_who_look_start_the_same_flow_run(scene: Scene) -> None:
    scene.supervisor().restart_orphaned()
    scene.supervisor().restart_orphaned()
    assert len(scene.keys) == 2
    assert len(set(scene.keys)) == 1


def test_a_burst_that_dies_soon_after_it_was_started_is_replaced_as_soon_as_any_other(scene: Scene) -> None:
    supervisor = scene.supervisor()
    assert supervisor.restart_orphaned() == ["job-1"]
    scene.ledger.leases.take(lease_of_job("job-1"), ELSEWHERE)
    assert supervisor.restart_orphaned() == []
    scene.now += PATIENCE_SECONDS + 1
    assert PATIENCE_SECONDS + 1 < START_SECONDS
    assert supervisor.restart_orphaned() == ["job-1"]
    assert len(set(scene.keys)) == 2, "another flow run"


def test_a_burst_that_never_begins_is_started_again(scene: Scene) -> None:
    supervisor = scene.supervisor()
    supervisor.restart_orphaned()
    scene.now += START_SECONDS + 1
    assert supervisor.restart_orphaned() == ["job-1"]
    assert len(set(scene.keys)) == 2, "another flow run"


def test_a_burst_that_ended_without_its_job_is_replaced_soon_and_then_later_and_later(scene: Scene) -> None:
    supervisor = scene.supervisor()
    pauses = []
    supervisor.restart_orphaned()
    for _ in range(3):
        scene.phases[scene.keys[-1]] = FlowRunPhase.ENDED
        begun = scene.now
        while not supervisor.restart_orphaned():
            scene.now += 1
        pauses.append(scene.now - begun)
    assert pauses == [RESTARTS.pause(vain) + 1 for vain in (1, 2, 3)] == [11, 21, 41]
    assert len(set(scene.keys)) == 4, "other flow runs"


def test_a_burst_that_waits_for_a_worker_is_left_alone_however_long(scene: Scene) -> None:
    supervisor = scene.supervisor()
    supervisor.restart_orphaned()
    scene.phases[scene.keys[0]] = FlowRunPhase.WAITING
    for _ in range(3 * RESTARTS.most):
        scene.now += START_SECONDS + 1
        assert supervisor.restart_orphaned() == []
    scene.phases[scene.keys[0]] = FlowRunPhase.STARTING
    scene.now += START_SECONDS
    assert supervisor.restart_orphaned() == [], "a worker has just taken it"
    scene.now += 1
    assert supervisor.restart_orphaned() == ["job-1"]


def test_a_burst_is_replaced_by_another_flow_run_also_where_items_ended_meanwhile(scene: Scene) -> None:
    supervisor = scene.supervisor()
    supervisor.restart_orphaned()
    scene.end_item(0)  # its shards go on without it
    scene.now += START_SECONDS + 1
    assert supervisor.restart_orphaned() == ["job-1"]
    assert len(set(scene.keys)) == 2


def test_a_job_that_its_bursts_do_not_bring_on_is_ended(scene: Scene) -> None:
    supervisor = scene.supervisor()
    for _ in range(RESTARTS.most):
        assert supervisor.restart_orphaned() == ["job-1"]
        scene.now += START_SECONDS + 1
    assert supervisor.restart_orphaned() == []
    job = scene.ledger.jobs.get("job-1")
    assert job.status is JobStatus.FAILED
    assert f"its burst died {RESTARTS.most + 1} times in a row" in str(job.error)


def test_a_job_that_comes_on_is_restarted_however_often(scene: Scene) -> None:
    supervisor = scene.supervisor()
    for index in range(5):
        assert supervisor.restart_orphaned() == ["job-1"]
        scene.end_item(index)
        scene.now += START_SECONDS + 1
    assert supervisor.restart_orphaned() == ["job-1"]
    assert scene.ledger.jobs.get("job-1").status is JobStatus.RUNNING


def test_ended_jobs_are_left_alone(scene: Scene) -> None:
    scene.ledger.jobs.set_status("job-1", JobStatus.CANCELLED)
    assert scene.supervisor().restart_orphaned() == []
