"""Which workers of a work pool are alive."""

from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import Worker

DEFAULT_INTERVAL = 30  # seconds between the heartbeats of a worker that doesn't say
PATIENCE = 2.5  # heartbeats; the server itself calls a killed worker online for longer


def workers_online(pool: str) -> int:
    """How many workers of the pool have sent a heartbeat lately."""
    with get_client(sync_client=True) as client:
        return sum(_alive(worker) for worker in client.read_workers_for_work_pool(pool))


def _alive(worker: Worker) -> bool:
    if worker.last_heartbeat_time is None:
        return False
    silence = datetime.now(UTC) - worker.last_heartbeat_time
    return silence < timedelta(seconds=PATIENCE * (worker.heartbeat_interval_seconds or DEFAULT_INTERVAL))
