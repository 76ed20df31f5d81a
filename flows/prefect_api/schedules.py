"""Scheduled flow runs that were missed: one of them makes up for all."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flows.prefect_api.deployments import TAG

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_PAGE = 200  # flow runs in one answer of the API


def skip_missed() -> int:
    """Cancel all overdue flow runs of each schedule but its newest, and return how many.

    They pile up while no worker runs, and while bursts take longer than the schedule's interval. Needs PREFECT_API_URL.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterTags,
        FlowRunFilter,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.states import Cancelled

    overdue = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))  # the server may have others
    skipped = 0
    with get_client(sync_client=True) as client:
        found: list[FlowRun] = []
        while page := client.read_flow_runs(
            flow_run_filter=overdue,
            deployment_filter=ours,
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=_PAGE,
            offset=len(found),
        ):
            found += page
            if len(page) < _PAGE:
                break
        for run, newest in superseded(found):
            message = f"Missed: the flow run of {newest:%Y-%m-%d %H:%M} UTC makes up for it."
            client.set_flow_run_state(run.id, Cancelled(name="Skipped", message=message))
            skipped += 1
    return skipped


def superseded(overdue: "list[FlowRun]") -> "Iterator[tuple[FlowRun, datetime]]":
    """Yield each scheduled flow run that a later one of the same schedule follows, and the time of the newest.

    `overdue` is sorted by time, the newest first. Runs that a person asked for, or that are tried again, are no
    schedule's.
    """
    newest: dict[tuple[object, str], datetime] = {}
    for run in overdue:
        if not run.auto_scheduled or run.expected_start_time is None or run.run_count:
            continue
        if run.state is None or run.state.name not in ("Scheduled", "Late"):  # it may wait to go on
            continue
        schedule = (run.deployment_id, str(run.created_by.id) if run.created_by is not None else str(run.parameters))
        if schedule in newest:
            yield run, newest[schedule]
        else:
            newest[schedule] = run.expected_start_time
