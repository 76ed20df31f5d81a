"""The Prefect worker `pixelmill`: a light parent that hands flow runs, one at a time, to its child.

Prefect finds it as a collection: `prefect worker start --pool gpu --type pixelmill`, or `pixelmill worker start`.
The parent never imports torch. An end of the child (a crash, the out-of-memory killer, a cancelled flow run) ends only
the current flow run; a new child is started at once.
"""

import asyncio
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio
import anyio.abc
import httpx
from prefect.client.schemas import filters
from prefect.client.schemas.objects import StateType
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound, ObjectNotFound
from prefect.settings import get_current_settings
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from configs.catalogues.catalogue import BUILT_IN, Catalogue
from configs.documents.problems import InvalidInput, Problem
from configs.settings.settings import Settings, load_settings, variable_of
from gpu_worker.monitor.logs import shared_fields, use_logs
from gpu_worker.process.child_process import ChildEnded, ChildKeeper, WorkerChild
from gpu_worker.process.preloading import keep_warm_problems
from gpu_worker.process.worker_metrics import WorkerMetrics

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import WorkerFlowRunResponse


WORKER_TYPE = "pixelmill"
CANCEL_POLL_SECONDS = 2.0  # one small request; with STOP_SECONDS a cancelled run is over within 10 s
CHOICE = 16  # longest-waiting flow runs to pick from: enough for many workers, and still about first come, first served
END_SECONDS = 5.0  # for the last requests to the API when the worker ends
FULL_POLL_SECONDS = 15.0  # the API calls a queue that no worker polls for a minute "not ready"
POLL_PATIENCE_SECONDS = 300.0  # between turns of the polling loop; an API that is away delays one by a minute
STOPPED_MESSAGE = "The worker was stopped while it ran this flow run."


class PixelmillJobConfiguration(BaseJobConfiguration):
    """The options of a flow run: environment variables. There is no infrastructure to name or label."""


class PixelmillWorkerResult(BaseWorkerResult):
    """Always a success for Prefect, which would otherwise report a crash of its own, in vaguer words."""


class PixelmillWorker(BaseWorker[PixelmillJobConfiguration, BaseVariables, PixelmillWorkerResult]):
    """One device, one child process, one flow run at a time."""

    type = WORKER_TYPE
    job_configuration = PixelmillJobConfiguration

    _display_name = "Pixelmill"
    _description = (
        "Run Pixelmill's shards one after another in one process per device that keeps its models loaded. "
        "Start one worker for each device."
    )

    def __init__(
        self,
        work_pool_name: str,
        work_queues: list[str] | None = None,
        name: str | None = None,
        prefetch_seconds: float | None = None,
        create_pool_if_not_found: bool = True,
        limit: int | None = None,
        heartbeat_interval_seconds: int | None = None,
        *,
        base_job_template: dict[str, Any] | None = None,
        settings: Settings | None = None,
        needs_metrics: bool = True,
    ) -> None:
        """Take the arguments of Prefect's workers, but only 1 as `limit`. `settings` default to the environment's.

        With `needs_metrics`, refuse to start if the port of the metrics is taken. Raises InvalidInput for settings
        with mistakes.
        """
        if limit not in (None, 1):
            raise ValueError("A pixelmill worker runs one flow run at a time: start one worker for each device.")
        super().__init__(
            work_pool_name,
            work_queues,
            name,
            prefetch_seconds,
            create_pool_if_not_found,
            1,
            heartbeat_interval_seconds,
            base_job_template=base_job_template,
        )
        self._settings = settings or load_settings()
        check_worker_settings(self._settings)
        self._needs_metrics = needs_metrics
        self._keeper: ChildKeeper | None = None
        self._metrics = WorkerMetrics(self._settings, worker=self.name, pool=work_pool_name)
        self._tasks: list[asyncio.Task[None]] = []
        self._polled_at = time.monotonic()
        self._full_poll_at = -FULL_POLL_SECONDS
        self._run_once = False
        self.is_stopping = False  # whether the orderly end has begun
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    def get_default_base_job_template(cls) -> dict[str, Any]:
        """Return the template of a work pool of this type."""
        return {
            "job_configuration": {"env": "{{ env }}"},
            "variables": {
                "type": "object",
                "properties": {
                    "env": {
                        "title": "Environment Variables",
                        "description": "Environment variables of the flow run. A run that needs others than the run "
                        "before restarts the worker's process, which has to load its models again.",
                        "type": "object",
                        "additionalProperties": {"type": "string"},
                        "default": {},
                    }
                },
            },
        }

    # -- life --------------------------------------------------------------------------------------------------------
    async def setup(self) -> None:
        """Set up as Prefect does, and start the child and the page of metrics.

        Raises InvalidInput if the page's port is taken.
        """
        use_logs(self._settings)
        try:
            self._metrics.serve()
        except InvalidInput as taken:
            if self._needs_metrics:
                raise
            self._logger.warning("%s; continuing without them", taken)
        await super().setup()
        self._exit_stack.enter_context(shared_fields(worker=self.name))
        self.is_stopping = False
        self._keeper = ChildKeeper(_child_environment(self._settings, {}), self._logger, self._metrics)
        keeping = asyncio.create_task(self._keeper.keep())
        keeping.add_done_callback(self._end_without_keeper)
        self._tasks = [keeping]
        if self._metrics.is_wanted:
            self._tasks.append(asyncio.create_task(self._metrics.watch_queue(self.client)))

    def _end_without_keeper(self, keeping: "asyncio.Task[None]") -> None:
        """End the worker if its keeper failed: it would silently wait for a child for ever."""
        if not keeping.cancelled() and (error := keeping.exception()) is not None:
            self._logger.critical("The supervisor of the child failed; shutting the worker down.", exc_info=error)
            signal.raise_signal(signal.SIGTERM)

    async def teardown(self, *exc_info: Any) -> None:
        """Stop the child; a current flow run is reported as crashed."""
        self.is_stopping = True
        with anyio.CancelScope(shield=True):
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            with anyio.move_on_after(END_SECONDS):
                await self._idle.wait()
            with anyio.move_on_after(END_SECONDS):
                await self._sign_off()
            await asyncio.to_thread(self._metrics.close)
        await super().teardown(*exc_info)

    async def _sign_off(self) -> None:
        # Otherwise the API lists the worker as online for another 90 s, and callers wait for it in vain.
        if self._client is not None:
            with suppress(httpx.HTTPError):
                await self.client.request(
                    "DELETE",
                    "/work_pools/{work_pool_name}/workers/{name}",
                    path_params={"work_pool_name": self._work_pool_name, "name": self.name},
                )

    async def start(
        self,
        run_once: bool = False,
        with_healthcheck: bool = False,
        printer: Callable[..., None] = print,
    ) -> None:
        """Start as Prefect does."""
        self._run_once = run_once
        await super().start(run_once, with_healthcheck, printer)

    async def get_and_submit_flow_runs(self) -> list["FlowRun"]:
        """Get and submit flow runs as Prefect does, but only once the child is ready.

        Until then another worker may be faster, and a child that cannot start must not crash flow runs.
        """
        await self._ready_keeper().ready()
        self._polled_at = time.monotonic()
        if self.limiter.available_tokens < 1:
            return []  # busy: other workers, or the poll after this flow run, take the waiting ones
        return await super().get_and_submit_flow_runs()

    def is_worker_still_polling(self, query_interval_seconds: float) -> bool:  # noqa: ARG002
        """Return whether the child is alive and, once it is ready, the loop turns. Called by the health check's thread.

        Prefect's own check goes by the last request to the API, and fails during a long flow run.
        """
        if self._keeper is not None and self._keeper.child is not None:
            if self._keeper.is_starting:
                return True
            if not self._keeper.child.is_running:
                return False
        return time.monotonic() - self._polled_at < POLL_PATIENCE_SECONDS

    async def _get_scheduled_flow_runs(self) -> list["WorkerFlowRunResponse"]:
        # For each poll the API also records that the pool's queues and deployments are served, which costs it four
        # times as much as counting what waits; and an idle worker polls twice a second.
        is_due = time.monotonic() - self._full_poll_at >= FULL_POLL_SECONDS
        if not is_due and not await self._count_waiting():
            return []
        self._full_poll_at = time.monotonic()
        # All idle workers see the same list. If each took its head, one would win and the others would have to try
        # again; so each shuffles the first of the most urgent queue.
        waiting = await super()._get_scheduled_flow_runs()
        urgent = [entry for entry in waiting[:CHOICE] if entry.work_queue_id == waiting[0].work_queue_id]
        random.shuffle(urgent)
        return urgent + waiting[len(urgent) :]

    async def _count_waiting(self) -> int:
        """Return how many flow runs of the pool a poll would find, with any whose queue is paused or full."""
        soon = datetime.now(UTC) + timedelta(seconds=int(self._prefetch_seconds))
        scheduled = filters.FlowRunFilter(
            state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            next_scheduled_start_time=filters.FlowRunFilterNextScheduledStartTime(before_=soon),
        )
        pool = filters.WorkPoolFilter(name=filters.WorkPoolFilterName(any_=[self._work_pool_name]))
        return await self.client.count_flow_runs(flow_run_filter=scheduled, work_pool_filter=pool)

    def _release_limit_slot(self, flow_run_id: UUID) -> None:
        super()._release_limit_slot(flow_run_id)
        if self.is_setup and not self._run_once and not self.is_stopping and self._runs_task_group is not None:
            self._runs_task_group.start_soon(self._poll_at_once)

    async def _poll_at_once(self) -> None:
        # Otherwise the free device would wait for the next turn of the polling loop.
        try:
            await self.get_and_submit_flow_runs()
        except httpx.HTTPError as error:
            self._logger.debug("The poll after a flow run failed; waiting for the next one: %s", error)

    def _ready_keeper(self) -> ChildKeeper:
        if self._keeper is None:
            raise RuntimeError("The worker is not set up.")
        return self._keeper

    # -- flow runs ---------------------------------------------------------------------------------------------------
    async def run(
        self,
        flow_run: "FlowRun",
        configuration: PixelmillJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> PixelmillWorkerResult:
        """Have the child run the flow run; report a crash that the child cannot report itself."""
        self._idle.clear()
        try:
            child = await self._ready_keeper().ready_child(_child_environment(self._settings, configuration.env))
            identifier = f"{socket.gethostname()}:{child.pid}"
            if task_status is not None:
                task_status.started(identifier)
            given = ((name, value) for name, value in configuration.env.items() if value is not None)
            about_run = {name: value for name, value in given if name.startswith("PREFECT__")}  # differ from run to run
            await self._supervise(child, flow_run, about_run)
            return PixelmillWorkerResult(status_code=0, identifier=identifier)
        finally:
            self._idle.set()

    async def _supervise(self, child: WorkerChild, flow_run: "FlowRun", environment: Mapping[str, str]) -> None:
        stopping = anyio.Event()
        result = None
        self._metrics.run_began()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._stop_if_cancelled, flow_run.id, child, stopping)
                try:
                    problem, result = await child.run(str(flow_run.id), environment)
                except ChildEnded as end:
                    problem = STOPPED_MESSAGE if self.is_stopping else str(end)
                if not stopping.is_set():
                    group.cancel_scope.cancel()
        finally:
            self._metrics.run_ended(result or ("cancelled" if stopping.is_set() else "crashed"))
        if problem and not stopping.is_set():
            # If the flow run has reached a final state, that stays: the API refuses this one.
            await self._propose_crashed_state(flow_run, problem)

    async def _stop_if_cancelled(self, flow_run_id: UUID, child: WorkerChild, stopping: anyio.Event) -> None:
        """Stop the child when the flow run is cancelled or deleted, and report it as cancelled.

        Polls instead of using Prefect's websocket of events, which loses cancellations while it reconnects.
        """
        while True:
            await anyio.sleep(CANCEL_POLL_SECONDS)
            try:
                flow_run = await self.client.read_flow_run(flow_run_id)
            except ObjectNotFound:
                stopping.set()
                await child.stop()
                return
            except httpx.HTTPError:
                continue  # a restarting server cancels nothing
            if flow_run.state is None or not (flow_run.state.is_cancelling() or flow_run.state.is_cancelled()):
                continue
            stopping.set()
            await child.stop()
            await self._mark_flow_run_as_cancelled(flow_run, {"message": "Cancelled: the worker stopped it."})
            self.get_flow_run_logger(flow_run).info("Cancelled flow run '%s'", flow_run.name)
            return

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: PixelmillJobConfiguration,  # noqa: ARG002
        grace_seconds: int = 30,
    ) -> None:
        """Stop the child that `infrastructure_pid` names, if it is this worker's."""
        host, _, pid = infrastructure_pid.rpartition(":")
        if host != socket.gethostname():
            raise InfrastructureNotAvailable(f"The flow run's process is on {host!r}, not on this worker's machine.")
        child = self._ready_keeper().child
        if child is None or str(child.pid) != pid:
            raise InfrastructureNotFound(f"Process {pid} is not, or no longer, a child of this worker.")
        await child.stop(min(grace_seconds, 5))


def _child_environment(settings: Settings, wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Return the environment of a child for flow runs with the variables `wanted`; the same for all such runs."""
    environment = {
        **os.environ,
        **get_current_settings().to_environment_variables(exclude_unset=True),
        **settings.as_environment(),
        **{name: value for name, value in wanted.items() if value is not None},
    }
    environment.setdefault("DO_NOT_TRACK", "1")
    return {name: value for name, value in environment.items() if not name.startswith("PREFECT__")}


def check_worker_settings(settings: Settings) -> None:
    """Raise InvalidInput with every mistake that would fail all jobs. Needs no database, which may start later."""
    if problems := list(_problems(settings)):
        raise InvalidInput(problems)


def _problems(settings: Settings) -> Iterator[Problem]:
    if settings.ledger_url is not None:
        from storage.ledger.database import LedgerError, accepted_url  # half a second for what else is the child's

        try:
            accepted_url(settings.resolved_ledger_url)
        except LedgerError as error:
            variable = variable_of("ledger_url")
            yield Problem(variable, str(error).removeprefix(f"{variable} "))
    catalogue = Catalogue()  # not the process's own, which would keep the mistakes
    for path in (BUILT_IN, *settings.catalogue_path):
        try:
            catalogue.add(path)
        except InvalidInput as wrong:
            yield from wrong.problems
    try:
        yield from keep_warm_problems(settings)
    except InvalidInput as wrong:
        yield from wrong.problems
