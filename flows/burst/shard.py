"""A shard: the flow run in which a warm worker runs a few hundred items through the recipe."""

from collections import Counter
from typing import Any

from prefect import State, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.states import Cancelled

from configs.documents.problems import InvalidInput
from configs.failures import PixelmillError
from configs.settings.settings import load_settings
from flows.burst.publish import publish_branches
from gpu_worker.device.runtime import get_runtime
from gpu_worker.shard.shard_run import ShardHalted, ShardRun
from steps.recipe import resolve_program
from steps.recipe.program import Program
from storage.ledger.lease import HeldLease, LeaseTaken, lease, shard_lease
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemState, JobRecord, JobStatus, ReviewVerdict, ShardState, StepCounts
from storage.objects.artefacts import StoreError
from storage.objects.open_store import open_store


class OtherLedger(PixelmillError):
    """The worker uses another ledger than the burst; the message names the setting."""


class RecipeNotKnown(PixelmillError):
    """The worker lacks a step, gate or engine of the job's recipe; the message names the remedy."""


@flow(name="shard", persist_result=False, validate_parameters=True)
def shard(job_id: str, shard: int, run: int) -> dict[str, int] | State[Any]:
    """Run the shard's pending items through the recipe. Returns the number of items in each state.

    A failing item never fails the shard. A permanent refusal by the store does, and the ledger records it; any other
    error is left to the burst to retry. A shard of an earlier run of the job does nothing, the shard of a cancelled job
    stops within seconds, and the second of two flow runs of a shard waits until the first is gone.
    """
    settings = load_settings()
    logger = get_run_logger()
    ledger = Ledger(settings.resolved_ledger_url, patient=True)

    def objection() -> str | None:
        try:
            newest, status = ledger.jobs.run_and_status(job_id)
        except LookupError as unknown:
            raise OtherLedger(
                f"this worker has another ledger than the burst ({unknown.args[0]}): give both the same "
                "PIXELMILL_LEDGER_URL, or on one machine the same PIXELMILL_HOME"
            ) from None
        if newest != run:
            return f"run {run} of the job is over, it is in run {newest}"
        return None if status is JobStatus.RUNNING else f"the job is {status.value}"

    try:
        if (reason := objection()) is not None:
            return Cancelled(message=f"Nothing was done: {reason}.")
        with lease(shard_lease(job_id, shard), ledger, wait=True, objection=objection, log=logger.info) as held:
            return _run_shard(ledger.jobs.get(job_id), shard, ledger, held)
    except LeaseTaken as taken:
        return Cancelled(message=f"Nothing was done: {taken}, and the job is over.")
    finally:
        ledger.close()


def _run_shard(job: JobRecord, shard: int, ledger: Ledger, held: HeldLease) -> dict[str, int] | State[Any]:
    identifier = str(flow_run.id)
    ledger.runs.set_shard(job.id, shard, ShardState.RUNNING, flow_run_id=identifier)
    try:
        _run_items(job, shard, ledger, held)
    except ShardHalted as halt:
        ledger.runs.set_shard(job.id, shard, ShardState.PENDING, flow_run_id=identifier)
        return Cancelled(message=f"Stopped: {halt}. What was computed is recorded.")
    except StoreError as error:
        if not error.retryable:
            ledger.runs.set_shard(job.id, shard, ShardState.FAILED, flow_run_id=identifier, error=str(error))
        raise
    ledger.runs.set_shard(job.id, shard, ShardState.DONE, flow_run_id=identifier)
    states = Counter(record.state for record in ledger.items.find(job.id, shard=shard))
    return {state.value: states[state] for state in ItemState}


def _program_of(job: JobRecord) -> Program:
    try:
        return resolve_program(job.recipe)
    except InvalidInput as refusal:
        raise RecipeNotKnown(
            f"this worker cannot run the recipe that {job.id} was begun with: {refusal}. Start it with what is missing "
            f"(PIXELMILL_CATALOGUE_PATH), then `pixelmill resume {job.id}`; or correct the recipe and `pixelmill run` "
            "the job file"
        ) from None


def _run_items(job: JobRecord, shard: int, ledger: Ledger, held: HeldLease) -> None:
    settings = load_settings()
    logger = get_run_logger()
    items = ledger.items.find(job.id, shard=shard, states=[ItemState.PENDING])
    logger.info("%d items to do", len(items))
    store = open_store(job.output, settings)
    branches = {step.id: StepCounts() for step in job.recipe.leaves}
    with ShardRun(
        job=job,
        program=_program_of(job),
        items=items,
        shard=shard,
        store=store,
        ledger=ledger,
        runtime=get_runtime(settings),
        settings=settings,
        accepted=ledger.reviews.images_with(job.id, ReviewVerdict.ACCEPTED),
    ) as shard_run:
        held.when_lost(shard_run.halt)
        for chunk, step in shard_run.schedule():

            @task(name=step.name, task_run_name=f"{step.id} {chunk.label}", cache_policy=NO_CACHE, persist_result=False)
            def run_step() -> str | None:
                try:
                    counts = shard_run.run_step(chunk, step)  # noqa: B023 - called at once, before the loop moves on
                except ShardHalted as halt:
                    return str(halt)  # the flow raises it: no task has failed
                branches[step.id] = branches.get(step.id, StepCounts()) + counts  # noqa: B023
                get_run_logger().info(
                    "%d computed, %d reused, %d skipped, %d failed in %.1f s",
                    counts.computed,
                    counts.reused,
                    counts.skipped,
                    counts.failed,
                    counts.seconds,
                )
                return None

            if (reason := run_step()) is not None:
                raise ShardHalted(reason)
    publish_branches(job, shard, branches)
