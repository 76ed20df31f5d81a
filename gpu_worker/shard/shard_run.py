"""A shard: the run of a few hundred items through the recipe, chunk by chunk or step by step."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import zip_longest
from types import TracebackType
from typing import Self

from configs.documents.fields import Item
from configs.failures import PixelmillError
from configs.settings.settings import Settings
from gpu_worker.device import telemetry
from gpu_worker.device.runtime import WorkerRuntime
from gpu_worker.monitor.failures import describe
from gpu_worker.monitor.logs import shared_fields
from gpu_worker.shard.run_chunk import ChunkStep
from gpu_worker.shard.step_images import Chunk, RunningItem, ShardWork, item_locations
from gpu_worker.shard.stored_images import Inputs, Losses
from gpu_worker.shard.writer import PendingOutcome, PendingResult, Writer
from gpu_worker.walk.item_path import ItemPath
from gpu_worker.walk.prediction import Prediction, predict
from steps.recipe.program import Program, Visit
from storage.inputs.sources import read_item_file
from storage.ledger.ledger import Ledger
from storage.ledger.records import ArtefactRecord, ItemRecord, ItemResult, ItemState, JobRecord, Outcome, StepCounts
from storage.objects.artefacts import ArtefactStore

logger = logging.getLogger(__name__)

Pair = tuple[Chunk, Visit]


class ShardHalted(PixelmillError):
    """The shard was asked to stop. Images computed until then are written and recorded."""


class ShardRun:
    """Takes items through the recipe. A context manager that writes and records all computed images when left.

    with ShardRun(...) as run:
        for chunk, step in run.schedule():
            counts = run.run_step(chunk, step)
    """

    def __init__(
        self,
        *,
        job: JobRecord,
        program: Program,
        items: Sequence[ItemRecord],
        shard: int,
        store: ArtefactStore,
        ledger: Ledger,
        runtime: WorkerRuntime,
        settings: Settings,
        accepted: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        """Take the pending ones of the items.

        `accepted` maps an item's name to the fingerprints of its images that a person has accepted.
        """
        self._store, self._shard, self._accepted = store, shard, accepted or {}
        self._items = {record.item.index: record.item for record in items if record.state is ItemState.PENDING}
        self._fields = ExitStack()
        # Models that fit together stay while chunks stream through all steps; otherwise each is loaded once, for all
        # chunks of its step.
        models = {ref for visit in program.visits for ref in visit.step.model_refs()}
        self._streams = runtime.fits(models)
        telemetry.work_begins((visit.name for visit in program.visits), models)
        self._ahead_thread = ThreadPoolExecutor(1, thread_name_prefix="pixelmill-ahead")
        self._ahead: Future[None] | None = None
        self._next: Pair | None = None
        losses = Losses()
        self._work = ShardWork(
            job=job,
            root=store.root,
            program=program,
            ledger=ledger,
            runtime=runtime,
            settings=settings,
            writer=Writer(
                store=store,
                ledger=ledger,
                job=job,
                threads=settings.writer_threads,
                queue=settings.writer_queue,
                on_lost=lambda index, artefact: losses.add(self._items[index], artefact),
            ),
            inputs=Inputs(store, partial(read_item_file, settings=settings), max_pixels=settings.max_pixels),
            losses=losses,
            measurers=ThreadPoolExecutor(settings.writer_threads, thread_name_prefix="pixelmill-measure"),
            keep_images=self._streams,
        )

    def schedule(self) -> Iterator[Pair]:
        """Yield what to run, in order: chunk by chunk if the recipe's models fit together, else step by step.

        The caller runs each pair before it takes the next. At the end, items whose stored images turned out to be lost
        start again.
        """
        yield from self._ordered(self._chunks(list(self._items.values()), f"shard {self._shard} chunk"))
        while True:
            self._work.writer.flush()
            again, given_up, fingerprints = self._work.losses.take(self._store, self._work.ledger)
            for fingerprint in fingerprints:
                self._work.made.pop(fingerprint, None)
            if given_up:
                self._give_up(given_up)
            if not again:
                return
            logger.warning("%d items start again: the store has lost some of their images", len(again))
            self._work.writer.restart(item.index for item in again)
            yield from self._ordered(self._chunks(again, f"shard {self._shard} repair"))

    def run_step(self, chunk: Chunk, visit: Visit) -> StepCounts:
        """Take the chunk's living items through the step. One bad item is an outcome, not an error.

        Errors concern the whole shard: ShardHalted, StoreError, ModelLoadError, BrokenInstallation, DeviceLost and the
        ledger's errors.
        """
        if self._ahead is not None:
            self._ahead.result()  # it reads the paths that this step changes
        following, self._next = self._next, None
        # Within a chunk the next step's inputs are being made; only another chunk's can be fetched.
        self._ahead = None
        if following is not None and following[0] is not chunk:
            self._ahead = self._ahead_thread.submit(self._fetch_ahead, *following)
        return ChunkStep(self._work, chunk, visit).run()

    def halt(self, reason: str) -> None:
        """Make the current step raise ShardHalted after its micro-batch. Call from another thread."""
        self._work.writer.halt(ShardHalted(reason))

    def finish(self) -> None:
        """Wait until everything is written and recorded. Raises the first error of writing."""
        self._work.writer.flush()

    def __enter__(self) -> Self:
        self._fields.enter_context(shared_fields(job=self._work.job.id, shard=self._shard))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._ahead_thread.shutdown(wait=True, cancel_futures=True)
            self._work.writer.__exit__(kind, error, trace)
        finally:
            self._work.inputs.close()
            self._work.measurers.shutdown(wait=True, cancel_futures=True)
            self._fields.close()

    # -- the order ---------------------------------------------------------------------------------------------------
    def _chunks(self, items: Sequence[Item], label: str) -> list[Chunk]:
        size = self._work.settings.chunk_size
        starts = range(0, len(items), size)
        return [
            Chunk(f"{label} {number}", [self._running(item) for item in items[start : start + size]])
            for number, start in enumerate(starts)
        ]

    def _running(self, item: Item) -> RunningItem:
        return RunningItem(ItemPath(item, self._work.program, self._accepted.get(item.name, frozenset())))

    def _ordered(self, chunks: Sequence[Chunk]) -> Iterator[Pair]:
        if self._streams:
            pairs = [(chunk, visit) for chunk in chunks for visit in self._work.program.visits]
        else:
            pairs = [(chunk, visit) for visit in self._work.program.visits for chunk in chunks]
        for pair, following in zip_longest(pairs, pairs[1:]):
            if not pair[0].alive:
                continue
            self._next = following
            if pair[1].is_again and not ChunkStep.is_wanted(self._work, *pair):
                self.run_step(*pair)  # no item visits it: not worth a task run
            else:
                yield pair

    def _give_up(self, items: Sequence[Item]) -> None:
        """Fail items whose images vanish faster than they are made."""
        last = self._work.program.visits[-1]
        error = (
            "the store keeps losing this item's images while the job runs: check what else deletes objects there, "
            "such as a lifecycle rule"
        )
        batch = self._work.writer.open_batch(last.id, last.name)
        for item in items:
            end = PendingResult(item.name, ItemResult(ItemState.FAILED, error, last.id))
            batch.add(PendingOutcome(item.index, Outcome.FAILED, error=error, end=end))
        batch.close()

    # -- fetching ahead ----------------------------------------------------------------------------------------------
    def _fetch_ahead(self, chunk: Chunk, visit: Visit) -> None:
        """Fetch the chunk's inputs while another one computes. A failure shows again when an input is used."""
        visits = self._work.program.visits
        try:
            self._fetch_inputs(chunk, visits[visit.at :] if self._streams else [visit])
        except Exception as error:
            logger.info("could not fetch ahead for %s: %s", chunk.label, describe(error))

    def _fetch_inputs(self, chunk: Chunk, visits: Sequence[Visit]) -> None:
        for running in chunk.alive:
            for location in item_locations(running, visits[0]):
                self._work.inputs.fetch_file(location)
        newest = {running.path.item.index: _written(running) for running in chunk.alive}
        computing: set[int] = set()
        walk = predict(
            [running.path.copy() for running in chunk.alive],
            visits,
            model_digests=self._work.job.model_digests,
            find_artefacts=partial(self._work.ledger.steps.find_artefacts, self._work.root),
            digest_file=self._work.inputs.digest,
        )
        for _, predicted in walk:
            for one in predicted:
                index = one.path.item.index
                if one.prediction is Prediction.REUSE:
                    newest[index] = one.artefact
                elif one.prediction is Prediction.COMPUTE and index not in computing:
                    computing.add(index)
                    if (artefact := newest[index]) is not None:
                        self._work.inputs.fetch_image(artefact)


def _written(running: RunningItem) -> ArtefactRecord | None:
    """Return the item's newest image if it is in the store already, else None."""
    if running.image is None and running.last is not None and running.last.done() and running.last.exception() is None:
        return running.last.result()
    return None
