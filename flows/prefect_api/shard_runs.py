"""Shards and bursts as flow runs of Prefect: submitted, read and cancelled."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterName,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelled, Cancelling

from configs.failures import PixelmillError
from configs.settings.settings import Settings
from flows.prefect_api.deployments import Queue
from storage.ledger.records import JobRecord

SHARD_DEPLOYMENT = "shard/shard"
_PAGE = 200  # flow runs in one answer of the API
_CLOCK_SLACK = timedelta(seconds=30)  # between the clocks of machines
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)  # a start time that is due for any clock

# Errors of requests to a server that restarts.
OUTAGE = (httpx.TransportError, PrefectHTTPStatusError)


def is_outage(error: BaseException) -> bool:
    """Return whether the same request may succeed later."""
    if isinstance(error, PrefectHTTPStatusError):
        return error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)


class ShardRefused(PixelmillError):
    """Prefect does not accept shards; the message names the remedy."""


def submit_shard(job: JobRecord, shard: int, attempt: int, queue: Queue, *, at: datetime | None = None) -> UUID:
    """Submit a shard to the work pool, to start now or `at` a time; the same attempt twice is one flow run.

    Raises ShardRefused for a permanent refusal, and the errors of OUTAGE.
    """
    try:
        run: Any = run_deployment(
            SHARD_DEPLOYMENT,
            parameters={"job_id": job.id, "shard": shard, "run": job.run},
            timeout=0,
            scheduled_time=at,
            idempotency_key=f"{job.id}:{job.revision}:{job.run}:{shard}:{attempt}",
            flow_run_name=f"{job.name} shard {shard}" + (f" (attempt {attempt})" if attempt > 1 else ""),
            tags=tags_of(job),
            work_queue_name=queue,
        )
    except (ObjectNotFound, PrefectHTTPStatusError) as error:
        if is_outage(error):
            raise
        raise ShardRefused(
            f"Prefect accepts no shards; a work pool or a deployment may have been deleted: {_detail(error)}. "
            "`pixelmill deploy`, or a restart of `pixelmill up`, creates them again"
        ) from error
    identifier: UUID = run.id
    return identifier


def _detail(error: Exception) -> str:
    """Return the API's reason for a refusal."""
    response = getattr(getattr(error, "http_exc", error), "response", None)
    try:
        return str(response.json()["detail"]).rstrip(".") if response is not None else str(error)
    except (ValueError, LookupError, TypeError):
        return str(error)


def tags_of(job: JobRecord) -> list[str]:
    """Return the tags of all flow runs of the job, bursts and shards."""
    return [f"job:{job.id}", f"recipe:{job.recipe.name}"]


def read_runs(client: SyncPrefectClient, ids: Iterable[UUID]) -> dict[UUID, FlowRun]:
    """Return those of the flow runs that still exist."""
    wanted = list(ids)
    found: dict[UUID, FlowRun] = {}
    for start in range(0, len(wanted), _PAGE):
        some = FlowRunFilter(id=FlowRunFilterId(any_=wanted[start : start + _PAGE]))
        found |= {run.id: run for run in client.read_flow_runs(flow_run_filter=some, limit=_PAGE)}
    return found


def cancel_runs(client: SyncPrefectClient, ids: Iterable[UUID], message: str) -> None:
    """Cancel flow runs; workers then stop their children."""
    for identifier in ids:
        client.set_flow_run_state(identifier, Cancelling(message=message))


def end_replaced(client: SyncPrefectClient, job: JobRecord, name: str, successor: UUID) -> None:
    """Cancel the job's flow runs of this name whose processes are gone, with a message that names their successor.

    Prefect would show them as running for minutes, until their heartbeats are missed.
    """
    replaced = FlowRunFilter(
        name=FlowRunFilterName(any_=[name]),
        tags=FlowRunFilterTags(all_=tags_of(job)),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])),
    )
    message = f"Its process is gone. The job goes on in flow run {successor}."
    for run in client.read_flow_runs(flow_run_filter=replaced):
        if run.id != successor:
            client.set_flow_run_state(run.id, Cancelled(message=message), force=True)


def is_cancelled(client: SyncPrefectClient, identifier: UUID) -> bool:
    """Return whether the flow run was cancelled; False if the API does not answer."""
    try:
        state = client.read_flow_run(identifier).state
    except OUTAGE:
        return False
    return state is not None and (state.is_cancelling() or state.is_cancelled())


def queue_of(items: int, settings: Settings) -> Queue:
    """Return the queue for this number of items: shards of small jobs come first on every free worker."""
    return "interactive" if items <= settings.interactive_items else "bulk"


def waits_for_the_clock(run: FlowRun) -> bool:
    """Return whether the run's start has moved into the future because the clock was set back."""
    start = run.expected_start_time
    waiting = run.state is not None and run.state.type in (StateType.SCHEDULED, StateType.PENDING)
    return waiting and start is not None and start > datetime.now(UTC) + _CLOCK_SLACK


def has_ended(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()
