"""A burst: the parent flow run of a job. Submits its shards, watches them, and brings the job to its end."""

from collections.abc import Callable
from contextlib import chdir, closing
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import State, flow, get_run_logger
from prefect.artifacts import create_progress_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed

from configs.problems import InvalidInput
from configs.settings import Settings, load_settings
from flows.finish import finish_job
from flows.job_lease import JobIsRunning, JobTakenOver, job_lease
from flows.lease import HeldLease
from flows.plan import job_identity, read_plan_request, start_job
from flows.report import Summary, build_summary
from flows.shard_watch import Ending, ShardWatch
from storage.artefacts import StoreError
from storage.database import LedgerError
from storage.ledger import Ledger
from storage.open_store import open_store
from storage.records import JobRecord, JobStatus

TAKEN_OVER = "TakenOver"  # the state of a burst whose job another one has
PROGRESS_SECONDS = 5.0  # an artifact update costs the server some 12 ms


def _run_name() -> str:
    parameters = flow_run.parameters or {}
    return f"burst {parameters.get('job_id') or Path(str(parameters.get('job'))).stem}"


@flow(name="burst", flow_run_name=_run_name, persist_result=False, validate_parameters=True)
def burst(job: str | None = None, job_id: str | None = None) -> State[Any]:
    """Makes the images of a job file, or goes on with a job of the ledger.

    Args:
        job: Path or s3:// URI of a job file.
        job_id: A job that the ledger knows and that has begun.
    """
    if (job is None) == (job_id is None):
        raise ValueError("Give either `job`, a job file, or `job_id`, a job that has begun.")
    try:
        settings = load_settings()
        with closing(Ledger(settings.resolved_ledger_url)) as ledger:
            return _as_state(_run(job, job_id, ledger, settings))
    except (InvalidInput, JobIsRunning, LedgerError, StoreError) as error:
        # What a person has to mend: a message says it, a traceback would bury it.
        return Failed(message=str(error))
    except JobTakenOver as error:
        return Failed(message=str(error), name=TAKEN_OVER)


def _run(job: str | None, job_id: str | None, ledger: Ledger, settings: Settings) -> Summary:
    say = get_run_logger().info
    if job_id is not None:
        with job_lease(job_id, ledger, say=say) as held:
            return run_burst(ledger.job(job_id), ledger, settings, held)
    with chdir(settings.working_folder or Path.cwd()):
        request = read_plan_request(str(job), settings)
    with job_lease(job_identity(request, settings), ledger, say=say) as held:
        begun = start_job(request, ledger, settings)
        del request  # the ledger has the items
        return run_burst(begun, ledger, settings, held)


def run_burst(job: JobRecord, ledger: Ledger, settings: Settings, held: HeldLease) -> Summary:
    """Runs the job's pending items on the work pool until none is left, and finishes the job.

    A shard that ends before its items do is submitted again, as long as its attempts bring the job on. Whatever ends
    the burst early (a refusal by the store, too many failures, cancelling, an error), the ledger says why, and its
    shards stop.
    """
    logger = get_run_logger()
    with get_client(sync_client=True) as client:
        ending = _run_shards(job, ledger, settings, held, client)
    ended = ledger.job(job.id)
    if ending.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        return finish_job(ended, ledger, settings)
    logger.error("%s: %s", job.name, ending.error)
    try:
        return finish_job(ended, ledger, settings)
    except StoreError as failure:
        # Most likely what ended the burst: that, and not this, is what a person should read.
        logger.warning("no manifest and no gallery could be written: %s", failure)
        return build_summary(ledger, ended, open_store(ended.output, settings), run=ended.run)


def _run_shards(
    job: JobRecord, ledger: Ledger, settings: Settings, held: HeldLease, client: SyncPrefectClient
) -> Ending:
    """Leaves no shard at work, and how the job ended in the ledger, whatever happens."""
    ending = Ending(JobStatus.FAILED, "the burst was interrupted")
    burst_run = flow_run.id and UUID(str(flow_run.id))
    watch = ShardWatch(job, ledger, settings, get_run_logger(), client=client, burst_run=burst_run)
    try:
        ending = watch.run_to_end(every=PROGRESS_SECONDS, report=_progress_artifact(job, client), held=held)
    except KeyboardInterrupt:
        ending = Ending(JobStatus.CANCELLED, "interrupted")
        raise
    except Exception as failure:
        ending = Ending(JobStatus.FAILED, str(failure) or type(failure).__name__)
        raise
    finally:
        if held.lost is None:
            try:
                ledger.set_job_status(job.id, ending.status, ending.error)
            finally:
                watch.stop_shards()
    return ending


def _as_state(summary: Summary) -> State[Any]:
    """The end of the job as Prefect shows it; its data is the summary."""
    kind = {JobStatus.CANCELLED: Cancelled, JobStatus.FAILED: Failed}.get(JobStatus(summary.status), Completed)
    items = summary.items
    message = f"{items.done:,} of {items.total:,} images"
    for count, word in ((items.failed, "failed"), (items.quarantined, "quarantined"), (items.pending, "pending")):
        if count:
            message += f", {count:,} {word}"
    reasons = "; ".join(error.message for error in summary.errors)
    return kind(message=f"{message}: {reasons}" if reasons else message, data=summary.model_dump(mode="json"))


def _progress_artifact(job: JobRecord, client: SyncPrefectClient) -> Callable[[float, str], object]:
    """An artifact in the Prefect UI that shows how far the burst is (share in per cent)."""
    artifact: Any = create_progress_artifact(progress=0.0, description=f"{job.name}: starting")
    return lambda share, text: client.update_artifact(artifact, ArtifactUpdate(data=share, description=text))
