"""Schedules that could start nothing for a while: one flow run makes up for all that were missed."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from configs.job.deployment import Deployment, Schedule
from configs.settings.settings import Settings
from flows.prefect_api.deployments import ensure_pool_and_deployments
from flows.prefect_api.schedules import skip_missed

pytestmark = pytest.mark.e2e


def test_of_the_missed_runs_of_a_schedule_the_newest_alone_is_left(client: SyncPrefectClient) -> None:
    name = f"verify-{uuid4().hex[:8]}"
    each_minute = (
        Schedule(cron="* * * * *", parameters={"job": "one"}),
        Schedule(cron="* * * * *", parameters={"job": "two"}),
    )
    ensure_pool_and_deployments(
        Settings(), [Deployment(name=name, flow="flows.forms.upkeep.verify", schedules=each_minute)]
    )
    deployment = client.read_deployment_by_name(f"verify/{name}").id
    now = datetime.now(UTC)
    past_and_future = {"start_time": (now - timedelta(minutes=5)).isoformat(), "min_runs": 10, "max_runs": 10}
    client._client.post(f"/deployments/{deployment}/schedule", json=past_and_future).raise_for_status()
    asked = client.create_flow_run_from_deployment(deployment, parameters={"job": "one"}).id

    def runs(job: str) -> list[FlowRun]:
        found = [run for run in client.read_flow_runs(limit=200) if run.deployment_id == deployment]
        mine = [run for run in found if run.parameters["job"] == job and run.id != asked]
        return sorted(mine, key=lambda run: run.expected_start_time or now)

    assert skip_missed() >= 8
    for job in ("one", "two"):
        overdue = [run for run in runs(job) if run.expected_start_time and run.expected_start_time < now]
        ahead = [run for run in runs(job) if run.expected_start_time and run.expected_start_time > now]
        assert len(overdue) >= 5 and len(ahead) >= 3
        assert [run.state_name for run in overdue] == ["Skipped"] * (len(overdue) - 1) + ["Scheduled"]
        assert {run.state_name for run in ahead} == {"Scheduled"}
    assert client.read_flow_run(asked).state_name == "Scheduled"
    assert skip_missed() == 0
