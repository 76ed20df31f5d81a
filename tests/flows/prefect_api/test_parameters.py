"""Parameters that a form does not have: refused once, by name, wherever they come from."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import State
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import PrefectHTTPStatusError
from prefect.flow_engine import run_flow

from configs.documents.problems import InvalidInput
from configs.job.deployment import Deployment, Schedule
from configs.settings.settings import Settings
from flows.forms.upkeep import verify
from flows.prefect_api.deployments import Deployed, all_deployments, ensure_pool_and_deployments

pytestmark = pytest.mark.e2e


def deploy(*names: str) -> list[Deployed]:
    wanted = [each for each in all_deployments(Settings()) if each.name in names]
    return ensure_pool_and_deployments(Settings(), wanted)


def test_the_api_refuses_parameters_that_a_form_does_not_have(client: SyncPrefectClient) -> None:
    deploy("game-icon")
    icons = client.read_deployment_by_name("images/game-icon")
    with pytest.raises(PrefectHTTPStatusError, match="colour"):
        client.create_flow_run_from_deployment(icons.id, parameters={"prompts": "a key", "colour": "red"})


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"job": "icons", "colour": "red"}, "colour: its form has no field `colour`"),
        ({"job": "icons", "repair": "perhaps"}, "repair: must be true or false"),
        ({"repair": True}, "job: "),
    ],
)
def test_a_run_of_a_schedule_with_such_parameters_fails_once_and_says_which(
    client: SyncPrefectClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parameters: dict[str, Any],
    told: str,
) -> None:
    """The server checks nothing that a schedule starts, and restarts what has crashed."""
    deploy("verify")
    form = client.read_deployment_by_name("verify/verify")
    unchecked = {"parameters": parameters, "enforce_parameter_schema": False}
    asked = client._client.post(f"/deployments/{form.id}/create_flow_run", json=unchecked)
    run = client.read_flow_run(asked.json()["id"])
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(run.id))
    monkeypatch.setenv("PIXELMILL_HOME", str(tmp_path))
    ended: Any = run_flow(verify, flow_run=run, return_type="state")
    assert isinstance(ended, State)
    assert (ended.name, str(ended.message).startswith("Nothing was started. 1 mistake: ")) == ("Failed", True)
    assert told in str(ended.message)


def test_deploying_tells_schedules_that_can_no_longer_start_anything(client: SyncPrefectClient) -> None:
    deploy("verify")
    form = client.read_deployment_by_name("verify/verify")
    old = DeploymentScheduleCreate(
        schedule=CronSchedule(cron="0 3 * * *"), active=False, parameters={"job": "icons", "depth": 2}
    )
    (made,) = client.create_deployment_schedules(form.id, [old])
    (told,) = deploy("verify")
    client.delete_deployment_schedule(form.id, made.id)
    assert told.warnings == (
        "verify/verify: its schedule `0 3 * * *` cannot start anything: depth: its form has no field `depth`; "
        "known: job, repair",
    )
    assert deploy("verify")[0].warnings == ()


def test_parameters_in_a_deployment_file_that_its_flow_lacks_are_refused_before_anything_is_deployed(
    client: SyncPrefectClient,
) -> None:
    name = f"nightly-{uuid4().hex[:8]}"
    wrong = Deployment(
        name=name,
        flow="flows.forms.upkeep.verify",
        parameters={"depth": 2},
        schedules=(Schedule(cron="0 2 * * *", parameters={"repair": "perhaps"}),),
    )
    with pytest.raises(InvalidInput) as refused:
        ensure_pool_and_deployments(Settings(), [wrong])
    assert [problem.path for problem in refused.value.problems] == [
        "parameters.depth",
        "schedules[0].parameters.repair",
    ]
    assert name not in {each.name for each in client.read_deployments()}
