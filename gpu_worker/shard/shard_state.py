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
from gpu_worker.walk.item_context import NO_IMAGE, Rejection
from gpu_worker.walk.item_path import ItemPath
from steps.contract import Fact
from steps.recipe.program import Program, Visit
from storage.images.png_recipe import Provenance
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemResult, ItemState, JobRecord

Facts = Future[Mapping[str, Fact]]


@dataclass(frozen=True, slots=True)
class SharedImage:
    """An image that this shard made or found. Items with the same fingerprint share it."""

    written: Written
    facts: Facts
    image: Image.Image | None  # None if it is only in the store


@dataclass(slots=True)
class RunningItem:
    """An item's path with its images. `alive` until the item has ended or waits for another round."""

    path: ItemPath
    written: dict[str, Written] = field(default_factory=dict)  # fingerprint -> its image
    measuring: dict[str, Facts] = field(default_factory=dict)  # visit id -> facts to come
    alive: bool = True
    _image: tuple[str, Image.Image] | None = None  # fingerprint and image for the next step

    @property
    def image(self) -> Image.Image | None:
        """The image for the next step, or None if it is not made yet or has to be read from the store."""
        if self._image is not None and self._image[0] != self.path.fingerprint:
            self._image = None  # a loop has gone back
        return self._image[1] if self._image is not None else None

    def drop_image(self) -> None:
        """Release the image from memory, if it is in the store or no longer needed."""
        self._image = None

    @property
    def last(self) -> Written | None:
        """The item's newest image, or None before its first."""
        return self.written[self.path.fingerprint] if self.path.fingerprint is not None else None

    def visit(self, visit: Visit, provenance: Provenance, made: SharedImage) -> None:
        self.path.visit(visit, provenance, None)
        self.measuring[visit.id] = made.facts
        self.written[provenance.fingerprint] = made.written
        if not visit.step.keeps_image:
            self._image = (provenance.fingerprint, made.image) if made.image is not None else None

    def settle_facts(self) -> None:
        """Wait for the facts of the visits so far. Raises the errors of measuring."""
        while self.measuring:
            visit_id, facts = next(iter(self.measuring.items()))
            self.path.facts[visit_id] = facts.result()
            del self.measuring[visit_id]

    def end(self) -> PendingResult:
        """Return the item's end after its last step."""
        images = {visit_id: self.written[fingerprint] for visit_id, fingerprint in self.path.images()}
        if not images:
            return PendingResult(self.path.item.name, ItemResult(ItemState.FAILED, NO_IMAGE))
        result = ItemResult(ItemState.DONE, warnings=self.path.state.warnings)
        return PendingResult(self.path.item.name, result, images)

    def refused(self, rejection: Rejection) -> PendingResult:
        """Return the end of an item that a gate refused; a person may accept its image."""
        end = self.failed(rejection.step_id, rejection.reason, quarantined=True)
        return replace(end, result=replace(end.result, refused_image=self.path.fingerprint, refused_by=rejection.gate))

    def failed(self, step_id: str | None, error: str, *, quarantined: bool = False) -> PendingResult:
        """Return the end of an item that failed. `quarantined`: another try would fail in the same way."""
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
    """The objects that all steps of a shard share."""

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
    made: dict[str, SharedImage] = field(default_factory=dict)  # by fingerprint; without decoded images
    sizes: BatchSizeCache = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = BatchSizeCache(self.ledger.fleet, lambda: self.runtime.device.name)

    def record_load(self, ref: ModelRef, seconds: float) -> None:
        """Record that a model was loaded for this job."""
        self.ledger.runs.record_model_load(
            self.job.id, self.job.run, str(ref), self.runtime.name, seconds, self.price(seconds)
        )

    def price(self, seconds: float) -> float:
        """Return the cost of so many seconds of the device."""
        return seconds * self.settings.price_per_hour / 3600
