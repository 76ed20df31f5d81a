"""Watch the shards of a burst: submit, notice the lost ones, submit again, and say how far the job is."""

import time
from collections.abc import Callable
from logging import Logger, LoggerAdapter
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.states import Cancelling

from configs.settings import Settings
from flows.workers_online import workers_online
from storage.ledger import Ledger
from storage.records import JobRecord, JobStatus, Progress, ShardState

SHARD_DEPLOYMENT = "shard/shard"
POLL_SECONDS = 1.0
NO_WORKER_WARNING_SECONDS = 20.0

ProgressReport = Callable[[float, str], object]


class ShardWatch:
    """The open shards of one burst. Prefect says which flow runs live; the ledger alone says what is done."""

    def __init__(
        self, job: JobRecord, ledger: Ledger, settings: Settings, logger: "Logger | LoggerAdapter[Logger]"
    ) -> None:
        self._job = job
        self._ledger = ledger
        self._settings = settings
        self._logger = logger
        self._open: dict[int, UUID] = {}  # shard -> its flow run
        self._attempts: dict[int, int] = {}  # in this burst
        self._given_up: dict[int, str] = {}
        self._submitted_at = time.monotonic()
        self._warned = False

    def run_to_end(self, *, every: float, report: ProgressReport) -> tuple[JobStatus, str | None]:
        """Returns once no shard is open: the job's status and, unless all is done, why."""
        for record in self._ledger.shards(self._job.id):
            if record.items:
                self._submit(record.index)
        started = time.monotonic()
        before = self._ledger.progress(self._job.id)
        reported = 0.0
        while self._open:
            time.sleep(POLL_SECONDS)
            refusal = self._check_shards()
            if refusal is not None:
                return refusal
            if time.monotonic() - reported >= every:
                reported = time.monotonic()
                report(*self._describe(before, reported - started))
        progress = self._ledger.progress(self._job.id)
        report(*self._describe(before, time.monotonic() - started))
        return self._ending(progress)

    def cancel_open_shards(self) -> None:
        """Asks Prefect to cancel what is still open; workers then stop their children."""
        if not self._open:
            return
        with get_client(sync_client=True) as client:
            for flow_run_id in self._open.values():
                client.set_flow_run_state(flow_run_id, Cancelling(message="The burst ended."))
        self._open.clear()

    def _ending(self, progress: Progress) -> tuple[JobStatus, str | None]:
        if self._given_up:
            return JobStatus.FAILED, "; ".join(self._given_up.values())
        if progress.pending:
            return JobStatus.FAILED, f"{progress.pending} items were left undone by their shards"
        if progress.failed or progress.quarantined:
            return JobStatus.INCOMPLETE, None
        return JobStatus.DONE, None

    def _submit(self, shard: int) -> None:
        attempt = self._attempts[shard] = self._attempts.get(shard, 0) + 1
        job = self._job
        run: Any = run_deployment(
            SHARD_DEPLOYMENT,
            parameters={"job_id": job.id, "shard": shard, "run": job.run},
            timeout=0,
            idempotency_key=f"{job.id}:{job.revision}:{job.run}:{shard}:{attempt}",
            flow_run_name=f"{job.name} shard {shard}" + (f" (attempt {attempt})" if attempt > 1 else ""),
            tags=[f"job:{job.id}", f"recipe:{job.recipe.name}"],
        )
        self._open[shard] = run.id
        self._submitted_at = time.monotonic()

    def _check_shards(self) -> tuple[JobStatus, str | None] | None:
        """Closes and resubmits shards. Returns how the job ends if it must end now."""
        if self._ledger.job(self._job.id).status is JobStatus.CANCELLED:
            return JobStatus.CANCELLED, "cancelled"
        records = {record.index: record for record in self._ledger.shards(self._job.id)}
        runs = self._flow_runs()
        for shard, flow_run_id in list(self._open.items()):
            record, run = records[shard], runs.get(flow_run_id)
            mine = record.flow_run_id == str(flow_run_id)
            if mine and record.state is ShardState.FAILED:
                return JobStatus.FAILED, record.error
            if run is not None and not _ended(run):
                silent = mine and (time.time() - record.updated_at.timestamp()) > self._settings.shard_timeout
                if not silent:
                    continue
                self._cancel(flow_run_id)
            del self._open[shard]
            if record.items:
                self._try_again(shard, run)
        self._warn_without_worker(runs)
        return None

    def _try_again(self, shard: int, run: FlowRun | None) -> None:
        reason = (run.state.message or run.state.name) if run is not None and run.state else "its flow run is gone"
        if self._attempts[shard] < self._settings.shard_attempts:
            self._logger.warning("shard %d ended before its items did (%s): trying again", shard, reason)
            self._submit(shard)
        else:
            self._given_up[shard] = f"shard {shard} was tried {self._attempts[shard]} times: {reason}"

    def _cancel(self, flow_run_id: UUID) -> None:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run_id, Cancelling(message="No sign of life from its worker."))

    def _flow_runs(self) -> dict[UUID, FlowRun]:
        ids = list(self._open.values())
        found: dict[UUID, FlowRun] = {}
        with get_client(sync_client=True) as client:
            for start in range(0, len(ids), 200):  # a page of the API
                wanted = FlowRunFilter(id=FlowRunFilterId(any_=ids[start : start + 200]))
                found |= {run.id: run for run in client.read_flow_runs(flow_run_filter=wanted, limit=200)}
        return found

    def _warn_without_worker(self, runs: dict[UUID, FlowRun]) -> None:
        waiting = all(run.state_type is StateType.SCHEDULED for run in runs.values())
        if self._warned or not waiting or time.monotonic() - self._submitted_at < NO_WORKER_WARNING_SECONDS:
            return
        if not workers_online(self._settings.work_pool):
            self._warned = True
            self._logger.warning(
                "no worker is online in work pool %r: start one with `pixelmill worker start`", self._settings.work_pool
            )

    def _describe(self, before: Progress, seconds: float) -> tuple[float, str]:
        now = self._ledger.progress(self._job.id)
        ended = now.total - now.pending
        made = before.pending - now.pending
        rate = made / seconds if seconds > 0 else 0.0
        left = f", {now.pending / rate:.0f} s left" if rate > 0 and now.pending else ""
        text = (
            f"{self._job.name}: {now.done} done, {now.failed} failed, {now.quarantined} quarantined, "
            f"{now.pending} remaining; {rate:.2f} images/s{left}"
        )
        return 100.0 * ended / max(now.total, 1), text


def _ended(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()
