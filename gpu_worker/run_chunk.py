"""One step over one chunk: the only place that knows branch, batch, store and ledger together."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from configs.model_spec import ModelRef
from configs.settings import Settings
from gpu_worker.failures import describe, full_traceback
from gpu_worker.inputs import Inputs
from gpu_worker.item_path import ItemError, JobMismatch, mark_step, wants
from gpu_worker.live_item import Chunk, Facts, LiveItem, Made
from gpu_worker.losses import Losses
from gpu_worker.micro_batch import BatchOutcome, run_in_batches
from gpu_worker.new_artefact import NewArtefact
from gpu_worker.on_demand import OnDemand
from gpu_worker.runtime import WorkerRuntime
from gpu_worker.working_sizes import WorkingSizes
from gpu_worker.writer import End, Entry, Unit, Writer, known
from steps.contract import Fact, Frame, StepResult
from steps.facts import measure
from steps.resolve import ResolvedStep
from storage.artefacts import DamagedObject, MissingObject, StoreError
from storage.ledger import Ledger
from storage.png_recipe import ImageRecipe, StepMark
from storage.records import ArtefactRecord, JobRecord, Outcome, StepCounts


@dataclass(slots=True)
class ShardWork:
    """What all steps of a shard share."""

    job: JobRecord
    root: str  # of the store
    last_step: str  # id
    ledger: Ledger
    runtime: WorkerRuntime
    settings: Settings
    writer: Writer
    inputs: Inputs
    losses: Losses
    measurers: ThreadPoolExecutor
    measure_ahead: frozenset[str]  # ids of the steps whose facts a later condition may wait for
    keep_images: bool  # between the steps of a chunk; otherwise they are read from the store again
    made: dict[str, Made] = field(default_factory=dict)  # by fingerprint; without images
    sizes: WorkingSizes = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = WorkingSizes(self.ledger, lambda: self.runtime.device.name)

    def record_load(self, ref: ModelRef, seconds: float) -> None:
        """Tells the ledger that a model was loaded for this job."""
        self.ledger.record_model_load(self.job.id, self.job.run, str(ref), self.runtime.name, seconds)


@dataclass(frozen=True, slots=True)
class _Visit:
    """An item that goes through the step, and what its image will be known by."""

    live: LiveItem
    mark: StepMark


class ChunkStep:
    """Takes the items of a chunk that are still alive through one step."""

    def __init__(self, work: ShardWork, chunk: Chunk, step: ResolvedStep) -> None:
        self._work, self._chunk, self._step = work, chunk, step
        self._is_last = step.id == work.last_step
        self._unit: Unit = work.writer.open_unit(step.id)
        self._counts = dict.fromkeys(Outcome, 0)
        self._seconds = 0.0

    def run(self) -> StepCounts:
        """Every living item is skipped, reused, computed, failed, or put aside because its input image is lost.

        Raises StoreError, ModelLoadError, DeviceLost and the ledger's errors; what was done until then is recorded.
        """
        try:
            visits = self._mark(self._branch())
            self._compute(self._reuse(visits))
        finally:
            self._unit.seal()
            self._release()
        counts = {outcome.value: count for outcome, count in self._counts.items()}
        return StepCounts(**counts, seconds=self._seconds)

    # -- who goes through the step ---------------------------------------------------------------------------------
    def _branch(self) -> list[LiveItem]:
        wanted = []
        for live in self._chunk.alive:
            if self._step.when is not None and not _settled(live):
                continue  # its image could not be written: the writer has failed the item
            try:
                if wants(live.path, self._step):
                    wanted.append(live)
                else:
                    self._add(live, Outcome.SKIPPED)
            except ItemError as error:
                self._fail(live, str(error))
        return wanted

    def _mark(self, lives: Iterable[LiveItem]) -> list[_Visit]:
        lives = list(lives)
        for live in lives:
            for location in self._locations(live):
                self._work.inputs.fetch_file(location)
        visits = []
        for live in lives:
            try:
                mark = mark_step(live.path, self._step, self._work.job.model_digests, self._work.inputs.digest)
                visits.append(_Visit(live, mark))
            except JobMismatch:
                raise
            except Exception as error:
                self._fail_with(live, error)
        return visits

    # -- what exists already ---------------------------------------------------------------------------------------
    def _reuse(self, visits: list[_Visit]) -> dict[str, list[_Visit]]:
        """Settles the visits whose image exists; returns the others by fingerprint."""
        made = self._work.made
        unknown = list({visit.mark.fingerprint for visit in visits} - made.keys())
        for fingerprint, artefact in self._work.ledger.find_artefacts(self._work.root, unknown).items():
            made[fingerprint] = Made(known(artefact), _ready(artefact.facts), None)
        to_compute: dict[str, list[_Visit]] = {}
        for visit in visits:
            if visit.mark.fingerprint in made:
                self._pass_on(visit, made[visit.mark.fingerprint], Outcome.REUSED)
            else:
                to_compute.setdefault(visit.mark.fingerprint, []).append(visit)
        return to_compute

    # -- what has to be computed -----------------------------------------------------------------------------------
    def _compute(self, waiting: dict[str, list[_Visit]]) -> None:
        """Computes one visit a fingerprint; the others of its group reuse its image, or try themselves if it failed."""
        while waiting:
            leaders = {visits[0].live.path.item.index: visits[0] for visits in waiting.values()}
            made = self._compute_leaders(leaders)
            for fingerprint in list(waiting):
                followers = waiting.pop(fingerprint)[1:]
                if fingerprint in made:
                    for follower in followers:
                        self._pass_on(follower, made[fingerprint], Outcome.REUSED)
                elif followers:
                    waiting[fingerprint] = followers

    def _compute_leaders(self, visits: dict[int, _Visit]) -> dict[str, Made]:
        frames = self._frames(visits.values())
        made: dict[str, Made] = {}
        if not frames:
            return made
        work, step = self._work, self._step.step
        work.runtime.check_models(step.model_refs(), work.job.model_digests)
        with work.runtime.context(work.record_load) as context:
            for ref in step.model_refs():
                context.model(ref)  # before the first micro-batch, whose time would contain the load
            outcomes = run_in_batches(
                step,
                frames,
                context,
                work.settings.micro_batch,
                name=self._step.name,
                model_digests=work.job.model_digests,
                free_memory=work.runtime.free_memory,
                sizes=work.sizes,
            )
            for outcome in outcomes:
                self._seconds += outcome.seconds * len(outcome.frames)
                made.update(self._accept(outcome, visits))
        return made

    def _accept(self, outcome: BatchOutcome, visits: dict[int, _Visit]) -> dict[str, Made]:
        if outcome.error is not None:
            for frame in outcome.frames:
                live = visits[frame.item.index].live
                self._fail(live, outcome.error, outcome.traceback, quarantined=outcome.quarantined)
            return {}
        made = {}
        for frame, result in zip(outcome.frames, outcome.results, strict=True):
            visit = visits[frame.item.index]
            fingerprint = visit.mark.fingerprint
            made[fingerprint] = self._write(visit, result)
            self._work.made[fingerprint] = Made(made[fingerprint].written, made[fingerprint].facts, None)
            self._pass_on(visit, made[fingerprint], Outcome.COMPUTED, outcome.seconds)
        return made

    def _write(self, visit: _Visit, result: StepResult) -> Made:
        facts = self._measured(result)
        written = self._work.writer.write(
            NewArtefact(
                fingerprint=visit.mark.fingerprint,
                step=self._step.name,
                image=result.image,
                encoding=result.encoding,
                recipe=ImageRecipe(steps=(*visit.live.path.marks, visit.mark)),
                facts=facts,
            )
        )
        # Only PNG surely gives back the pixels it was given. The next step must see what a later run would read.
        kept = self._work.keep_images and result.encoding.format == "png"
        return Made(written, facts, result.image if kept else None)

    def _measured(self, result: StepResult) -> Facts:
        if self._step.id in self._work.measure_ahead:
            return self._work.measurers.submit(_facts_of, result)
        return OnDemand(lambda: _facts_of(result))

    # -- the images that the step works on ---------------------------------------------------------------------------
    def _frames(self, visits: Iterable[_Visit]) -> list[Frame]:
        """Without those of items whose image or file cannot be had."""
        visits = list(visits)
        fetching: dict[int, Callable[[], Any]] = {}
        for visit in visits:
            if visit.live.image is None and visit.live.last is not None and (stored := _stored(visit.live)) is not None:
                fetching[visit.live.path.item.index] = self._work.inputs.fetch_image(stored).result
        frames = []
        for visit in visits:
            frame = self._frame(visit.live, fetching.get(visit.live.path.item.index))
            if frame is not None:
                frames.append(frame)
        return frames

    def _frame(self, live: LiveItem, fetched: Callable[[], Any] | None) -> Frame | None:
        if not live.alive:
            return None
        try:
            image = live.image if fetched is None else fetched()
        except (MissingObject, DamagedObject) as error:
            assert live.last is not None
            self._work.losses.add(live.path.item, live.last.result(), damaged=isinstance(error, DamagedObject))
            live.alive = False
            return None
        item = live.path.item
        try:
            files = {
                file: self._work.inputs.item_image(getattr(item, file)) for file in self._step.step.item_files(item)
            }
        except Exception as error:
            self._fail_with(live, error)
            return None
        return Frame(item, image, files)

    # -- outcomes --------------------------------------------------------------------------------------------------
    def _pass_on(self, visit: _Visit, made: Made, outcome: Outcome, seconds: float = 0.0) -> None:
        visit.live.visit(self._step, visit.mark, made)
        self._add(visit.live, outcome, seconds=seconds, made=made)

    def _fail_with(self, live: LiveItem, error: Exception) -> None:
        message = str(error) if isinstance(error, ItemError) else describe(error)
        self._fail(live, message, full_traceback(error))

    def _fail(self, live: LiveItem, error: str, traceback: str | None = None, *, quarantined: bool = False) -> None:
        end = live.failed(self._step.id, error, quarantined=quarantined)
        self._add(live, Outcome.FAILED, error=error, traceback=traceback, end=end)

    def _add(
        self,
        live: LiveItem,
        outcome: Outcome,
        *,
        seconds: float = 0.0,
        made: Made | None = None,
        error: str | None = None,
        traceback: str | None = None,
        end: End | None = None,
    ) -> None:
        if self._is_last and end is None:
            end = live.end()
            live.alive, live.image = False, None
        written = made.written if made else None
        self._counts[outcome] += 1
        self._unit.add(Entry(live.path.item.index, outcome, seconds, written, error, traceback, end))

    # -- tidying ---------------------------------------------------------------------------------------------------
    def _locations(self, live: LiveItem) -> list[str]:
        item = live.path.item
        files = (getattr(item, file) for file in self._step.step.item_files(item))
        return [location for location in files if location is not None]

    def _release(self) -> None:
        items = self._chunk.items
        # The newest image of an item that goes on may have been fetched for a later step.
        used = {
            mark.fingerprint for live in items for mark in (live.path.marks[:-1] if live.alive else live.path.marks)
        }
        self._work.inputs.release(
            locations={location for live in items for location in self._locations(live)}, fingerprints=used
        )
        if not self._work.keep_images:
            for live in items:
                live.image = None


def _settled(live: LiveItem) -> bool:
    try:
        live.settle_facts()
    except Exception:
        live.alive, live.image = False, None
        return False
    return True


def _stored(live: LiveItem) -> ArtefactRecord | None:
    """The item's newest image once it is in the store. None, and no longer alive, if it could not be encoded."""
    assert live.last is not None
    try:
        return live.last.result()
    except StoreError:
        raise
    except Exception:
        live.alive = False
        return None


def _facts_of(result: StepResult) -> dict[str, Fact]:
    return {**measure(result.image), **result.facts}


def _ready(facts: Any) -> Facts:
    future: Future[Any] = Future()
    future.set_result(facts)
    return future
