"""A burst: the parent flow run of a job. Submits its shards, watches them, and brings the job to its end."""

from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.runtime import flow_run

from configs.settings import Settings, load_settings
from flows.finish import finish_job
from flows.job_lock import job_lock
from flows.plan import job_identity, read_plan_request, start_job
from flows.report import Summary
from flows.shard_watch import ShardWatch
from storage.ledger import Ledger
from storage.records import JobRecord, JobStatus

PROGRESS_SECONDS = 5.0  # an artifact update costs the server some 12 ms


def _run_name() -> str:
    parameters = flow_run.parameters or {}
    return f"burst {parameters.get('job_id') or Path(str(parameters.get('job'))).stem}"


@flow(name="burst", flow_run_name=_run_name, persist_result=False, validate_parameters=True)
def burst(job: str | None = None, job_id: str | None = None) -> dict[str, Any]:
    """Makes the images of a job file, or goes on with a job of the ledger.

    Args:
        job: Path or s3:// URI of a job file.
        job_id: A job that the ledger knows and that has begun.

    Returns the summary of the run.
    """
    if (job is None) == (job_id is None):
        raise ValueError("Give either `job`, a job file, or `job_id`, a job that has begun.")
    settings = load_settings()
    ledger = Ledger(settings.resolved_ledger_url)
    try:
        if job_id is not None:
            with job_lock(job_id, settings):
                return run_burst(ledger.job(job_id), ledger, settings).model_dump(mode="json")
        with chdir(settings.working_folder or Path.cwd()):
            request = read_plan_request(str(job), settings)
        with job_lock(job_identity(request, settings), settings):
            return run_burst(start_job(request, ledger, settings), ledger, settings).model_dump(mode="json")
    finally:
        ledger.close()


def run_burst(job: JobRecord, ledger: Ledger, settings: Settings) -> Summary:
    """Runs the job's pending items on the work pool until none is left, and finishes the job.

    A shard that ends before its items do is submitted again, `settings.shard_attempts` times at most. Whatever ends
    the burst early (a refusal by the store, cancelling, an error), its shards are cancelled and the ledger says why.
    """
    logger = get_run_logger()
    status: JobStatus = JobStatus.FAILED
    error: str | None = "the burst was interrupted"
    watch = ShardWatch(job, ledger, settings, logger)
    try:
        status, error = watch.run_to_end(every=PROGRESS_SECONDS, report=_progress_artifact(job))
    except KeyboardInterrupt:
        status, error = JobStatus.CANCELLED, "interrupted"
        raise
    except Exception as failure:
        error = str(failure) or type(failure).__name__
        raise
    finally:
        watch.cancel_open_shards()
        ledger.set_job_status(job.id, status, error)
    summary = finish_job(ledger.job(job.id), ledger, settings)
    if status in (JobStatus.FAILED, JobStatus.CANCELLED):
        logger.error("%s: %s", job.name, error)
    return summary


def _progress_artifact(job: JobRecord) -> Callable[[float, str], object]:
    """An artifact in the Prefect UI that shows how far the burst is (share in per cent)."""
    artifact: Any = create_progress_artifact(progress=0.0, description=f"{job.name}: starting")
    return lambda share, text: update_progress_artifact(artifact, progress=share, description=text)
