"""What all steps of a shard share."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from configs.catalogues.models import ModelRef
from configs.settings.settings import Settings
from gpu_worker.device.runtime import WorkerRuntime
from gpu_worker.device.working_sizes import BatchSizeCache
from gpu_worker.shard.inputs import Inputs
from gpu_worker.shard.live_item import Made
from gpu_worker.shard.losses import Losses
from gpu_worker.shard.writer import Writer
from steps.recipe.program import Program
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord


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
        self.sizes = BatchSizeCache(self.ledger, lambda: self.runtime.device.name)

    def record_load(self, ref: ModelRef, seconds: float) -> None:
        """Tells the ledger that a model was loaded for this job."""
        self.ledger.record_model_load(
            self.job.id, self.job.run, str(ref), self.runtime.name, seconds, self.price(seconds)
        )

    def price(self, seconds: float) -> float:
        """What so much time of the device costs."""
        return seconds * self.settings.price_per_hour / 3600
