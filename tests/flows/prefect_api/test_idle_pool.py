"""Why nothing starts, asked of a real Prefect server."""

import uuid
from contextlib import closing
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate

from configs.settings.settings import Settings
from flows.prefect_api.deployments import ensure_pool_and_deployments
from flows.prefect_api.shard_runs import SHARD_DEPLOYMENT, ShardRefused, submit_shard
from flows.prefect_api.workers import why_idle
from tests.support.ledger_samples import start
from tests.support.new_ledger import new_ledger

pytestmark = pytest.mark.e2e


@pytest.fixture
def pool(client: SyncPrefectClient) -> str:
    name = f"gpu-{uuid.uuid4().hex}"
    ensure_pool_and_deployments(Settings(work_pool=name), [])
    return name


def test_a_pool_without_workers(client: SyncPrefectClient, pool: str) -> None:
    assert "no worker is online" in str(why_idle(pool, "bulk", client))


def test_a_pool_that_is_paused(client: SyncPrefectClient, pool: str) -> None:
    client.update_work_pool(pool, WorkPoolUpdate(is_paused=True))
    assert why_idle(pool, "bulk", client) == f"work pool {pool!r} is paused: resume it in the Prefect UI (Work Pools)"


def test_a_queue_that_is_paused(client: SyncPrefectClient, pool: str) -> None:
    queue = client.read_work_queue_by_name("bulk", work_pool_name=pool)
    client.update_work_queue(queue.id, is_paused=True)
    assert str(why_idle(pool, "bulk", client)).startswith(f"queue 'bulk' of work pool {pool!r} is paused")
    assert "no worker" in str(why_idle(pool, "interactive", client))


def test_a_pool_that_lets_nothing_run(client: SyncPrefectClient, pool: str) -> None:
    client.update_work_pool(pool, WorkPoolUpdate(concurrency_limit=0))
    assert "limit of 0" in str(why_idle(pool, "bulk", client))


def test_a_pool_that_is_gone(client: SyncPrefectClient, pool: str) -> None:
    client.delete_work_pool(pool)
    assert "pixelmill deploy" in str(why_idle(pool, "bulk", client))


def test_shards_are_refused_in_words_once_their_pool_was_deleted(
    client: SyncPrefectClient, pool: str, tmp_path: Path
) -> None:
    with closing(new_ledger(tmp_path / "ledger.db")) as ledger:
        job = start(ledger)
    ensure_pool_and_deployments(Settings(work_pool=pool))
    client.delete_work_pool(pool)
    with pytest.raises(
        ShardRefused, match=r"(?s)work pool or a deployment may have been deleted.*`pixelmill deploy`"
    ) as refused:
        submit_shard(job, 0, 1, "bulk")
    assert "{" not in str(refused.value)
    client.delete_deployment(client.read_deployment_by_name(SHARD_DEPLOYMENT).id)
    with pytest.raises(ShardRefused, match="not found"):
        submit_shard(job, 0, 1, "bulk")
