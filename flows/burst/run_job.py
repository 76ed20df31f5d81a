"""Run, resume and retry a job from this machine."""

from collections.abc import Callable
from pathlib import Path

from configs.reporting import Log, PixelmillError
from configs.settings.settings import Settings
from flows.burst.distinct import settle_repetitions
from flows.job.plan import Retried, continue_job, job_identity, read_plan_request, retry_items, start_job
from flows.pages.finish import finish_job
from flows.prefect_api.workers import fleet
from flows.report.report import Summary, build_summary
from storage.ledger.job_lease import JobTakenOver, job_lease
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemState, JobRecord, JobStatus
from storage.objects.open_store import open_store

Watch = Callable[[JobRecord], None]  # told once which job runs, so that it can show progress


class NotFinished(PixelmillError):
    """All items have ended, but what speaks of the whole job could not be written; the message says why."""


def run_job(path: str | Path, ledger: Ledger, settings: Settings, *, log: Log, watch: Watch) -> Summary:
    """Makes what the job file asks for and is not there yet; items that failed before are tried again.

    Raises InvalidInput before anything is written.
    """
    request = read_plan_request(path, settings)
    with job_lease(job_identity(request, settings), ledger, log=log):
        job = start_job(request, ledger, settings)
        del request  # the ledger has the items
        ledger.items.reset(job.id, states=[ItemState.FAILED])
        return run_pending(job, ledger, settings, log, watch)


def resume_job(identifier: str, ledger: Ledger, settings: Settings, *, log: Log, watch: Watch) -> Summary:
    """Goes on with the items that have not reached their end, and with those that people have accepted."""
    return _continue(identifier, None, ledger, settings, log, watch)


def retry_job(
    identifier: str, which: Retried, ledger: Ledger, settings: Settings, *, log: Log, watch: Watch
) -> Summary:
    """Tries these items again, and whatever is pending."""
    return _continue(identifier, which, ledger, settings, log, watch)


def _continue(
    identifier: str, which: Retried | None, ledger: Ledger, settings: Settings, log: Log, watch: Watch
) -> Summary:
    known = ledger.jobs.get(identifier)
    with job_lease(known.id, ledger, log=log):
        job = continue_job(known, ledger, settings)
        if which is not None:
            retry_items(job.id, which, ledger)
        return run_pending(job, ledger, settings, log, watch)


def run_pending(job: JobRecord, ledger: Ledger, settings: Settings, log: Log, watch: Watch) -> Summary:
    """Brings a job that has begun a run to its end; without pending items it takes neither server nor worker."""
    progress = ledger.items.progress(job.id)
    if not progress.pending:
        settle_repetitions(job, ledger, settings)  # the burst before may have died just then
        progress = ledger.items.progress(job.id)
        status = JobStatus.INCOMPLETE if progress.failed or progress.quarantined else JobStatus.DONE
        ledger.jobs.set_status(job.id, status)
        return finish_job(ledger.jobs.get(job.id), ledger, settings)
    try:
        with fleet(settings, log):
            watch(job)
            from prefect.exceptions import CancelledRun, FailedRun

            from flows.burst.burst import burst
            from flows.burst.form_flow import TAKEN_OVER

            state = burst(job_id=job.id, return_state=True)
            if state.name == TAKEN_OVER:
                raise JobTakenOver(state.message)
            failure = state.result(raise_on_failure=False)
            if failure is None and state.is_failed():  # by its message alone
                failure = FailedRun(state.message)
        status = ledger.jobs.get(job.id).status
        if isinstance(failure, FailedRun) and status in (JobStatus.DONE, JobStatus.INCOMPLETE):
            raise NotFinished(
                f"all items have ended, but the job could not be finished: {failure} "
                f"`pixelmill resume {job.id}` writes its manifest, gallery and report"
            )
        unsaid = status is JobStatus.RUNNING
        if isinstance(failure, BaseException) and (unsaid or not isinstance(failure, FailedRun | CancelledRun)):
            raise failure  # not how the job ended, but what kept the burst from saying so
    except JobTakenOver:
        raise
    except BaseException as failure:
        # The burst says what ended it; this is for what went wrong around it, before or after.
        if ledger.jobs.get(job.id).status is JobStatus.RUNNING:
            ledger.jobs.set_status(job.id, *_end_by(failure))
        raise
    ended = ledger.jobs.get(job.id)
    return build_summary(ledger, ended, open_store(ended.output, settings), run=ended.run)


def _end_by(failure: BaseException) -> tuple[JobStatus, str]:
    """How a job ended that this stopped, and why."""
    if isinstance(failure, KeyboardInterrupt):
        return JobStatus.CANCELLED, "interrupted"
    return JobStatus.FAILED, str(failure) or type(failure).__name__
