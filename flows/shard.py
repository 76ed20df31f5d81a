"""A shard: the flow run in which a warm worker takes a few hundred items through the recipe."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from configs.settings import load_settings
from gpu_worker.runtime import get_runtime
from gpu_worker.shard_run import ShardRun
from steps.resolve import resolve_steps
from storage.artefacts import StoreError
from storage.ledger import Ledger
from storage.open_store import open_store
from storage.records import ItemState, JobRecord, JobStatus, ShardState

HEARTBEAT_SECONDS = 10.0  # a fraction of the time after which a burst takes a silent shard for lost


@flow(name="shard", flow_run_name="{job_id} shard {shard}", persist_result=False, validate_parameters=True)
def shard(job_id: str, shard: int, run: int) -> dict[str, int]:
    """Takes the shard's pending items through the recipe; items already done are left alone.

    Returns how many items it left in each state. One bad item never fails the shard. A store that refuses for good
    fails it, and the ledger then says why; anything else that raises is the burst's to try again. A shard left over
    from an earlier run of the job does nothing.
    """
    settings = load_settings()
    ledger = Ledger(settings.resolved_ledger_url)
    try:
        job = ledger.job(job_id)
        if job.run != run or job.status is not JobStatus.RUNNING:
            get_run_logger().info("run %d of the job is over: nothing to do", run)
            return {}
        identifier = str(flow_run.id)
        ledger.set_shard(job_id, shard, ShardState.RUNNING, flow_run_id=identifier)
        try:
            with _heartbeat(lambda: ledger.set_shard(job_id, shard, ShardState.RUNNING, flow_run_id=identifier)):
                counts = _run_items(job, shard, ledger)
        except StoreError as error:
            if not error.retryable:
                ledger.set_shard(job_id, shard, ShardState.FAILED, flow_run_id=identifier, error=str(error))
            raise
        ledger.set_shard(job_id, shard, ShardState.DONE, flow_run_id=identifier)
        return counts
    finally:
        ledger.close()


def _run_items(job: JobRecord, shard: int, ledger: Ledger) -> dict[str, int]:
    settings = load_settings()
    logger = get_run_logger()
    items = ledger.items(job.id, shard=shard, states=[ItemState.PENDING])
    logger.info("%d items to do", len(items))
    store = open_store(job.output, settings)
    with ShardRun(
        job=job,
        steps=resolve_steps(job.recipe),
        items=items,
        shard=shard,
        store=store,
        ledger=ledger,
        runtime=get_runtime(settings),
        settings=settings,
    ) as shard_run:
        for chunk, step in shard_run.schedule():

            @task(
                name=step.name,
                task_run_name=f"{step.id} {chunk.label}",
                cache_policy=NO_CACHE,
                persist_result=False,
            )
            def run_step() -> None:
                counts = shard_run.run_step(chunk, step)  # noqa: B023 - called at once, before the loop moves on
                get_run_logger().info(
                    "%d computed, %d reused, %d skipped, %d failed in %.1f s",
                    counts.computed,
                    counts.reused,
                    counts.skipped,
                    counts.failed,
                    counts.seconds,
                )

            run_step()
    states = ledger.items(job.id, shard=shard)
    return {state.value: sum(record.state is state for record in states) for state in ItemState}


@contextmanager
def _heartbeat(beat: Callable[[], None]) -> Iterator[None]:
    """Calls `beat` every few seconds while the body runs, so that a lost worker is told from a slow one."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            beat()

    thread = threading.Thread(target=loop, name="shard-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
