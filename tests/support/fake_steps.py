"""Small real parts for the worker's tests."""

import time
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image, ImageOps
from pydantic import Field

from configs.catalogues.models import ModelRef
from configs.documents.fields import Item
from gpu_worker.device.batch_sizes import BatchPlan
from steps.contract import Encoding, Frame, MemoryFallback, Step, StepContext, StepResult


def items(count: int, **fields: Any) -> list[Item]:
    """Items `i0`, `i1` … whose seeds are their places."""
    return [Item(**{"index": index, "name": f"i{index}", "seed": index} | fields) for index in range(count)]


def frames(count: int, size: tuple[int, int] = (8, 8)) -> list[Frame]:
    return [Frame(item, Image.new("RGB", size, (item.index % 256, 0, 0))) for item in items(count)]


class PlainContext:
    """A StepContext of a worker without models."""

    device = "cpu"
    fallback = MemoryFallback.NONE

    def model(self, ref: ModelRef) -> Any:
        raise LookupError(ref)


class CountingStep(Step):
    """Appends the name of every item it computes to a file, which survives the process."""

    log: str | None = Field(default=None, exclude=True, description="File that tells what was computed.")

    def note(self, frames: Sequence[Frame]) -> None:
        if self.log is not None:
            with Path(self.log).open("a") as file:
                file.write("".join(f"{type(self).__name__} {frame.item.name}\n" for frame in frames))


class Fill(CountingStep):
    """An image of one colour that depends on the item's seed alone."""

    makes_image: ClassVar[bool] = True
    own_facts: ClassVar[dict[str, str]] = {"filled": "Always true."}

    width: int = 8
    fail: tuple[str, ...] = Field(default=(), exclude=True, description="Names of items that fail.")
    seconds: float = Field(default=0, exclude=True, description="How long a micro-batch takes.")

    def identity(self, item: Item) -> dict[str, Any]:
        return {"width": self.width, "seed": item.seed}

    def batch_key(self, frame: Frame) -> Hashable:
        return self.width

    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        for frame in frames:
            if frame.item.name in self.fail:
                raise RuntimeError(f"cannot fill {frame.item.name}")
        self.note(frames)
        time.sleep(self.seconds)
        return [
            StepResult(
                Image.new("RGB", (self.width, 8), (frame.item.seed % 251, frame.item.seed % 13, 99)), {"filled": True}
            )
            for frame in frames
        ]


class Invert(CountingStep):
    """The negative."""

    fail: tuple[str, ...] = Field(default=(), exclude=True)
    fail_seeds: frozenset[int] = Field(default=frozenset(), exclude=True)
    tag: int = 0

    def batch_key(self, frame: Frame) -> Hashable:
        assert frame.image is not None
        return frame.image.size

    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        for frame in frames:
            if frame.item.name in self.fail or frame.item.seed in self.fail_seeds:
                raise ValueError(f"cannot invert {frame.item.name}")
        self.note(frames)
        return [StepResult(ImageOps.invert(frame.image)) for frame in frames if frame.image is not None]


class Lossy(CountingStep):
    """The image, stored as JPEG."""

    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        self.note(frames)
        return [StepResult(frame.image, {}, Encoding("jpeg", 60)) for frame in frames if frame.image is not None]


class NeedsMemory(Step):
    """Runs out of memory above `fits` frames, below the fallback `needs`, and for the items of `never` always."""

    fits: int = 2
    needs: MemoryFallback = MemoryFallback.NONE
    has: tuple[MemoryFallback, ...] = ()
    never: tuple[str, ...] = Field(default=(), exclude=True)
    message: str = "CUDA out of memory. Tried to allocate 2.00 GiB"

    def batch_key(self, frame: Frame) -> Hashable:
        return None

    def fallbacks(self, context: StepContext) -> tuple[MemoryFallback, ...]:
        return self.has

    def memory_key(self, frame: Frame) -> Any:
        return frame.image.size if frame.image is not None else None

    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        SEEN.append(BatchPlan(len(frames), context.fallback))
        impossible = any(frame.item.name in self.never for frame in frames)
        if len(frames) > self.fits or context.fallback < self.needs or impossible:
            raise RuntimeError(self.message)
        return [StepResult(frame.image) for frame in frames if frame.image is not None]


SEEN: list[BatchPlan] = []  # the micro-batches that NeedsMemory was given


class Paint(Step):
    """The colour that a model knows."""

    makes_image: ClassVar[bool] = True

    model: str

    def model_refs(self) -> tuple[ModelRef, ...]:
        return (ModelRef(self.model, "cutout"),)

    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        return [StepResult(Image.new("RGB", (4, 4), context.model(self.model_refs()[0]))) for _ in frames]


def load_color(source: str, options: Mapping[str, Any], device: str) -> str:
    """An engine whose weights are a file with the name of a colour."""
    return Path(source).read_text()
