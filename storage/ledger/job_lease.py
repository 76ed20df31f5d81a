"""One burst of a job at a time, on whatever machine."""

from collections.abc import Iterator
from contextlib import contextmanager

from configs.reporting import Log, PixelmillError
from storage.ledger.lease import HeldLease, LeaseTaken, is_abandoned, lease
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, JobStatus


class JobIsRunning(PixelmillError):
    """Another process runs the job."""


class JobTakenOver(PixelmillError):
    """The job is no longer this process's: whatever it did now would disturb the one that has it."""


@contextmanager
def job_lease(job_id: str, ledger: Ledger, *, log: Log | None = None) -> Iterator[HeldLease]:
    """Holds the job for this process, which may ask again. Raises JobIsRunning while another one that lives does."""
    try:
        with lease(lease_of_job(job_id), ledger, log=log) as held:
            yield held
    except LeaseTaken as taken:
        message = (
            f"{job_id} is running already on {taken.holder.place}; `pixelmill status {job_id}` shows how far it is"
        )
        raise JobIsRunning(message) from None


def is_held(job_id: str, ledger: Ledger) -> bool:
    """Whether a process that lives runs, finishes or repairs the job. May take a few seconds to tell."""
    return not is_abandoned(lease_of_job(job_id), ledger)


def is_interrupted(job: JobRecord, ledger: Ledger) -> bool:
    """Whether the job is said to run, but whatever ran it is gone. May take a few seconds to tell."""
    return job.status is JobStatus.RUNNING and not is_held(job.id, ledger)


def lease_of_job(job_id: str) -> str:
    return f"job {job_id}"
