"""Parent flow runs whose process is gone: what Prefect is told to do, and when a flow run gives up."""

from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Crashed, Failed, Running, Scheduled

from configs.settings.settings import Settings
from flows.burst.form_flow import RESTARTS, with_ledger
from flows.prefect_api.deployments import AUTOMATIONS, all_deployments, ensure_automations, ensure_pool_and_deployments

pytestmark = pytest.mark.e2e


@pytest.fixture
def burst(client: SyncPrefectClient) -> UUID:
    """The deployment of bursts, and all others."""
    settings = Settings(work_pool=f"pool-{uuid4().hex[:8]}")
    ensure_pool_and_deployments(settings, all_deployments(settings))
    return client.read_deployment_by_name("burst/burst").id


def ours(client: SyncPrefectClient) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for automation in client.read_automations():
        found.setdefault(automation.name, []).append(automation)
    return {name: found[name] for name in AUTOMATIONS if name in found}


def test_each_automation_is_there_once_and_concerns_bursts_but_not_shards(
    client: SyncPrefectClient, burst: UUID
) -> None:
    for _ in range(2):
        ensure_automations()
    found = ours(client)
    assert {name: len(entries) for name, entries in found.items()} == dict.fromkeys(AUTOMATIONS, 1)
    shard = client.read_deployment_by_name("shard/shard").id
    for (automation,) in found.values():
        concerned = str(automation.trigger.match_related)
        assert f"prefect.deployment.{burst}" in concerned
        assert str(shard) not in concerned


def test_a_flow_run_that_never_begins_is_started_a_bounded_number_of_times(
    client: SyncPrefectClient, burst: UUID
) -> None:
    """A flow run that begins counts the deaths of its processes itself: see below."""
    ensure_automations()
    (bound,) = ours(client)["Pixelmill: a parent flow run that keeps crashing has failed"]
    trigger, (action,) = bound.trigger, bound.actions
    assert (trigger.posture.value, trigger.expect) == ("Reactive", {"prefect.flow-run.Crashed"})
    assert trigger.threshold == RESTARTS.most + 1
    assert action.state.value == "FAILED"
    (again,) = ours(client)["Pixelmill: a parent flow run that crashed goes on"]
    assert "prefect.flow-run.Failed" in again.trigger.expect


def test_one_that_was_switched_off_stays_off(client: SyncPrefectClient, burst: UUID) -> None:
    ensure_automations()
    (chosen,) = ours(client)[AUTOMATIONS[0]]
    client.pause_automation(chosen.id)
    ensure_automations()
    (after,) = ours(client)[AUTOMATIONS[0]]
    assert not after.enabled
    client.resume_automation(after.id)


def test_a_flow_run_whose_processes_keep_dying_gives_up_until_a_person_retries_it(
    client: SyncPrefectClient, burst: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = client.create_flow_run_from_deployment(burst, parameters={"job_id": "nothing"}).id
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(run))

    def die(times: int) -> None:
        for _ in range(times):
            for state in (Scheduled(), Running(), Crashed()):
                client.set_flow_run_state(run, state, force=True)

    def begins() -> bool:
        begun = []
        with_ledger(lambda *_: begun.append(True))  # type: ignore[arg-type, return-value]
        return bool(begun)

    die(RESTARTS.most)
    assert begins()
    die(1)
    assert not begins()
    client.set_flow_run_state(run, Failed(), force=True)  # as it says then of itself; a person retries it
    client.set_flow_run_state(run, Running(), force=True)
    assert begins()
