"""A shard: a few hundred items on their way through the recipe, chunk by chunk or step by step."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import zip_longest
from types import TracebackType
from typing import Self

from configs.item import Item
from configs.settings import Settings
from gpu_worker.failures import describe
from gpu_worker.inputs import Inputs
from gpu_worker.item_path import Foresight, ItemPath, foresee
from gpu_worker.live_item import Chunk, LiveItem
from gpu_worker.losses import Losses
from gpu_worker.run_chunk import ChunkStep, ShardWork
from gpu_worker.runtime import WorkerRuntime
from gpu_worker.writer import End, Entry, Writer
from steps.resolve import ResolvedStep
from storage.artefacts import ArtefactStore
from storage.ledger import Ledger
from storage.records import ArtefactRecord, ItemRecord, ItemState, JobRecord, Outcome, StepCounts
from storage.sources import read_uri

logger = logging.getLogger(__name__)

Pair = tuple[Chunk, ResolvedStep]


class ShardHalted(Exception):
    """Somebody wants the shard to stop. What was computed until then is written and recorded."""


class ShardRun:
    """Takes items through the recipe. Use as a context manager: leaving it writes and records all that is computed.

    with ShardRun(...) as run:
        for chunk, step in run.schedule():
            counts = run.run_step(chunk, step)
    """

    def __init__(
        self,
        *,
        job: JobRecord,
        steps: Sequence[ResolvedStep],
        items: Sequence[ItemRecord],
        shard: int,
        store: ArtefactStore,
        ledger: Ledger,
        runtime: WorkerRuntime,
        settings: Settings,
    ) -> None:
        """Items that are not pending are left alone."""
        self._steps, self._store, self._settings, self._shard = steps, store, settings, shard
        self._items = {record.item.index: record.item for record in items if record.state is ItemState.PENDING}
        self._losses = Losses()
        # Models that fit together stay while chunks stream through all steps; otherwise each is loaded once, for all
        # chunks of its step.
        streams = runtime.fits({ref for step in steps for ref in step.step.model_refs()})
        self._ahead_thread = ThreadPoolExecutor(1, thread_name_prefix="pixelmill-ahead")
        self._ahead: Future[None] | None = None
        self._next: Pair | None = None
        self._streams = streams
        self._work = ShardWork(
            job=job,
            root=store.root,
            last_step=steps[-1].id,
            ledger=ledger,
            runtime=runtime,
            settings=settings,
            writer=Writer(
                store=store,
                ledger=ledger,
                job=job,
                threads=settings.writer_threads,
                queue=settings.writer_queue,
                on_lost=lambda index, artefact: self._losses.add(self._items[index], artefact),
            ),
            inputs=Inputs(store, partial(read_uri, settings=settings), max_pixels=settings.max_pixels),
            losses=self._losses,
            measurers=ThreadPoolExecutor(settings.writer_threads, thread_name_prefix="pixelmill-measure"),
            measure_ahead=_awaited(steps),
            keep_images=streams,
        )

    def schedule(self) -> Iterator[Pair]:
        """What to run, in order: chunk by chunk if the recipe's models fit together, else step by step.

        The caller runs each pair before it asks for the next. At the end come items whose stored images turned out to
        be lost, from the start again.
        """
        yield from self._ordered(self._chunks(list(self._items.values()), f"shard {self._shard} chunk"))
        while True:
            self._work.writer.flush()
            again, given_up, fingerprints = self._losses.take(self._store, self._work.ledger)
            for fingerprint in fingerprints:
                self._work.made.pop(fingerprint, None)
            if given_up:
                self._give_up(given_up)
            if not again:
                return
            logger.warning("%d items go round again: the store has lost images of theirs", len(again))
            yield from self._ordered(self._chunks(again, f"shard {self._shard} repair"))

    def run_step(self, chunk: Chunk, step: ResolvedStep) -> StepCounts:
        """Takes the chunk's living items through the step. One bad item is an outcome, not an error.

        What it raises concerns the whole shard: ShardHalted, StoreError, ModelLoadError, DeviceLost and the ledger's
        errors.
        """
        if self._ahead is not None:
            self._ahead.result()  # it reads the paths that this step moves
        following, self._next = self._next, None
        # Within a chunk the next step's inputs are being made; only another chunk's can be fetched.
        self._ahead = None
        if following is not None and following[0] is not chunk:
            self._ahead = self._ahead_thread.submit(self._fetch_ahead, *following)
        return ChunkStep(self._work, chunk, step).run()

    def halt(self, reason: str) -> None:
        """Has the step in hand raise ShardHalted after its micro-batch. To be called from another thread."""
        self._work.writer.halt(ShardHalted(reason))

    def finish(self) -> None:
        """Waits until everything is written and recorded. Raises the first error of doing so."""
        self._work.writer.flush()

    def __enter__(self) -> Self:
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

    # -- the order ---------------------------------------------------------------------------------------------------
    def _chunks(self, items: Sequence[Item], label: str) -> list[Chunk]:
        size = self._settings.chunk_size
        starts = range(0, len(items), size)
        return [
            Chunk(f"{label} {number}", [LiveItem(ItemPath(item)) for item in items[start : start + size]])
            for number, start in enumerate(starts)
        ]

    def _ordered(self, chunks: Sequence[Chunk]) -> Iterator[Pair]:
        if self._streams:
            pairs = [(chunk, step) for chunk in chunks for step in self._steps]
        else:
            pairs = [(chunk, step) for step in self._steps for chunk in chunks]
        for pair, following in zip_longest(pairs, pairs[1:]):
            if pair[0].alive:
                self._next = following
                yield pair

    def _give_up(self, items: Sequence[Item]) -> None:
        """Fails items whose images vanish faster than they are made."""
        step_id = self._steps[-1].id
        error = (
            "the store keeps losing this item's images while the job runs: check what else deletes objects there, "
            "such as a lifecycle rule"
        )
        unit = self._work.writer.open_unit(step_id)
        for item in items:
            end = End(item.name, ItemState.FAILED, error=error, error_step=step_id)
            unit.add(Entry(item.index, Outcome.FAILED, error=error, end=end))
        unit.seal()

    # -- fetching ahead ----------------------------------------------------------------------------------------------
    def _fetch_ahead(self, chunk: Chunk, step: ResolvedStep) -> None:
        """Fetches what the chunk will need while another one computes. A failure shows when it is used."""
        try:
            self._fetch_inputs(chunk, self._steps[self._steps.index(step) :] if self._streams else [step])
        except Exception as error:
            logger.info("could not fetch ahead for %s: %s", chunk.label, describe(error))

    def _fetch_inputs(self, chunk: Chunk, steps: Sequence[ResolvedStep]) -> None:
        for live in chunk.alive:
            for file in steps[0].step.item_files(live.path.item):
                if (location := getattr(live.path.item, file)) is not None:
                    self._work.inputs.fetch_file(location)
        newest = {live.path.item.index: _written(live) for live in chunk.alive}
        computing: set[int] = set()
        walk = foresee(
            [live.path.copy() for live in chunk.alive],
            steps,
            model_digests=self._work.job.model_digests,
            find_artefacts=self._known,
            digest_file=self._work.inputs.digest,
        )
        for _, foreseen in walk:
            for one in foreseen:
                index = one.path.item.index
                if one.foresight is Foresight.REUSE:
                    newest[index] = one.artefact
                elif one.foresight is Foresight.COMPUTE and index not in computing:
                    computing.add(index)
                    if (artefact := newest[index]) is not None:
                        self._work.inputs.fetch_image(artefact)

    def _known(self, fingerprints: Sequence[str]) -> Mapping[str, ArtefactRecord]:
        return self._work.ledger.find_artefacts(self._work.root, fingerprints)


def _awaited(steps: Sequence[ResolvedStep]) -> frozenset[str]:
    """The steps before the last condition over facts: to measure their images must not wait for slow uploads."""
    asking = [place for place, step in enumerate(steps) if step.when and any(n[0] == "facts" for n in step.when.names)]
    return frozenset(step.id for step in steps[: max(asking, default=0)])


def _written(live: LiveItem) -> ArtefactRecord | None:
    """The item's newest image, if it has one and that is in the store by now."""
    if live.image is None and live.last is not None and live.last.done() and live.last.exception() is None:
        return live.last.result()
    return None
