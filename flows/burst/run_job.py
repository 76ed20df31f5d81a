"""Run, resume and retry a job from this machine."""

from collections.abc import Callable, Iterable
from pathlib import Path

from configs.failures import Log, PixelmillError
from configs.settings.settings import Settings
from flows.burst.distinct import settle_repetitions
from flows.job.plan import Retried, continue_job, job_identity, read_plan_request, retry_items, start_job
from flows.job.request import JobRequest
from flows.pages.gallery import finish_job
from flows.prefect_api.workers import fleet
from flows.report.gallery_server import with_gallery_address
from flows.report.report import Summary, build_summary, gallery_place
from storage.ledger.lease import HeldLease, JobTakenOver, job_run
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, JobStatus
from storage.objects.open_store import open_store

OnStart = Callable[[JobRecord], None]  # called once with the job that runs, as to show its progress


class NotFinished(PixelmillError):
    """All items have ended, but the job's manifest, gallery or report could not be written."""


def run_job(path: str | Path, ledger: Ledger, settings: Settings, *, log: Log, on_start: OnStart) -> Summary:
    """Make the missing images of a job file; items that failed before are tried again.

    Raises InvalidInput before anything is written.
    """
    return run_request(read_plan_request(path, settings), ledger, settings, log=log, on_start=on_start)


def run_request(request: JobRequest, ledger: Ledger, settings: Settings, *, log: Log, on_start: OnStart) -> Summary:
    """Do the same for a request that was checked before."""
    with job_run(job_identity(request, settings), ledger, log=log) as held:
        notices = list(request.notices)
        job = start_job(request, ledger, settings, log=notices.append)
        del request  # the ledger has the items
        return run_pending(job, held, ledger, settings, log, on_start, notices)


def resume_job(
    identifier: str,
    ledger: Ledger,
    settings: Settings,
    *,
    log: Log,
    on_start: OnStart,
    retried: Retried | None = None,
) -> Summary:
    """Run the items that have not reached their end, those with accepted images, and those that are `retried`."""
    known = ledger.jobs.get(identifier)
    with job_run(known.id, ledger, log=log) as held:
        job = continue_job(known, ledger, settings)
        if retried is not None:
            retry_items(job.id, retried, ledger)
        return run_pending(job, held, ledger, settings, log, on_start)


def run_pending(
    job: JobRecord,
    held: HeldLease,
    ledger: Ledger,
    settings: Settings,
    log: Log,
    on_start: OnStart,
    notices: Iterable[str] = (),
) -> Summary:
    """Run a job that has begun to its end; without pending items neither a server nor a worker is started."""
    for text in (gallery_place(job, open_store(job.output, settings), with_gallery_address(settings)), *notices):
        log(text)
    if not ledger.items.progress(job.id).pending:
        return _settle(job, ledger, settings)
    with fleet(settings, log):
        on_start(job)
        failure = _run_burst(job, held)
    _check_end(ledger.jobs.get(job.id), failure)
    ended = ledger.jobs.get(job.id)
    return build_summary(ledger, ended, open_store(ended.output, settings), run=ended.run)


def _settle(job: JobRecord, ledger: Ledger, settings: Settings) -> Summary:
    """Finish a job whose items have all ended; an earlier burst may have died before it did."""
    settle_repetitions(job, ledger, settings)
    progress = ledger.items.progress(job.id)
    status = JobStatus.INCOMPLETE if progress.failed or progress.quarantined else JobStatus.DONE
    ledger.jobs.set_status(job.id, status)
    return finish_job(ledger.jobs.get(job.id), ledger, settings)


def _run_burst(job: JobRecord, held: HeldLease) -> object:
    """Run the burst as a flow run of this process. Returns its failure, or anything else if it did not fail."""
    from prefect.exceptions import FailedRun

    from flows.burst.burst import burst_of
    from flows.burst.form_flow import TAKEN_OVER

    state = burst_of(job, held)(job_id=job.id, return_state=True)
    if state.name == TAKEN_OVER:
        raise JobTakenOver(state.message)
    result: object = state.result(raise_on_failure=False)
    return FailedRun(state.message) if result is None and state.is_failed() else result


def _check_end(job: JobRecord, failure: object) -> None:
    """Raise unless the failure of the burst is the end that the ledger has recorded for the job."""
    from prefect.exceptions import CancelledRun, FailedRun

    if isinstance(failure, FailedRun) and job.status in (JobStatus.DONE, JobStatus.INCOMPLETE):
        raise NotFinished(
            f"all items have ended, but the job could not be finished: {failure} "
            f"`pixelmill resume {job.id}` writes its manifest, gallery and report"
        )
    is_recorded = job.status is not JobStatus.RUNNING and isinstance(failure, FailedRun | CancelledRun)
    if isinstance(failure, BaseException) and not is_recorded:
        raise failure
