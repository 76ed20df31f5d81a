"""Jobs on a simulated device of little memory."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from pydantic import Field

from configs.catalogues import catalogue
from configs.catalogues.models import ModelCatalogue, Role
from configs.documents.fields import Item
from configs.settings.settings import Settings
from gpu_worker.device.batch_sizes import BatchPlan
from gpu_worker.device.runtime import WorkerRuntime
from steps.contract import Frame, Step, StepContext, StepResult
from steps.generate import Generate
from steps.upscale import Upscale
from storage.objects.folder_store import FolderStore
from tests.support import ROOT
from tests.support.fake_steps import items
from tests.support.mill import Mill, resolved

STARTER = ROOT / "starter" / "models"
UPSCALER = {"arch": "SRVGGNetCompact", "num_feat": 32, "num_conv": 12, "scale": 4}  # the starter's

# Images of 48 pixels fit whole; of 64 in tiles of 32 + 16; of 96 only on the host; of 160 nowhere.
UPSCALER_ROOM = {"room": 2500, "host_room": 5000}
SIDES = (48, 64, 64, 96, 160)

TRIED: list[BatchPlan] = []  # by the steps below, in order


class Picture(Step):
    """Waves of the side that stands at the item's place."""

    makes_image: ClassVar[bool] = True

    sides: tuple[int, ...] = Field(default=SIDES)

    def identity(self, item: Item) -> dict[str, Any]:
        return {"side": self.sides[item.index], "seed": item.seed}

    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        return [StepResult(waves(self.sides[frame.item.index], frame.item.seed)) for frame in frames]


class WatchedUpscale(Upscale):
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        TRIED.append(BatchPlan(len(frames), context.fallback))
        return super().run(frames, context)


class WatchedGenerate(Generate):
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        TRIED.append(BatchPlan(len(frames), context.fallback))
        return super().run(frames, context)


def waves(side: int, seed: int) -> Image.Image:
    """RGB, smooth as pictures are."""
    row, column = np.mgrid[:side, :side] + seed
    channels = [np.sin(row / (3 + channel)) * np.cos(column / (5 - channel)) for channel in range(3)]
    return Image.fromarray((127 + 120 * np.stack(channels, axis=-1)).astype(np.uint8))


def upscaling(folder: Path, *, small: bool = True, out: str = "out") -> Mill:
    """`small`: on the device of little memory; else the same with the ordinary engine."""
    options = UPSCALER | (UPSCALER_ROOM if small else {})
    engine = "small_realesrgan" if small else "realesrgan"
    return mill(folder, WatchedUpscale(model="tested"), "upscaler", engine, STARTER / "upscaler-x4.pth", options, out)


def mill(
    folder: Path,
    step: Step,
    role: Role,
    engine: str,
    source: Path,
    options: Mapping[str, Any],
    out: str = "out",
    sides: tuple[int, ...] = SIDES,
) -> Mill:
    """A job of Picture and this step, whose model `tested` is what the other arguments say."""
    catalogue.extend([Path(__file__).parent / "engines.yaml"])
    models = folder / "models"
    models.mkdir(exist_ok=True)
    part = {"engine": engine, "source": str(source), "options": dict(options)}
    (models / "tested.yaml").write_text(json.dumps({"name": "tested", "parts": {role: part}}))
    settings = Settings.model_validate({"home": folder / "home", "device": "cpu", "models_path": (models,)})
    known = ModelCatalogue(settings)
    return Mill(
        folder,
        [resolved("picture", Picture(sides=sides)), resolved("made", step)],
        items(len(sides), prompt="a red potion"),
        runtime=WorkerRuntime(settings),
        model_digests={str(ref): known.digest(ref) for ref in step.model_refs()},
        store=FolderStore(folder / out),
        micro_batch=4,
    )


def print_tries_of_another_run(folder: str) -> None:
    """Upscales the job in the folder once more, into a store of its own, and prints what was tried."""
    job = upscaling(Path(folder), out="elsewhere")
    job.start()
    job.ledger.items.reset("job")
    job.run()
    print(json.dumps(TRIED))
