"""A burst: the parent flow run of a job. It submits the shards, watches them and finishes the job."""

from collections.abc import Callable, Iterable
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow, State, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.runtime import flow_run
from pydantic import BaseModel, Field

from configs.documents.problems import InvalidInput, Problem
from configs.documents.uris import stem_of
from configs.settings.settings import Settings
from flows.burst.distinct import settle_repetitions
from flows.burst.form_flow import form_flow, state_of, with_ledger
from flows.burst.publish import WebhookError, event_of, progress_artifact, publish_report, publish_waiting, send_webhook
from flows.burst.review import has_expired, suspend_for_review
from flows.burst.shard_watch import FinalStatus, ProgressReport, ShardWatch
from flows.burst.supervisor import REVIVED
from flows.job.plan import continue_job, job_identity, read_plan_request, start_job
from flows.pages.gallery import finish_job
from flows.prefect_api.shard_runs import end_replaced, is_cancelled, tags_of
from flows.report.gallery_server import with_gallery_address
from flows.report.render import plural
from flows.report.report import Summary, build_summary, gallery_place, job_address
from gpu_worker.monitor.logs import shared_fields
from storage.ledger.lease import HeldLease, job_run
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord, JobStatus, ReviewVerdict
from storage.objects.artefacts import StoreError
from storage.objects.open_store import open_store

LOGGED_FAILURES = LOGGED_WARNINGS = 10  # the report has more, the manifest all
PROGRESS_SECONDS = 5.0  # an artifact update costs the server some 12 ms


class BurstForm(BaseModel):
    """A job file, or the id of a job that has begun."""

    job: str = Field(default="", title="Job file", description="A path, an s3:// or an https:// URI.")
    job_id: str = Field(default="", title="Or a job that has begun", description="Its id; `pixelmill status` lists it.")


def _run_name() -> str:
    parameters = flow_run.parameters or {}
    return f"burst {parameters.get('job_id') or stem_of(str(parameters.get('job')))}"


_burst_flow = form_flow(
    BurstForm,
    name="burst",
    run_name=_run_name,
    description="Makes the images of a job file, or goes on with a job that has begun.",
)


@_burst_flow
def burst(form: BurstForm) -> State[Any]:
    """Return Completed, also with failed items; Failed if the job was refused or stopped early; or Cancelled."""
    return with_burst(partial(_run, form.job.strip(), form.job_id.strip()))


def burst_of(job: JobRecord, held: HeldLease) -> Flow[..., State[Any]]:
    """Return `burst` for a job that has begun and whose lease this process holds, to be called in this process."""

    @_burst_flow
    def burst_here(_: BurstForm) -> State[Any]:
        return with_burst(lambda ledger, settings: run_burst(job, ledger, settings, held))

    return burst_here


def with_burst(begin: Callable[[Ledger, Settings], Summary | State[Any]]) -> State[Any]:
    """Return the final state of a flow run in which `begin` runs a job.

    `begin` returns the job's summary, or a state if there was nothing to run. If the job waits for people's decisions,
    the flow run is suspended instead. When it is resumed, it continues with the accepted images; `begin` is not called.
    """

    def begin_or_go_on(ledger: Ledger, settings: Settings) -> State[Any]:
        wait = ledger.reviews.wait_of(str(flow_run.id)) if flow_run.id else None
        ended = begin(ledger, settings) if wait is None else _after_review(wait.job_id, ledger, settings)
        if not isinstance(ended, Summary):
            return ended
        assert ended.job is not None, "what has run is a job"
        if wait is None or not has_expired(wait):
            suspend_for_review(ledger.jobs.get(ended.job), ledger, settings)
        ledger.reviews.drop_wait(str(flow_run.id))
        return state_of(ended)

    return with_ledger(begin_or_go_on)


def _after_review(job_id: str, ledger: Ledger, settings: Settings) -> Summary:
    with job_run(job_id, ledger, log=get_run_logger().info) as held:
        job = ledger.jobs.get(job_id)
        if job.status in (JobStatus.CANCELLED, JobStatus.FAILED):  # another burst has run it meanwhile
            return build_summary(ledger, job, open_store(job.output, settings), run=job.run)
        if job.status is not JobStatus.RUNNING:
            job = continue_job(job, ledger, settings)
        return run_burst(job, ledger, settings, held)


def _run(job: str, job_id: str, ledger: Ledger, settings: Settings) -> Summary:
    if bool(job) == bool(job_id):
        raise InvalidInput([Problem("job", "give either a job file, or the id of a job that has begun")])
    log = get_run_logger().info
    if job_id:
        known = ledger.jobs.find(job_id, field="job_id").id
        with job_run(known, ledger, log=log) as held:
            return run_burst(ledger.jobs.get(known), ledger, settings, held)
    with chdir(settings.working_folder or Path.cwd()):
        request = read_plan_request(job, settings)
    with job_run(job_identity(request, settings), ledger, log=log) as held:
        notices = list(request.notices)
        begun = start_job(request, ledger, settings, log=notices.append)
        del request  # the ledger has the items
        return run_burst(begun, ledger, settings, held, notices)


def run_burst(
    job: JobRecord, ledger: Ledger, settings: Settings, held: HeldLease, notices: Iterable[str] = ()
) -> Summary:
    """Run the job's pending items on the work pool, finish the job, publish its report and send the webhook.

    The log begins with the place where the images are seen, and the notices about the request.

    A shard that ends before its items is resubmitted while its attempts make progress. If the burst ends early (the
    store refuses, too many items fail, the job is cancelled, an error), the ledger records why and the shards stop.
    """
    settings = with_gallery_address(settings)
    with shared_fields(job=job.id), get_client(sync_client=True) as client:
        _introduce(job, client)
        get_run_logger().info("%s", gallery_place(job, open_store(job.output, settings), settings))
        for notice in notices:
            get_run_logger().warning("%s", notice)
        ending = _run_shards(job, ledger, settings, held, client)
    ended = ledger.jobs.get(job.id)
    summary = _finish(ended, ending, ledger, settings)
    publish_report(ended, summary, settings)
    if summary.review is not None or ledger.reviews.all(job.id):
        publish_waiting(ended, ledger, settings)
    try:
        send_webhook(event_of(ended, summary, settings), f"{job.id}-{job.run}", settings)
    except WebhookError as error:
        get_run_logger().warning("webhook not delivered: %s", error)
    return summary


def _introduce(job: JobRecord, client: SyncPrefectClient) -> None:
    """Name and tag the flow run after its job, and end the flow run that it replaces."""
    if not flow_run.id:
        return
    own = UUID(str(flow_run.id))
    tags = set(flow_run.tags)
    name = f"burst {job.name} {job.total:,} {'item' if job.total == 1 else 'items'}"
    client.update_flow_run(own, name=name, tags={*tags, *tags_of(job)})
    if REVIVED in tags:
        end_replaced(client, job, name, own)


def _finish(job: JobRecord, ending: FinalStatus, ledger: Ledger, settings: Settings) -> Summary:
    logger = get_run_logger()
    if ending.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        summary = finish_job(job, ledger, settings)
        logger.info("%s: finished; images and gallery: %s", job.name, job_address(job, settings) or summary.gallery)
        if waiting := summary.items.waiting:
            page = job_address(job, settings, "review") or summary.review
            logger.info("%s: %s to review: %s", job.name, plural(waiting, "item"), page)
        for failure in summary.failures[:LOGGED_FAILURES]:
            logger.warning("%s %s at %s: %s", failure.item, failure.state, failure.step, failure.message)
        for one in summary.ways.warned_of[:LOGGED_WARNINGS] if summary.ways else ():
            logger.warning("%s: %s", plural(one.items, "item"), one.message)
        return summary
    logger.error("%s: %s", job.name, ending.error)
    try:
        return finish_job(job, ledger, settings)
    except StoreError as failure:
        # Most likely the same failure ended the burst: that error is the one to report.
        logger.warning("no manifest and no gallery could be written: %s", failure)
        return build_summary(ledger, job, open_store(job.output, settings), run=job.run)


def _run_shards(
    job: JobRecord, ledger: Ledger, settings: Settings, held: HeldLease, client: SyncPrefectClient
) -> FinalStatus:
    """Run the shards to their end. In every case no shard is left running and the ledger has the job's end."""
    ending = FinalStatus(JobStatus.FAILED, f"the burst was interrupted: `pixelmill resume {job.id}` goes on with it")
    burst_run = UUID(str(flow_run.id)) if flow_run.id else None
    logger = get_run_logger()
    logger.info("%s: %d of %d items to do", job.name, ledger.items.progress(job.id).pending, job.total)
    watch = ShardWatch(job, ledger, settings, logger, client=client, burst_run=burst_run)

    def run_and_settle(report: ProgressReport) -> FinalStatus:
        """Run the pending items, then apply the recipe's `distinct` to all images of the job."""
        ending = watch.run_to_end(every=PROGRESS_SECONDS, report=report, held=held)
        if ending.error is None and job.recipe.distinction is not None:
            repeated = settle_repetitions(job, ledger, settings)
            logger.info("%s: %d items repeat an earlier one", job.name, repeated)
            ending = watch.final_status()
        return ending

    try:
        report = progress_artifact(job, client, settings)
        ending = run_and_settle(report)
        while ending.status is JobStatus.INCOMPLETE and ledger.reviews.release(job.id, ReviewVerdict.ACCEPTED):
            logger.info("%s: continues with images accepted meanwhile", job.name)
            ending = run_and_settle(report)
    except Exception as failure:
        ending = FinalStatus(JobStatus.FAILED, str(failure) or type(failure).__name__)
        raise
    except BaseException as failure:
        # Ctrl-C, or Prefect's worker stopping this process because its flow run was cancelled.
        if isinstance(failure, KeyboardInterrupt) or (burst_run and is_cancelled(client, burst_run)):
            word = "interrupted" if isinstance(failure, KeyboardInterrupt) else "cancelled in Prefect"
            ending = FinalStatus(JobStatus.CANCELLED, word)
        raise
    finally:
        if held.lost is None:
            try:
                ledger.jobs.set_status(job.id, ending.status, ending.error)
            finally:
                watch.stop_shards()
    return ending
