"""How many flow runs of a work pool wait for a worker: asked of Prefect now and then, not when metrics are read."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

logger = logging.getLogger(__name__)

EVERY_SECONDS = 10.0  # a count costs the server some 7 ms
ANSWER_SECONDS = 5.0


async def watch_pool_queue(client: "PrefectClient", pool: str, tell: Callable[[int], None]) -> None:
    """Tells the number every ten seconds until cancelled; where the API does not answer, nothing."""
    while True:
        try:
            tell(await asyncio.wait_for(count_waiting(client, pool), ANSWER_SECONDS))
        except (httpx.HTTPError, TimeoutError) as error:
            logger.debug("the work pool's queue could not be counted: %s", type(error).__name__)
        await asyncio.sleep(EVERY_SECONDS)


async def count_waiting(client: "PrefectClient", pool: str) -> int:
    """Flow runs of the pool that are due and that no worker has taken. Raises httpx.HTTPError."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import StateType

    return await client.count_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
        ),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
    )
