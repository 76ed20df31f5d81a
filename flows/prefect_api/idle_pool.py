"""Why nobody takes what waits in a work pool: what a person can set in Prefect, and forget."""

from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

from flows.prefect_api.workers_online import workers_online


def why_idle(pool: str, queue: str, client: SyncPrefectClient) -> str | None:
    """What to change so that the queue's flow runs start; None if they only wait for their turn."""
    try:
        found = client.read_work_pool(pool)
        line = client.read_work_queue_by_name(queue, work_pool_name=pool)
    except ObjectNotFound:
        return f"work pool {pool!r} or its queue {queue!r} is gone: `pixelmill deploy` creates them"
    for what, paused, limit in (
        (f"work pool {pool!r}", found.is_paused, found.concurrency_limit),
        (f"queue {queue!r} of work pool {pool!r}", line.is_paused, line.concurrency_limit),
    ):
        if paused:
            return f"{what} is paused: resume it in the Prefect UI (Work Pools)"
        if limit == 0:
            return f"{what} has a concurrency limit of 0: raise or remove it in the Prefect UI (Work Pools)"
    if not workers_online(pool):
        return f"no worker is online in work pool {pool!r}: start one with `pixelmill worker start`"
    return None
