"""What Prefect knows after `ensure_pool_and_deployments`, once or twice."""

import subprocess
import sys
from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate

from configs.settings import Settings
from flows.deployments import Entry, default_entries, ensure_pool_and_deployments

pytestmark = pytest.mark.e2e


def test_pool_queues_and_deployment_are_there_once(prefect_api: str) -> None:
    pool = f"pool-{uuid4().hex[:8]}"
    entries = [Entry("tests.gpu_worker.probe_flows:note_pid", pool, pool, "bulk")]
    for _ in range(2):
        ensure_pool_and_deployments(Settings(work_pool=pool), entries)
    with get_client(sync_client=True) as client:
        work_pool = client.read_work_pool(pool)
        deployment = client.read_deployment_by_name(f"note-pid/{pool}")
        priorities = {
            name: client.read_work_queue_by_name(name, work_pool_name=pool).priority for name in ("interactive", "bulk")
        }
    assert (work_pool.type, work_pool.concurrency_limit) == ("pixelmill", None)
    assert priorities == {"interactive": 1, "bulk": 2}
    assert deployment.entrypoint == "tests.gpu_worker.probe_flows.note_pid"
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


def test_our_own_flows_load_no_torch() -> None:
    modules = {entry.flow.partition(":")[0] for entry in default_entries(Settings())}
    check = f"import sys, {', '.join(sorted(modules))}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
