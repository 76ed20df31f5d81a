"""Shards and bursts as Prefect knows them: flow runs that are submitted, looked at and cancelled."""

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

from configs.reporting import PixelmillError
from configs.settings.settings import Settings
from flows.prefect_api.deployments import Queue
from storage.ledger.records import JobRecord

SHARD_DEPLOYMENT = "shard/shard"
_PAGE = 200  # flow runs in one answer of the API
_CLOCK_SLACK = timedelta(seconds=30)  # between the clocks of machines
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)  # as a time to start: whatever the clock does

# What a server that restarts does to its callers.
OUTAGE = (httpx.TransportError, PrefectHTTPStatusError)


def is_outage(error: BaseException) -> bool:
    """Whether the API may answer the same request later."""
    if isinstance(error, PrefectHTTPStatusError):
        return error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)


class ShardRefused(PixelmillError):
    """Prefect does not take shards; the message says what to do."""


def submit_shard(job: JobRecord, shard: int, attempt: int, queue: Queue, *, at: datetime | None = None) -> UUID:
    """Submits a shard to the work pool, to start now or `at` a time; the same attempt twice is one flow run.

    Raises ShardRefused where the API wants something else first, and OUTAGE's errors.
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
            f"Prefect takes no shards, as where somebody has deleted a work pool or a deployment: {_detail(error)}. "
            "`pixelmill deploy`, or `pixelmill up` started again, makes them anew"
        ) from error
    identifier: UUID = run.id
    return identifier


def _detail(error: Exception) -> str:
    """What the API says of a request that it refuses."""
    response = getattr(getattr(error, "http_exc", error), "response", None)
    try:
        return str(response.json()["detail"]).rstrip(".") if response is not None else str(error)
    except (ValueError, LookupError, TypeError):
        return str(error)


def tags_of(job: JobRecord) -> list[str]:
    """What the job's flow runs are found by, bursts and shards."""
    return [f"job:{job.id}", f"recipe:{job.recipe.name}"]


def read_runs(client: SyncPrefectClient, ids: Iterable[UUID]) -> dict[UUID, FlowRun]:
    """Those of the flow runs that are still known."""
    wanted = list(ids)
    found: dict[UUID, FlowRun] = {}
    for start in range(0, len(wanted), _PAGE):
        some = FlowRunFilter(id=FlowRunFilterId(any_=wanted[start : start + _PAGE]))
        found |= {run.id: run for run in client.read_flow_runs(flow_run_filter=some, limit=_PAGE)}
    return found


def cancel_runs(client: SyncPrefectClient, ids: Iterable[UUID], message: str) -> None:
    """Asks Prefect to cancel flow runs; workers then stop their children."""
    for identifier in ids:
        client.set_flow_run_state(identifier, Cancelling(message=message))


def end_replaced(client: SyncPrefectClient, job: JobRecord, name: str, successor: UUID) -> None:
    """Has the flow runs of this name that ran the job, and whose processes are gone, say that `successor` goes on.

    Prefect would call them running until their heartbeats are missed, for minutes.
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
    """Whether somebody has cancelled the flow run, as far as the API can be asked."""
    try:
        state = client.read_flow_run(identifier).state
    except OUTAGE:
        return False
    return state is not None and (state.is_cancelling() or state.is_cancelled())


def queue_of(items: int, settings: Settings) -> Queue:
    """Small jobs do not wait behind large ones: their shards come first on every worker that becomes free."""
    return "interactive" if items <= settings.interactive_items else "bulk"


def waits_for_the_clock(run: FlowRun) -> bool:
    """Whether the run was to start by now when it was submitted, and no longer is: the clock has been set back."""
    start = run.expected_start_time
    waiting = run.state is not None and run.state.type in (StateType.SCHEDULED, StateType.PENDING)
    return waiting and start is not None and start > datetime.now(UTC) + _CLOCK_SLACK


def has_ended(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()
