"""What Prefect knows after `ensure_pool_and_deployments`, once or twice."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.schedules import CronSchedule
from pydantic import SecretStr

from configs.job.deployment import Deployment, Schedule
from configs.settings.settings import Settings
from docs.tables import PREFECT_YAML, prefect_yaml
from flows.prefect_api.deployments import SHARD, all_deployments, ensure_pool_and_deployments, entrypoint_of

pytestmark = pytest.mark.e2e


def test_pool_queues_and_deployment_are_there_once(prefect_api: str) -> None:
    pool = f"pool-{uuid4().hex[:8]}"
    wanted = Deployment(name=pool, flow="tests.support.probe_flows.note_pid", pool="gpu", queue="bulk")
    changes = [ensure_pool_and_deployments(Settings(work_pool=pool), [wanted])[0].change for _ in range(2)]
    assert changes == ["created", "unchanged"]
    with get_client(sync_client=True) as client:
        work_pool = client.read_work_pool(pool)
        deployment = client.read_deployment_by_name(f"note-pid/{pool}")
        priorities = {
            name: client.read_work_queue_by_name(name, work_pool_name=pool).priority for name in ("interactive", "bulk")
        }
    assert (work_pool.type, work_pool.concurrency_limit) == ("pixelmill", None)
    assert priorities == {"interactive": 1, "bulk": 2}
    assert deployment.entrypoint == "tests.support.probe_flows.note_pid"
    assert not deployment.path
    assert not deployment.pull_steps
    assert (deployment.work_pool_name, deployment.work_queue_name) == (pool, "bulk")
    assert "path" in (deployment.parameter_openapi_schema or {})["properties"]


def test_a_pool_of_another_type_is_refused(prefect_api: str) -> None:
    pool = f"pool-{uuid4().hex[:8]}"
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    with pytest.raises(ValueError, match="type 'process'"):
        ensure_pool_and_deployments(Settings(work_pool=pool), [])


def test_schedules_are_people_s_once_the_deployment_is_there(prefect_api: str) -> None:
    pool = f"pool-{uuid4().hex[:8]}"
    nightly = Schedule(cron="0 2 * * *", active=False)
    flow = "tests.support.probe_flows.note_pid"
    first = Deployment(name=pool, flow=flow, pool="gpu", queue="bulk", schedules=(nightly,))
    ensure_pool_and_deployments(Settings(work_pool=pool), [first])
    with get_client(sync_client=True) as client:
        (schedule,) = client.read_deployment_by_name(f"note-pid/{pool}").schedules
        assert isinstance(schedule.schedule, CronSchedule)
        assert (schedule.schedule.cron, schedule.active) == ("0 2 * * *", False)
        deployment = client.read_deployment_by_name(f"note-pid/{pool}")
        client.update_deployment_schedule(deployment.id, schedule.id, active=True)
        (done,) = ensure_pool_and_deployments(
            Settings(work_pool=pool), [first.model_copy(update={"description": "Another."})]
        )
        assert done.change == "updated"
        (kept,) = client.read_deployment_by_name(f"note-pid/{pool}").schedules
    assert kept.active


def test_forms_have_words_bounds_and_order(prefect_api: str) -> None:
    wanted = [each for each in all_deployments(Settings()) if each.name == "game-icon"]
    ensure_pool_and_deployments(Settings(), wanted)
    with get_client(sync_client=True) as client:
        schema: Any = client.read_deployment_by_name("images/game-icon").parameter_openapi_schema
    fields = schema["properties"]
    assert fields["prompts"]["title"] == "Prompts"
    assert fields["seeds_per_item"]["maximum"] == 1000
    assert "icon on white" in fields["style"]["enum"]
    assert [name for name, _ in sorted(fields.items(), key=lambda field: field[1]["position"])] == list(fields)
    assert not any("anyOf" in field or "$ref" in field for field in fields.values())


def test_deploying_renews_entry_points_that_moved(prefect_api: str, tmp_path: Path) -> None:
    """A run that an earlier version's deployment has scheduled starts after `pixelmill deploy`."""
    former = {"images/game-icon": "flows.make_images.game_icon", "burst/burst": "flows.burst.burst"}
    wanted = [each for each in all_deployments(Settings()) if each.name in ("game-icon", "burst")]
    ensure_pool_and_deployments(Settings(), wanted)
    with get_client(sync_client=True) as client:
        old = {name: client.read_deployment_by_name(name) for name in former}
        for name, entry_point in former.items():
            client.create_deployment(old[name].flow_id, old[name].name, entrypoint=entry_point, work_pool_name="bursts")
        answers = {"prompts": "a key", "dry_run": True}
        run = client.create_flow_run_from_deployment(old["images/game-icon"].id, parameters=answers)
        done = ensure_pool_and_deployments(Settings(), wanted)
        assert {each.name: each.change for each in done} == dict.fromkeys(former, "updated")
        for name, before in old.items():
            now = client.read_deployment_by_name(name)
            assert (now.id, now.entrypoint) == (before.id, before.entrypoint)
        command = [sys.executable, "-m", "prefect", "flow-run", "execute", str(run.id)]
        environment = {**os.environ, "PIXELMILL_HOME": str(tmp_path), "PREFECT_API_URL": prefect_api}
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
        state = client.read_flow_run(run.id).state
    assert state is not None
    assert (state.name, state.message) == ("Completed", "Dry run: 1 images, 1 of them to be made. Nothing was.")


def deployed(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What Prefect keeps of deployments, without what says only how they were deployed."""
    left_out = {
        "updated",
        "last_polled",
        "version_id",
        "version_info",
        "parameter_openapi_schema",
        "labels",
        "schedules",
    }
    with get_client(sync_client=True) as client:
        found = {name: client.read_deployment_by_name(name) for name in names}
    return {
        name: each.model_dump(exclude=left_out)
        | {"form": {**(each.parameter_openapi_schema or {}), "additionalProperties": None}}
        for name, each in found.items()
    }


def test_prefects_own_command_deploys_the_same_but_for_the_refusal_of_other_parameters(
    prefect_api: str, tmp_path: Path
) -> None:
    assert PREFECT_YAML.read_text(encoding="utf-8") == prefect_yaml(Settings())
    names = [each.name for each in ensure_pool_and_deployments(Settings(), all_deployments(Settings()))]
    ours = deployed(names)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_YAML)]
    done = subprocess.run(command, cwd=PREFECT_YAML.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert deployed(names) == ours


def test_our_own_flows_load_no_torch() -> None:
    modules = {entrypoint_of(each).rpartition(".")[0] for each in all_deployments(Settings())}
    assert entrypoint_of(SHARD).rpartition(".")[0] in modules
    check = f"import sys, {', '.join(sorted(modules))}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_prefect_takes_the_example_of_an_automation(prefect_api: str, tmp_path: Path) -> None:
    block = Webhook(url=SecretStr("https://chat.example/hook"))
    identifier = block.save(f"chat-{uuid4().hex[:8]}")
    example = PREFECT_YAML.parent / "docs" / "examples" / "notify-when-a-burst-fails.yaml"
    automation = tmp_path / "automation.yaml"
    automation.write_text(example.read_text(encoding="utf-8").replace("WEBHOOK_BLOCK_ID", str(identifier)))
    command = [sys.executable, "-m", "prefect", "automation", "create", "--from-file", str(automation)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with get_client(sync_client=True) as client:
        (found,) = client.read_automations_by_name("notify-when-a-burst-fails")
    assert found.enabled
