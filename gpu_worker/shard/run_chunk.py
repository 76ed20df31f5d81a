"""One step over one chunk: the only module that combines branching, batches, store and ledger."""

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from PIL import Image

from gpu_worker.device.micro_batch import BatchOutcome, run_in_batches
from gpu_worker.monitor.failures import describe, full_traceback
from gpu_worker.monitor.logs import log_fields
from gpu_worker.shard.step_images import Chunk, RunningItem, ShardWork, SharedImage, StepFacts, StepFrames
from gpu_worker.shard.stored_images import NewArtefact
from gpu_worker.shard.writer import PendingOutcome, PendingResult, RecordBatch, Written, completed, pixel_bytes
from gpu_worker.walk.item_context import ItemError, JobMismatch, Rejection, provenance_of
from steps.contract import Fact, Frame, StepResult
from steps.recipe.program import Visit
from storage.images.png_recipe import ImageRecipe, Provenance
from storage.ledger.records import Outcome, StepCounts
from storage.objects.artefacts import DamagedObject, MissingObject, StoreError

logger = logging.getLogger(__name__)
MAX_KEPT_BYTES = 2**30  # decoded pixels that a chunk keeps for its next step


@dataclass(frozen=True, slots=True)
class _PendingItem:
    """An item that goes through the step, and the provenance of its image to come."""

    running: RunningItem
    provenance: Provenance


class ChunkStep:
    """Takes the items of a chunk that are still alive through one step."""

    def __init__(self, work: ShardWork, chunk: Chunk, visit: Visit) -> None:
        self._work, self._chunk, self._visit = work, chunk, visit
        self._frames = StepFrames(work, visit, self._fail_with)
        self._facts = StepFacts(work, visit)
        self._is_last = visit.id == work.program.visits[-1].id
        self._batch: RecordBatch = work.writer.open_batch(visit.id, visit.name)
        self._counts = dict.fromkeys(Outcome, 0)
        self._seconds = 0.0

    @staticmethod
    def is_wanted(work: ShardWork, chunk: Chunk, visit: Visit) -> bool:
        """Return whether any item goes through the step; waits for the facts that decide it."""
        if work.program.asks_before(visit) and any(running.measuring for running in chunk.alive):
            for running in chunk.alive:
                with suppress(Exception):  # shows when the step runs
                    running.settle_facts()
        return any(_may_want(running, visit) for running in chunk.alive)

    def run(self) -> StepCounts:
        """Skip, reuse, compute or fail every living item, or put it aside because its input image is lost.

        Raises StoreError, ModelLoadError, BrokenInstallation, DeviceLost and the ledger's errors; outcomes until then
        are recorded.
        """
        try:
            with log_fields(step=self._visit.id):
                pending_items = self._identify(self._branch())
                self._compute(self._reuse(pending_items))
                if self._is_last:  # even if no item went through it: their paths end here
                    self._end_items()
        finally:
            self._batch.close()
            self._frames.release(self._chunk.items)
            if not self._work.keep_images:
                for running in self._chunk.items:
                    running.drop_image()
        counts = {outcome.value: count for outcome, count in self._counts.items()}
        return StepCounts(**counts, seconds=self._seconds)

    # -- selection of items ----------------------------------------------------------------------------------------
    def _branch(self) -> list[RunningItem]:
        wanted = []
        for running in self._chunk.alive:
            wants = self._wants(running)
            if wants:
                wanted.append(running)
            elif wants is not None and not self._visit.is_again:
                self._add(running, Outcome.SKIPPED)
        return wanted

    def _wants(self, running: RunningItem) -> bool | None:
        """Return whether the item goes through the step, or None if it has ended before."""
        try:
            if self._work.program.asks_before(self._visit) and not _settled(running):
                return None  # its image could not be written: the writer has failed the item
            wanted = running.path.wants(self._visit)
        except ItemError as error:
            self._fail(running, str(error))
            return None
        if running.path.rejected is not None:
            self._quarantine(running, running.path.rejected)
            return None
        return bool(wanted)

    def _end_items(self) -> None:
        """Take the decisions after the last step, and end all living items."""
        for running in self._chunk.alive:
            try:
                if self._work.program.asks_at_end and not _settled(running):
                    continue
                running.path.finish()
            except ItemError as error:
                self._fail(running, str(error))
                continue
            if running.path.rejected is not None:
                self._quarantine(running, running.path.rejected)
            else:
                self._batch.add(PendingOutcome(running.path.item.index, None, artefact=running.last, end=running.end()))
                running.alive = False
                running.drop_image()

    def _quarantine(self, running: RunningItem, rejection: Rejection) -> None:
        """Quarantine an item that a gate refused. Its image stays in the store for review."""
        logger.info("quarantined by %s: %s", rejection.gate, rejection.reason, extra={"item": running.path.item.name})
        last = running.last
        self._batch.add(PendingOutcome(running.path.item.index, None, artefact=last, end=running.refused(rejection)))

    def _identify(self, items: Iterable[RunningItem]) -> list[_PendingItem]:
        items, digests = list(items), self._work.job.model_digests
        self._frames.fetch_files(items)
        pending_items = []
        for running in items:
            try:
                provenance = provenance_of(
                    self._visit, running.path.item, running.path.fingerprint, digests, self._work.inputs.digest
                )
                pending_items.append(_PendingItem(running, provenance))
            except JobMismatch:
                raise
            except Exception as error:
                self._fail_with(running, error)
        return pending_items

    # -- existing images -------------------------------------------------------------------------------------------
    def _reuse(self, pending_items: list[_PendingItem]) -> dict[str, list[_PendingItem]]:
        """Finish the items whose image exists; return the others by fingerprint."""
        made = self._work.made
        unknown = list({pending.provenance.fingerprint for pending in pending_items} - made.keys())
        for fingerprint, artefact in self._work.ledger.steps.find_artefacts(self._work.root, unknown).items():
            made[fingerprint] = SharedImage(completed(artefact), completed(artefact.facts), None)
        to_compute: dict[str, list[_PendingItem]] = {}
        for pending in pending_items:
            fingerprint = pending.provenance.fingerprint
            if fingerprint in made:
                made[fingerprint] = self._facts.completed(pending.running, made[fingerprint])
                self._pass_on(pending, made[fingerprint], Outcome.REUSED)
            else:
                to_compute.setdefault(fingerprint, []).append(pending)
        return to_compute

    # -- computation -----------------------------------------------------------------------------------------------
    def _compute(self, waiting: dict[str, list[_PendingItem]]) -> None:
        """Compute one item per fingerprint; the others reuse its image, or try themselves if it failed."""
        while waiting:
            leaders = {group[0].running.path.item.index: group[0] for group in waiting.values()}
            made: dict[str, SharedImage] = {}
            for frames in self._frames.read([leader.running for leader in leaders.values()]):
                made |= self._compute_frames(frames, leaders)
            for fingerprint in list(waiting):
                followers = waiting.pop(fingerprint)[1:]
                if fingerprint in made:
                    for follower in followers:
                        self._pass_on(follower, made[fingerprint], Outcome.REUSED)
                elif followers:
                    waiting[fingerprint] = followers

    def _compute_frames(self, frames: list[Frame], pending_items: dict[int, _PendingItem]) -> dict[str, SharedImage]:
        made: dict[str, SharedImage] = {}
        work, step = self._work, self._visit.step
        work.runtime.check_models(step.model_refs(), work.job.model_digests)
        with work.runtime.context(work.record_load) as context:
            for ref in step.model_refs():
                context.model(ref)  # before the first micro-batch, whose time would contain the load
            outcomes = run_in_batches(
                step,
                frames,
                context,
                work.settings.micro_batch,
                name=self._visit.name,
                model_digests=work.job.model_digests,
                free_memory=work.runtime.free_memory,
                sizes=work.sizes,
            )
            for outcome in outcomes:
                self._seconds += outcome.seconds * len(outcome.frames)
                made.update(self._accept(outcome, pending_items))
        return made

    def _accept(self, outcome: BatchOutcome, pending_items: dict[int, _PendingItem]) -> dict[str, SharedImage]:
        if outcome.error is not None:
            for frame in outcome.frames:
                running = pending_items[frame.item.index].running
                self._fail(running, outcome.error, outcome.traceback, quarantined=outcome.quarantined)
            return {}
        made = {}
        for frame, result in zip(outcome.frames, outcome.results, strict=True):
            for warning in result.warnings:
                logger.info("warning: %s", warning, extra={"item": frame.item.name})
            pending = pending_items[frame.item.index]
            fingerprint = pending.provenance.fingerprint
            made[fingerprint] = self._write(pending, frame, result)
            self._work.made[fingerprint] = SharedImage(made[fingerprint].written, made[fingerprint].facts, None)
            self._pass_on(pending, made[fingerprint], Outcome.COMPUTED, outcome.seconds)
        return made

    def _write(self, pending: _PendingItem, frame: Frame, result: StepResult) -> SharedImage:
        if self._visit.step.keeps_image:
            assert pending.running.last is not None
            found = result.kept_facts
            judged = _judged(pending.running.last, pending.provenance.fingerprint, self._visit.name, found)
            return SharedImage(judged, completed(found), None)
        facts = self._facts.of_new(frame, result)
        artefact = NewArtefact(
            fingerprint=pending.provenance.fingerprint,
            step=self._visit.name,
            image=result.image,
            encoding=result.encoding,
            recipe=ImageRecipe(
                (*pending.running.path.state.chain, pending.provenance), self._work.runtime.made_with(self._visit.step)
            ),
            facts=facts,
        )
        with log_fields(item=pending.running.path.item.name):
            written = self._work.writer.write(artefact)
        # Only PNG preserves the exact pixels. The next step must see the image that a later run would read.
        kept = self._work.keep_images and result.encoding.format == "png" and self._has_room(result.image)
        return SharedImage(written, facts, result.image if kept else None)

    def _has_room(self, image: Image.Image) -> bool:
        """Return whether the chunk may keep another image; otherwise the next step reads it from the store."""
        kept = sum(pixel_bytes(running.image) for running in self._chunk.items if running.image is not None)
        return kept + pixel_bytes(image) <= MAX_KEPT_BYTES

    # -- outcomes --------------------------------------------------------------------------------------------------
    def _pass_on(self, pending: _PendingItem, made: SharedImage, outcome: Outcome, seconds: float = 0.0) -> None:
        pending.running.visit(self._visit, pending.provenance, made)
        self._add(pending.running, outcome, seconds=seconds, made=made)

    def _fail_with(self, running: RunningItem, error: Exception) -> None:
        message = str(error) if isinstance(error, ItemError) else describe(error)
        self._fail(running, message, full_traceback(error))

    def _fail(
        self, running: RunningItem, error: str, traceback: str | None = None, *, quarantined: bool = False
    ) -> None:
        end = running.failed(self._visit.id, error, quarantined=quarantined)
        about = {"item": running.path.item.name, "trace": traceback}
        logger.warning("item %s: %s", "quarantined" if quarantined else "failed", error, extra=about)
        self._add(running, Outcome.FAILED, error=error, traceback=traceback, end=end)

    def _add(
        self,
        running: RunningItem,
        outcome: Outcome,
        *,
        seconds: float = 0.0,
        made: SharedImage | None = None,
        error: str | None = None,
        traceback: str | None = None,
        end: PendingResult | None = None,
    ) -> None:
        written = made.written if made else None
        self._counts[outcome] += 1
        cost = self._work.price(seconds)
        self._batch.add(PendingOutcome(running.path.item.index, outcome, seconds, written, error, traceback, end, cost))


def _may_want(running: RunningItem, visit: Visit) -> bool:
    try:
        return running.path.wants(visit) is not False
    except ItemError:
        return False  # it fails there without the step


def _settled(running: RunningItem) -> bool:
    """Wait for the facts of the item's images, and return whether they are there; if not, put the item aside.

    Raises ItemError, and StoreError if the store fails.
    """
    try:
        running.settle_facts()
    except (MissingObject, DamagedObject):
        pass  # the item will start again
    except (ItemError, StoreError):
        raise
    except Exception as error:
        logger.debug("could not be written: %s", describe(error))
    else:
        return True
    running.alive = False
    running.drop_image()
    return False


def _judged(image: Written, fingerprint: str, step: str, facts: Mapping[str, Fact]) -> Written:
    """Return the same stored image under the fingerprint of a step that only measured it."""
    judged: Written = Future()

    def take(image: Written) -> None:
        try:
            record = image.result()
        except BaseException as error:  # any failure applies to this one as well
            judged.set_exception(error)
            return
        judged.set_result(
            replace(record, fingerprint=fingerprint, step=step, facts=dict(facts), created_at=datetime.now(UTC))
        )

    image.add_done_callback(take)
    return judged
