"""Watch the shards of a burst: submit them, resubmit lost ones, and report the job's progress."""

import time
from collections.abc import Callable
from datetime import datetime
from logging import Logger, LoggerAdapter
from typing import NamedTuple
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, StateType

from configs.failures import RestartPolicy
from configs.settings.settings import Settings
from flows.prefect_api.shard_runs import (
    LONG_AGO,
    OUTAGE,
    ShardRefused,
    cancel_runs,
    has_ended,
    is_outage,
    queue_of,
    read_runs,
    submit_shard,
    waits_for_the_clock,
)
from flows.prefect_api.workers import why_idle
from flows.report.render import format_cost
from storage.ledger.lease import HeldLease, JobTakenOver, LeaseWatch, shard_lease
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, JobStatus, ShardRecord, ShardState

POLL_SECONDS = 0.25
MAX_POLL_SECONDS = 3.0  # cancelling has to be noticed soon
POLL_SHARE = 0.02  # of the time, at most, goes into counting what is left: a million items take a while
PREFECT_SECONDS = 2.0  # between requests to the API, of 7 ms of its server each; the ledger has all but failures
IDLE_WARNING_SECONDS = 20.0
OUTAGE_SECONDS = 900.0  # a Prefect API that is away for longer ends the burst; shards at work go on without it
STOP_SECONDS = 3.0  # for shards to end in order after a change of the job's status
KILL_SECONDS = 8.0  # for workers to stop those that did not

ProgressReport = Callable[[float, str], object]


class FinalStatus(NamedTuple):
    """Status of a job at the end of its burst, and the reason unless all is done."""

    status: JobStatus
    error: str | None = None


class _Attempts(NamedTuple):
    total: int  # in this burst
    vain: int  # in a row that ended no item
    pending: int  # items before the last one


class ShardWatch:
    """The open shards of one burst. Prefect's states decide which flow runs live, the ledger alone what is done."""

    def __init__(
        self,
        job: JobRecord,
        ledger: Ledger,
        settings: Settings,
        logger: "Logger | LoggerAdapter[Logger]",
        *,
        client: SyncPrefectClient,
        burst_run: UUID | None = None,
    ) -> None:
        """Watch the job's shards; cancelling `burst_run`, the burst's own flow run, ends the watch."""
        self._job, self._ledger, self._settings, self._logger = job, ledger, settings, logger
        self._client = client  # one for all requests: making one costs as much CPU as ten requests
        self._burst_run = burst_run
        self._before = ledger.items.progress(job.id)
        self._queue = queue_of(self._before.pending, settings)
        self._waiting: dict[int, None] = {}  # shards to be submitted, in order
        self._open: dict[int, UUID] = {}  # shard -> its flow run
        self._attempts: dict[int, _Attempts] = {}
        self._given_up: dict[int, str] = {}
        self._leases = LeaseWatch(settings.shard_timeout)
        self._outage_since: float | None = None
        self._asked_at = 0.0
        self._submitted_at = time.monotonic()
        self._warned = False

    def run_to_end(self, *, every: float, report: ProgressReport, held: HeldLease) -> FinalStatus:
        """Return once no shard is open or the job must end early. Raises JobTakenOver if another burst has the job."""
        self._waiting = {record.index: None for record in self._ledger.runs.shards(self._job.id) if record.items}
        started = time.monotonic()
        reported = 0.0
        while self._waiting or self._open:
            if held.lost is not None:
                raise JobTakenOver(f"this burst no longer runs {self._job.id}: {held.lost}")
            began = time.monotonic()
            records = self._read_shards()
            counting = time.monotonic() - began
            ending = self._look(records)
            if ending is not None:
                return ending
            if time.monotonic() - reported >= every:
                reported = time.monotonic()
                self._report(report, reported - started)
            if self._waiting or self._open:
                time.sleep(min(MAX_POLL_SECONDS, max(POLL_SECONDS, counting / POLL_SHARE)))
        self._report(report, time.monotonic() - started)
        return self.final_status()

    def final_status(self) -> FinalStatus:
        """Return how the job would end with its items' present states."""
        if self._given_up:
            return FinalStatus(JobStatus.FAILED, "; ".join(self._given_up.values()))
        progress = self._ledger.items.progress(self._job.id)
        if progress.pending:
            return FinalStatus(JobStatus.FAILED, f"{progress.pending} items were left pending by their shards")
        return FinalStatus(JobStatus.INCOMPLETE if progress.failed or progress.quarantined else JobStatus.DONE)

    def stop_shards(self) -> None:
        """End the open shards after the job's status has changed: in order if possible, else through their workers."""
        self._waiting.clear()
        try:
            if not self._wait_for_end(STOP_SECONDS):
                cancel_runs(self._client, self._open.values(), "The burst ended.")
                self._wait_for_end(KILL_SECONDS)
        except OUTAGE as error:
            self._logger.warning("could not wait for the shards, which stop by themselves: %s", error)
        self._open.clear()

    def _wait_for_end(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._open and time.monotonic() < deadline:
            runs = read_runs(self._client, self._open.values())
            # A shard without a worker would start only to find that the job is over.
            idle = [run.id for run in runs.values() if run.state_type is StateType.SCHEDULED]
            cancel_runs(self._client, idle, "The burst ended before a worker took the shard.")
            self._open = {
                shard: identifier
                for shard, identifier in self._open.items()
                if identifier in runs and identifier not in idle and not has_ended(runs[identifier])
            }
            if self._open:
                time.sleep(POLL_SECONDS / 2)
        return not self._open

    def _read_shards(self) -> dict[int, ShardRecord]:
        return {record.index: record for record in self._ledger.runs.shards(self._job.id)}

    # -- one round -------------------------------------------------------------------------------------------------
    def _look(self, records: dict[int, ShardRecord]) -> FinalStatus | None:
        """Submit, close and resubmit shards. Returns how the job ends if it must end now."""
        if self._ledger.jobs.run_and_status(self._job.id)[1] is JobStatus.CANCELLED:
            return FinalStatus(JobStatus.CANCELLED, "cancelled")
        refusal = self._refusal(records) or self._too_many_failures()
        if refusal is not None:
            return refusal
        self._close_done(records)
        try:
            for shard in list(self._waiting):
                self._submit(shard, records[shard].items)
            if time.monotonic() - self._asked_at < PREFECT_SECONDS:
                return None
            ending = self._look_at_runs()
            self._asked_at = time.monotonic()
        except ShardRefused as refused:
            return FinalStatus(JobStatus.FAILED, str(refused))
        except OUTAGE as error:
            if not is_outage(error):
                raise
            return self._wait_out_outage(error, records)
        self._outage_since = None
        return ending

    def _close_done(self, records: dict[int, ShardRecord]) -> None:
        """Close the shards that the ledger has as done; their workers may still have to report it to Prefect."""
        for shard, identifier in list(self._open.items()):
            record = records[shard]
            if record.state is ShardState.DONE and not record.items and record.flow_run_id == str(identifier):
                del self._open[shard]

    def _look_at_runs(self) -> FinalStatus | None:
        if (spent := self._over_budget()) is not None:
            return spent
        runs = read_runs(self._client, [*self._open.values(), *([self._burst_run] if self._burst_run else [])])
        burst = runs.get(self._burst_run) if self._burst_run else None
        if burst is not None and burst.state and (burst.state.is_cancelling() or burst.state.is_cancelled()):
            return FinalStatus(JobStatus.CANCELLED, "cancelled in Prefect")
        if burst is not None and burst.state and burst.state.is_paused():
            return FinalStatus(JobStatus.CANCELLED, "suspended in Prefect: retry the flow run to go on")
        # Read after the runs, so that the records include all that an ended run has done.
        records = self._read_shards()
        for shard, identifier in list(self._open.items()):
            self._check(records[shard], identifier, runs.get(identifier))
        self._warn_if_idle(runs)
        return None

    def _wait_out_outage(self, error: Exception, records: dict[int, ShardRecord]) -> FinalStatus | None:
        """Go on without the API for a while: working shards continue, and the ledger shows when they are done."""
        now = time.monotonic()
        if self._outage_since is None:
            self._outage_since = now
            self._logger.warning("the Prefect API does not answer (%s): waiting for it", type(error).__name__)
        if now - self._outage_since > OUTAGE_SECONDS:
            return FinalStatus(
                JobStatus.FAILED, f"the Prefect API did not answer for {OUTAGE_SECONDS / 60:.0f} min: {error}"
            )
        for shard in [shard for shard in self._open if not records[shard].items]:
            del self._open[shard]
        return None

    def _refusal(self, records: dict[int, ShardRecord]) -> FinalStatus | None:
        """Return the end of the job if a shard has failed for good."""
        for shard, identifier in self._open.items():
            record = records[shard]
            if record.state is ShardState.FAILED and record.flow_run_id == str(identifier):
                return FinalStatus(JobStatus.FAILED, record.error)
        return None

    def _too_many_failures(self) -> FinalStatus | None:
        now, limit = self._ledger.items.progress(self._job.id), self._settings.max_failed_share
        failed = now.failed - self._before.failed
        ended = self._before.pending - now.pending
        if not now.pending or ended < self._settings.max_failed_after or failed <= limit * ended:
            return None
        errors = self._ledger.items.common_errors(self._job.id, 1)
        most = f"; most often: {errors[0][0]}" if errors else ""
        return FinalStatus(
            JobStatus.FAILED,
            f"stopped early: {failed} of the first {ended} items failed, more than PIXELMILL_MAX_FAILED_SHARE "
            f"({limit:.0%}) allows{most}",
        )

    def _over_budget(self) -> FinalStatus | None:
        budget = self._job.budget
        if budget is None or (cost := self._ledger.runs.cost(self._job.id, self._job.run)) < budget:
            return None
        message = f"stopped early: the budget of {format_cost(budget)} is spent ({format_cost(cost)} so far)"
        return FinalStatus(JobStatus.FAILED, f"{message}; a run of the job with a larger one goes on")

    def _check(self, record: ShardRecord, identifier: UUID, run: FlowRun | None) -> None:
        shard = record.index
        mine = record.flow_run_id == str(identifier)
        if run is not None and not has_ended(run):
            if waits_for_the_clock(run):
                self._logger.warning("the clock was set back: shard %d is submitted again, to start at once", shard)
                cancel_runs(self._client, [identifier], "The clock was set back.")
                self._submit(shard, record.items, at=LONG_AGO)
                return
            # A shard with a worker must send heartbeats, even if the worker died before the first one.
            taken = run.state_type is not StateType.SCHEDULED
            if not (taken and self._is_orphaned(record, mine=mine)):
                return
            cancel_runs(self._client, [identifier], "No heartbeat from its worker.")
        del self._open[shard]
        if record.items:
            self._try_again(record, run)

    def _is_orphaned(self, record: ShardRecord, *, mine: bool) -> bool:
        """Return whether the shard's lease has gone without a heartbeat for too long, by this process's clock."""
        name = shard_lease(self._job.id, record.index)
        lease = self._ledger.leases.find([name]).get(name)
        return self._leases.is_stale(name, lease, trust_death=mine)

    def _try_again(self, record: ShardRecord, run: FlowRun | None) -> None:
        reason = (run.state.message or run.state.name) if run is not None and run.state else "its flow run is gone"
        attempts = self._attempts[record.index]
        vain = attempts.vain + 1 if record.items >= attempts.pending else 0
        self._attempts[record.index] = attempts._replace(vain=vain)
        if RestartPolicy(most=self._settings.shard_attempts - 1).allows(vain):
            self._logger.warning("shard %d ended before its items did (%s): trying again", record.index, reason)
            self._waiting[record.index] = None
        else:
            self._given_up[record.index] = (
                f"shard {record.index} was tried {attempts.total} times, the last {vain} in vain: {reason}"
            )

    def _submit(self, shard: int, pending: int, *, at: datetime | None = None) -> None:
        former = self._attempts.get(shard, _Attempts(0, 0, pending))
        self._open[shard] = submit_shard(self._job, shard, former.total + 1, self._queue, at=at)
        self._attempts[shard] = _Attempts(former.total + 1, former.vain, pending)
        self._leases.forget(shard_lease(self._job.id, shard))
        self._waiting.pop(shard, None)
        self._submitted_at = time.monotonic()

    # -- progress and warnings -------------------------------------------------------------------------------------
    def _warn_if_idle(self, runs: dict[UUID, FlowRun]) -> None:
        shards = [runs[identifier] for identifier in self._open.values() if identifier in runs]
        waiting = all(run.state_type is StateType.SCHEDULED for run in shards)
        if self._warned or not waiting or time.monotonic() - self._submitted_at < IDLE_WARNING_SECONDS:
            return
        if (reason := why_idle(self._settings.work_pool, self._queue, self._client)) is not None:
            self._warned = True
            self._logger.warning("nothing starts: %s", reason)

    def _report(self, report: ProgressReport, seconds: float) -> None:
        now = self._ledger.items.progress(self._job.id)
        rate = (self._before.pending - now.pending) / seconds if seconds > 0 else 0.0
        left = f", {now.pending / rate:.0f} s left" if rate > 0 and now.pending else ""
        text = (
            f"{self._job.name}: {now.done} done, {now.failed} failed, {now.quarantined} quarantined, "
            f"{now.pending} remaining; {rate:.2f} images/s{left}"
        )
        try:
            report(100.0 * (now.total - now.pending) / max(now.total, 1), text)
        except OUTAGE as error:
            if not is_outage(error):
                raise
