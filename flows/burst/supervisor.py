"""Has jobs go on whose bursts are gone, with nothing to rely on but the ledger and an API that starts flow runs.

Prefect itself cannot be relied on for that: a burst that dies together with its worker is reported by nobody, and an
automation on its heartbeats loses its memory if the server's services die as well.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from flows.burst.review import drop_ended, wake_due
from storage.ledger.database import LedgerError
from storage.ledger.lease import PATIENCE_SECONDS
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobStatus, Lease
from storage.ledger.silent_jobs import OrphanedJobs

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
START_SECONDS = 60.0  # for a burst that a worker has taken to take its job: as a busy machine needs for a process
AGAIN_SECONDS = 10.0  # after one that ended without its job: whatever ended it may be over soon. Doubled each time
MOST_REVIVALS = 8  # of a job that they do not bring on
BURST_DEPLOYMENT = "burst/burst"
REVIVED = "revived"  # tag of a burst that goes on in the place of one whose process is gone


class FlowRunPhase(Enum):
    """Of a flow run that was started, and has not taken its job yet."""

    WAITING = auto()  # for a worker to take it
    STARTING = auto()  # a worker has taken it; that may have died since
    ENDED = auto()  # or is unknown by now


class Bursts(Protocol):
    """Starts bursts. Both methods raise what Prefect's client raises."""

    def start(self, job_id: str, key: str) -> str:
        """The id of its flow run. The same key starts one flow run however often it comes."""
        ...

    def standing(self, run: str) -> FlowRunPhase: ...


class _Revival(NamedTuple):
    at: float  # when it was started, or last seen to wait for a worker
    run: str  # the burst that was started
    replaced: Lease | None  # of the burst that was gone
    attempt: int  # to replace that one
    pending: int  # items then
    vain: int  # revivals in a row, this one included, that ended no item before the next


class BurstSupervisor:
    """Looks after the running jobs of a ledger. Several of them at once, on any machines, start no burst twice."""

    def __init__(self, ledger: Ledger, bursts: Bursts, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger, self._bursts, self._clock = ledger, bursts, clock
        self._silent = OrphanedJobs(clock)
        self._revivals: dict[str, _Revival] = {}

    def look(self) -> list[str]:
        """Starts a burst for each job that has none, and returns their ids. Raises the ledger's errors.

        A job whose bursts die again and again without an item ended between them is ended: the ledger says why.
        """
        silent = self._silent.look(self._ledger.fleet.work().running, self._ledger)
        self._revivals = {job_id: revival for job_id, revival in self._revivals.items() if self._counts(job_id)}
        due = {job_id: lease for job_id, lease in silent.items() if self._is_due(job_id, lease)}
        return [job_id for job_id, lease in due.items() if self._revive(job_id, lease)]

    def _counts(self, job_id: str) -> bool:
        return self._ledger.jobs.run_and_status(job_id)[1] is JobStatus.RUNNING

    def _is_due(self, job_id: str, lease: Lease | None) -> bool:
        """Not while a burst that was started may still be on its way: once it has held the job, its time is over."""
        last = self._revivals.get(job_id)
        if last is None or lease != last.replaced:
            return True
        waited = self._clock() - last.at
        if waited <= AGAIN_SECONDS * 2 ** (last.vain - 1) and waited <= START_SECONDS:
            return False
        standing = self._bursts.standing(last.run)
        if standing is FlowRunPhase.WAITING:
            self._revivals[job_id] = last._replace(at=self._clock())
        return standing is FlowRunPhase.ENDED or (standing is FlowRunPhase.STARTING and waited > START_SECONDS)

    def _revive(self, job_id: str, lease: Lease | None) -> bool:
        pending = self._ledger.items.progress(job_id).pending
        last = self._revivals.get(job_id)
        vain = last.vain + 1 if last is not None and pending >= last.pending else 1
        if vain > MOST_REVIVALS:
            reason = f"its burst died {vain} times in a row before an item ended: see the log of the bursts' worker"
            self._ledger.jobs.set_status(job_id, JobStatus.FAILED, reason)
            logger.error("%s: %s", job_id, reason)
            return False
        attempt = last.attempt + 1 if last is not None and lease == last.replaced else 1
        run = self._ledger.jobs.run_and_status(job_id)[0]
        started = self._bursts.start(job_id, _key(job_id, run, lease, attempt))
        self._revivals[job_id] = _Revival(self._clock(), started, lease, attempt, pending, vain)
        logger.warning("%s: nobody has run it for %.0f s: started a burst that goes on", job_id, PATIENCE_SECONDS)
        return True


def _key(job_id: str, run: int, lease: Lease | None, attempt: int) -> str:
    """The same for all who see the same burst dead, and another one for each attempt to replace it."""
    seen = f"{lease.holder} {lease.beat}" if lease else "nobody"
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

    def standing(self, run: str) -> FlowRunPhase:
        from prefect.client.orchestration import get_client

        from flows.prefect_api.shard_runs import has_ended, read_runs

        identifier = UUID(run)
        with get_client(sync_client=True) as client:
            found = read_runs(client, [identifier]).get(identifier)
        if found is None or found.state is None or has_ended(found):
            return FlowRunPhase.ENDED
        return FlowRunPhase.WAITING if found.state.is_scheduled() else FlowRunPhase.STARTING


def revive_forever(ledger: Ledger, ending: threading.Event) -> None:
    """Looks every few seconds until `ending`, also after bursts that wait for people and need not any more.

    Whatever fails meanwhile is logged once and tried again.
    """
    reviver = BurstSupervisor(ledger, BurstDeployment())
    trouble: str | None = None
    while not ending.wait(LOOK_SECONDS):
        try:
            reviver.look()
            drop_ended(ledger)
            wake_due(ledger)
            trouble = None
        except Exception as error:
            if not isinstance(error, LedgerError) and trouble is None:
                logger.warning("cannot start a burst, trying on: %s", error)
            elif trouble is None:
                logger.warning("cannot look after the jobs, trying on: %s", error)
            trouble = str(error)
