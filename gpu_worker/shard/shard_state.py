"""The state of a shard: its items with their images, and what its steps share."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from PIL import Image

from configs.catalogues.models import ModelRef
from configs.settings.settings import Settings
from gpu_worker.device.batch_sizes import BatchSizeCache
from gpu_worker.device.runtime import WorkerRuntime
from gpu_worker.shard.inputs import Inputs, Losses
from gpu_worker.shard.writer import PendingResult, Writer, Written
from gpu_worker.walk.item_path import NO_IMAGE, ItemPath, Rejection
from steps.contract import Fact
from steps.recipe.program import Program, Visit
from storage.images.png_recipe import Provenance
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemResult, ItemState, JobRecord

Facts = Future[Mapping[str, Fact]]


@dataclass(frozen=True, slots=True)
class Made:
    """An image that this shard made or found, and how to have it: items of the same fingerprint share it."""

    written: Written
    facts: Facts
    image: Image.Image | None  # None: in the store only


@dataclass(slots=True)
class RunningItem:
    """A path with its images. `alive` until the item has ended or waits for another round."""

    path: ItemPath
    written: dict[str, Written] = field(default_factory=dict)  # fingerprint -> its image
    measuring: dict[str, Facts] = field(default_factory=dict)  # visit id -> facts to come
    alive: bool = True
    _image: tuple[str, Image.Image] | None = None  # what the next step gets, with its fingerprint

    @property
    def image(self) -> Image.Image | None:
        """What the next step gets; None: not made yet, or to be read from the store."""
        if self._image is not None and self._image[0] != self.path.fingerprint:
            self._image = None  # a loop has gone back
        return self._image[1] if self._image is not None else None

    def drop_image(self) -> None:
        """From memory: it is in the store, or nobody needs it."""
        self._image = None

    @property
    def last(self) -> Written | None:
        """The image that the item has now."""
        return self.written[self.path.fingerprint] if self.path.fingerprint is not None else None

    def visit(self, visit: Visit, mark: Provenance, made: Made) -> None:
        self.path.visit(visit, mark, None)
        self.measuring[visit.id] = made.facts
        self.written[mark.fingerprint] = made.written
        if not visit.step.keeps_image:
            self._image = (mark.fingerprint, made.image) if made.image is not None else None

    def settle_facts(self) -> None:
        """Waits for the facts of the steps visited. Raises what measuring raised."""
        while self.measuring:
            visit_id, facts = next(iter(self.measuring.items()))
            self.path.facts[visit_id] = facts.result()
            del self.measuring[visit_id]

    def end(self) -> PendingResult:
        """How the item ends when no step is left."""
        images = {visit_id: self.written[fingerprint] for visit_id, fingerprint in self.path.images()}
        if not images:
            return PendingResult(self.path.item.name, ItemResult(ItemState.FAILED, NO_IMAGE))
        result = ItemResult(ItemState.DONE, warnings=tuple(self.path.warnings))
        return PendingResult(self.path.item.name, result, images)

    def refused(self, rejection: Rejection) -> PendingResult:
        """By a gate: a person may accept the image that the item has."""
        end = self.failed(rejection.step_id, rejection.reason, quarantined=True)
        return replace(end, result=replace(end.result, refused_image=self.path.fingerprint, refused_by=rejection.gate))

    def failed(self, step_id: str | None, error: str, *, quarantined: bool = False) -> PendingResult:
        """`quarantined`: another try as things are would fail as well."""
        self.alive = False
        self.drop_image()
        state = ItemState.QUARANTINED if quarantined else ItemState.FAILED
        return PendingResult(self.path.item.name, ItemResult(state, error, step_id))


@dataclass(slots=True)
class Chunk:
    """Items that go through a step together: one task run per step."""

    label: str
    items: list[RunningItem]

    @property
    def alive(self) -> list[RunningItem]:
        return [item for item in self.items if item.alive]


@dataclass(slots=True)
class ShardWork:
    """What all steps of a shard share."""

    job: JobRecord
    root: str  # of the store
    program: Program
    ledger: Ledger
    runtime: WorkerRuntime
    settings: Settings
    writer: Writer
    inputs: Inputs
    losses: Losses
    measurers: ThreadPoolExecutor
    keep_images: bool  # between the steps of a chunk; otherwise they are read from the store again
    made: dict[str, Made] = field(default_factory=dict)  # by fingerprint; without images
    sizes: BatchSizeCache = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = BatchSizeCache(self.ledger.fleet, lambda: self.runtime.device.name)

    def record_load(self, ref: ModelRef, seconds: float) -> None:
        """Tells the ledger that a model was loaded for this job."""
        self.ledger.runs.record_model_load(
            self.job.id, self.job.run, str(ref), self.runtime.name, seconds, self.price(seconds)
        )

    def price(self, seconds: float) -> float:
        """What so much time of the device costs."""
        return seconds * self.settings.price_per_hour / 3600
