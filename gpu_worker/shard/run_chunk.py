"""One step over one chunk: the only place that knows branch, batch, store and ledger together."""

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from PIL import Image

from gpu_worker.device.micro_batch import BatchOutcome, run_in_batches
from gpu_worker.monitor.failures import describe, full_traceback
from gpu_worker.monitor.log_lines import log_fields
from gpu_worker.shard.new_artefact import NewArtefact
from gpu_worker.shard.shard_state import Chunk, Made, RunningItem, ShardWork
from gpu_worker.shard.step_images import StepFacts, StepFrames, known_facts
from gpu_worker.shard.writer import PendingOutcome, PendingResult, RecordBatch, Written, known, pixel_bytes
from gpu_worker.walk.item_path import ItemError, Rejection
from gpu_worker.walk.step_mark import JobMismatch, provenance_of
from steps.contract import Fact, Frame, StepResult
from steps.recipe.program import Visit
from storage.images.png_recipe import ImageRecipe, Provenance
from storage.ledger.records import Outcome, StepCounts
from storage.objects.artefacts import DamagedObject, MissingObject, StoreError

logger = logging.getLogger(__name__)
MAX_KEPT_BYTES = 2**30  # of decoded pixels, that a chunk keeps for its next step


@dataclass(frozen=True, slots=True)
class _PendingItem:
    """An item that goes through the step, and what its image will be known by."""

    live: RunningItem
    mark: Provenance


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
        """Whether any item goes through it, once what they are asked for is measured."""
        if work.program.asks_before(visit) and any(live.measuring for live in chunk.alive):
            for live in chunk.alive:
                with suppress(Exception):  # shows when the step runs
                    live.settle_facts()
        return any(_may_want(live, visit) for live in chunk.alive)

    def run(self) -> StepCounts:
        """Every living item is skipped, reused, computed, failed, or put aside because its input image is lost.

        Raises StoreError, ModelLoadError, BrokenInstallation, DeviceLost and the ledger's errors; what was done until
        then is recorded.
        """
        try:
            with log_fields(step=self._visit.id):
                travelers = self._mark(self._branch())
                self._compute(self._reuse(travelers))
                if self._is_last:  # also where nobody came: their way ends here
                    self._end_items()
        finally:
            self._batch.close()
            self._frames.release(self._chunk.items)
            if not self._work.keep_images:
                for live in self._chunk.items:
                    live.drop_image()
        counts = {outcome.value: count for outcome, count in self._counts.items()}
        return StepCounts(**counts, seconds=self._seconds)

    # -- who goes through the step ---------------------------------------------------------------------------------
    def _branch(self) -> list[RunningItem]:
        wanted = []
        for live in self._chunk.alive:
            wants = self._wants(live)
            if wants:
                wanted.append(live)
            elif wants is not None and not self._visit.is_again:
                self._add(live, Outcome.SKIPPED)
        return wanted

    def _wants(self, live: RunningItem) -> bool | None:
        """Whether the item goes through the step; None if it has come to its end before."""
        try:
            if self._work.program.asks_before(self._visit) and not _settled(live):
                return None  # its image could not be written: the writer has failed the item
            wanted = live.path.wants(self._visit)
        except ItemError as error:
            self._fail(live, str(error))
            return None
        if live.path.rejected is not None:
            self._quarantine(live, live.path.rejected)
            return None
        return bool(wanted)

    def _end_items(self) -> None:
        """No step is left: the decisions behind the last one, and the ends of all that live."""
        for live in self._chunk.alive:
            try:
                if self._work.program.asks_at_end and not _settled(live):
                    continue
                live.path.finish()
            except ItemError as error:
                self._fail(live, str(error))
                continue
            if live.path.rejected is not None:
                self._quarantine(live, live.path.rejected)
            else:
                self._batch.add(PendingOutcome(live.path.item.index, None, artefact=live.last, end=live.end()))
                live.alive = False
                live.drop_image()

    def _quarantine(self, live: RunningItem, rejection: Rejection) -> None:
        """By a gate. The image stays in the store, for people to look at."""
        logger.info("quarantined by %s: %s", rejection.gate, rejection.reason, extra={"item": live.path.item.name})
        last = live.last
        self._batch.add(PendingOutcome(live.path.item.index, None, artefact=last, end=live.refused(rejection)))

    def _mark(self, lives: Iterable[RunningItem]) -> list[_PendingItem]:
        lives = list(lives)
        self._frames.fetch_files(lives)
        travelers = []
        for live in lives:
            try:
                mark = provenance_of(live.path, self._visit, self._work.job.model_digests, self._work.inputs.digest)
                travelers.append(_PendingItem(live, mark))
            except JobMismatch:
                raise
            except Exception as error:
                self._fail_with(live, error)
        return travelers

    # -- what exists already ---------------------------------------------------------------------------------------
    def _reuse(self, travelers: list[_PendingItem]) -> dict[str, list[_PendingItem]]:
        """Settles the travelers whose image exists; returns the others by fingerprint."""
        made = self._work.made
        unknown = list({traveler.mark.fingerprint for traveler in travelers} - made.keys())
        for fingerprint, artefact in self._work.ledger.steps.find_artefacts(self._work.root, unknown).items():
            made[fingerprint] = Made(known(artefact), known_facts(artefact.facts), None)
        to_compute: dict[str, list[_PendingItem]] = {}
        for traveler in travelers:
            fingerprint = traveler.mark.fingerprint
            if fingerprint in made:
                made[fingerprint] = self._facts.completed(traveler.live, made[fingerprint])
                self._pass_on(traveler, made[fingerprint], Outcome.REUSED)
            else:
                to_compute.setdefault(fingerprint, []).append(traveler)
        return to_compute

    # -- what has to be computed -----------------------------------------------------------------------------------
    def _compute(self, waiting: dict[str, list[_PendingItem]]) -> None:
        """Computes one item a fingerprint; the others of its group reuse its image, or try themselves if it failed."""
        while waiting:
            leaders = {travelers[0].live.path.item.index: travelers[0] for travelers in waiting.values()}
            made = self._compute_leaders(leaders)
            for fingerprint in list(waiting):
                followers = waiting.pop(fingerprint)[1:]
                if fingerprint in made:
                    for follower in followers:
                        self._pass_on(follower, made[fingerprint], Outcome.REUSED)
                elif followers:
                    waiting[fingerprint] = followers

    def _compute_leaders(self, travelers: dict[int, _PendingItem]) -> dict[str, Made]:
        made: dict[str, Made] = {}
        for frames in self._frames.read([traveler.live for traveler in travelers.values()]):
            made.update(self._compute_frames(frames, travelers))
        return made

    def _compute_frames(self, frames: list[Frame], travelers: dict[int, _PendingItem]) -> dict[str, Made]:
        made: dict[str, Made] = {}
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
                made.update(self._accept(outcome, travelers))
        return made

    def _accept(self, outcome: BatchOutcome, travelers: dict[int, _PendingItem]) -> dict[str, Made]:
        if outcome.error is not None:
            for frame in outcome.frames:
                live = travelers[frame.item.index].live
                self._fail(live, outcome.error, outcome.traceback, quarantined=outcome.quarantined)
            return {}
        made = {}
        for frame, result in zip(outcome.frames, outcome.results, strict=True):
            traveler = travelers[frame.item.index]
            fingerprint = traveler.mark.fingerprint
            made[fingerprint] = self._write(traveler, frame, result)
            self._work.made[fingerprint] = Made(made[fingerprint].written, made[fingerprint].facts, None)
            self._pass_on(traveler, made[fingerprint], Outcome.COMPUTED, outcome.seconds)
        return made

    def _write(self, traveler: _PendingItem, frame: Frame, result: StepResult) -> Made:
        if self._visit.step.keeps_image:
            assert traveler.live.last is not None
            judged = _judged(traveler.live.last, traveler.mark.fingerprint, self._visit.name, result.facts)
            return Made(judged, known_facts(result.facts), None)
        facts = self._facts.of_new(frame, result)
        artefact = NewArtefact(
            fingerprint=traveler.mark.fingerprint,
            step=self._visit.name,
            image=result.image,
            encoding=result.encoding,
            recipe=ImageRecipe(
                (*traveler.live.path.marks, traveler.mark), self._work.runtime.made_with(self._visit.step)
            ),
            facts=facts,
        )
        with log_fields(item=traveler.live.path.item.name):
            written = self._work.writer.write(artefact)
        # Only PNG surely gives back the pixels it was given. The next step must see what a later run would read.
        kept = self._work.keep_images and result.encoding.format == "png" and self._has_room(result.image)
        return Made(written, facts, result.image if kept else None)

    def _has_room(self, image: Image.Image) -> bool:
        """Whether the chunk may keep another image; else the next step reads it from the store."""
        kept = sum(pixel_bytes(live.image) for live in self._chunk.items if live.image is not None)
        return kept + pixel_bytes(image) <= MAX_KEPT_BYTES

    # -- outcomes --------------------------------------------------------------------------------------------------
    def _pass_on(self, traveler: _PendingItem, made: Made, outcome: Outcome, seconds: float = 0.0) -> None:
        traveler.live.visit(self._visit, traveler.mark, made)
        self._add(traveler.live, outcome, seconds=seconds, made=made)

    def _fail_with(self, live: RunningItem, error: Exception) -> None:
        message = str(error) if isinstance(error, ItemError) else describe(error)
        self._fail(live, message, full_traceback(error))

    def _fail(self, live: RunningItem, error: str, traceback: str | None = None, *, quarantined: bool = False) -> None:
        end = live.failed(self._visit.id, error, quarantined=quarantined)
        about = {"item": live.path.item.name, "trace": traceback}
        logger.warning("item %s: %s", "quarantined" if quarantined else "failed", error, extra=about)
        self._add(live, Outcome.FAILED, error=error, traceback=traceback, end=end)

    def _add(
        self,
        live: RunningItem,
        outcome: Outcome,
        *,
        seconds: float = 0.0,
        made: Made | None = None,
        error: str | None = None,
        traceback: str | None = None,
        end: PendingResult | None = None,
    ) -> None:
        written = made.written if made else None
        self._counts[outcome] += 1
        cost = self._work.price(seconds)
        self._batch.add(PendingOutcome(live.path.item.index, outcome, seconds, written, error, traceback, end, cost))


def _may_want(live: RunningItem, visit: Visit) -> bool:
    try:
        return live.path.wants(visit) is not False
    except ItemError:
        return False  # it fails there, which takes no step


def _settled(live: RunningItem) -> bool:
    """Whether the facts of the item's images are there. Raises ItemError, and StoreError if the store fails."""
    try:
        live.settle_facts()
    except (MissingObject, DamagedObject):
        pass  # the item goes round again
    except (ItemError, StoreError):
        raise
    except Exception as error:
        logger.debug("could not be written: %s", describe(error))
    else:
        return True
    live.alive = False
    live.drop_image()
    return False


def _judged(image: Written, fingerprint: str, step: str, facts: Mapping[str, Fact]) -> Written:
    """The same stored image under the fingerprint of a step that only measured it."""
    judged: Written = Future()

    def take(image: Written) -> None:
        try:
            record = image.result()
        except BaseException as error:  # whatever it is concerns this one likewise
            judged.set_exception(error)
            return
        judged.set_result(
            replace(record, fingerprint=fingerprint, step=step, facts=dict(facts), created_at=datetime.now(UTC))
        )

    image.add_done_callback(take)
    return judged
