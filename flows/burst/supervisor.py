"""Start a new burst for each running job whose burst is gone, given the ledger and an API that starts flow runs.

Prefect alone does not: the death of a burst together with its worker is not reported, and an automation on its
heartbeats loses its state if the server's services die as well.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from configs.failures import RestartPolicy
from flows.burst.review import drop_ended_waits, wake_due
from flows.prefect_api.schedules import skip_missed
from storage.ledger.database import LedgerError
from storage.ledger.lease import PATIENCE_SECONDS, OrphanedJobs
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobStatus, Lease

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
SCHEDULES_SECONDS = 30.0  # between looks for flow runs that schedules have missed
START_SECONDS = 60.0  # from a worker taking the flow run to the burst holding its job, on a busy machine
# Bursts that ended without holding their job, or without progress of it.
RESTARTS = RestartPolicy(first_seconds=10.0, longest_seconds=START_SECONDS, most=8)
BURST_DEPLOYMENT = "burst/burst"
REVIVED = "revived"  # tag of a burst that replaces one whose process is gone


class FlowRunPhase(Enum):
    """Phase of a burst's flow run that does not hold its job yet."""

    WAITING = auto()  # for a worker
    STARTING = auto()  # a worker has taken it, and may have died since
    ENDED = auto()  # or was deleted


class Bursts(Protocol):
    """Starter of bursts. Both methods raise the errors of Prefect's client."""

    def start(self, job_id: str, key: str) -> str:
        """Return the id of the job's new flow run; the same key always gives the same flow run."""
        ...

    def phase(self, run: str) -> FlowRunPhase: ...


class _Restart(NamedTuple):
    at: float  # when it was started, or last seen to wait for a worker
    run: str  # the burst that was started
    replaced: Lease | None  # of the burst that was gone
    attempt: int  # to replace that burst
    pending: int  # items at that time
    vain: int  # restarts in a row, including this one, without an item ended before the next


class BurstSupervisor:
    """Supervisor of the running jobs of a ledger. Several at once, on any machines, never start a burst twice."""

    def __init__(self, ledger: Ledger, bursts: Bursts, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger, self._bursts, self._clock = ledger, bursts, clock
        self._orphaned = OrphanedJobs(clock)
        self._restarts: dict[str, _Restart] = {}

    def restart_orphaned(self) -> list[str]:
        """Start a burst for each job that has none. Returns the jobs' ids. Raises the ledger's errors.

        A job whose bursts die again and again without progress is failed; the ledger records the reason.
        """
        orphaned = self._orphaned.look(self._ledger.fleet.work().running, self._ledger)
        self._restarts = {
            job_id: restart
            for job_id, restart in self._restarts.items()
            if self._ledger.jobs.run_and_status(job_id)[1] is JobStatus.RUNNING
        }
        due = {job_id: lease for job_id, lease in orphaned.items() if self._is_due(job_id, lease)}
        return [job_id for job_id, lease in due.items() if self._restart(job_id, lease)]

    def _is_due(self, job_id: str, lease: Lease | None) -> bool:
        """Return False while a burst that was started for this lease may still take the job."""
        last = self._restarts.get(job_id)
        if last is None or lease != last.replaced:
            return True
        waited = self._clock() - last.at
        if waited <= RESTARTS.pause(last.vain):
            return False
        phase = self._bursts.phase(last.run)
        if phase is FlowRunPhase.WAITING:
            self._restarts[job_id] = last._replace(at=self._clock())
        return phase is FlowRunPhase.ENDED or (phase is FlowRunPhase.STARTING and waited > START_SECONDS)

    def _restart(self, job_id: str, lease: Lease | None) -> bool:
        pending = self._ledger.items.progress(job_id).pending
        last = self._restarts.get(job_id)
        vain = last.vain + 1 if last is not None and pending >= last.pending else 1
        if not RESTARTS.allows(vain):
            reason = f"its burst died {vain} times in a row before an item ended: see the log of the bursts' worker"
            self._ledger.jobs.end_if_running(job_id, JobStatus.FAILED, reason)
            logger.error("%s: %s", job_id, reason)
            return False
        attempt = last.attempt + 1 if last is not None and lease == last.replaced else 1
        run = self._ledger.jobs.run_and_status(job_id)[0]
        started = self._bursts.start(job_id, _key(job_id, run, lease, attempt))
        self._restarts[job_id] = _Restart(self._clock(), started, lease, attempt, pending, vain)
        logger.warning("%s: its burst has been gone for %.0f s: started another one", job_id, PATIENCE_SECONDS)
        return True


def _key(job_id: str, run: int, lease: Lease | None, attempt: int) -> str:
    """Return a key that all supervisors share for an attempt to replace the same burst."""
    seen = f"{lease.owner} {lease.heartbeat}" if lease else "nobody"
    return f"revive:{job_id}:{run}:{attempt}:{hashlib.sha256(seen.encode()).hexdigest()[:16]}"


class BurstDeployment:
    """The deployment `burst` of the API at PREFECT_API_URL."""

    def start(self, job_id: str, key: str) -> str:
        from prefect.deployments import run_deployment

        run: Any = run_deployment(
            BURST_DEPLOYMENT,
            parameters={"job_id": job_id},
            timeout=0,
            idempotency_key=key,
            as_subflow=False,
            tags=[REVIVED],
        )
        logger.info("%s: flow run %s", job_id, run.name)
        return str(run.id)

    def phase(self, run: str) -> FlowRunPhase:
        from prefect.client.orchestration import get_client

        from flows.prefect_api.shard_runs import has_ended, read_runs

        identifier = UUID(run)
        with get_client(sync_client=True) as client:
            found = read_runs(client, [identifier]).get(identifier)
        if found is None or found.state is None or has_ended(found):
            return FlowRunPhase.ENDED
        return FlowRunPhase.WAITING if found.state.is_scheduled() else FlowRunPhase.STARTING


def supervise_forever(ledger: Ledger, ending: threading.Event) -> None:
    """Restart bursts that are gone, and wake bursts whose decisions are made, every few seconds until `ending`.

    Of the overdue flow runs of a schedule only the newest is kept. A failure is logged once and retried.
    """
    supervisor = BurstSupervisor(ledger, BurstDeployment())
    in_trouble = False
    looked = -SCHEDULES_SECONDS
    while not ending.wait(LOOK_SECONDS):
        try:
            supervisor.restart_orphaned()
            drop_ended_waits(ledger)
            wake_due(ledger)
            if time.monotonic() - looked > SCHEDULES_SECONDS:
                looked = time.monotonic()
                skip_missed()
            in_trouble = False
        except Exception as error:
            if not in_trouble:
                what = "supervise the jobs" if isinstance(error, LedgerError) else "start a burst"
                logger.warning("cannot %s, trying again: %s", what, error)
            in_trouble = True
