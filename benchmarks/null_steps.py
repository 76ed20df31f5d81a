"""Steps that cost next to nothing, so that what is left is the cost of the pipeline; and a device that only sleeps.

A benchmark adds them to the catalogue by `PIXELMILL_CATALOGUE_PATH=benchmarks/catalogue.yaml`, with the repository's
root on `PYTHONPATH`.
"""

import json
import os
import time
from collections.abc import Hashable, Sequence
from random import Random

from PIL import Image, ImageChops
from pydantic import Field
from typing_extensions import override

from configs.item import Item
from configs.model_spec import ModelRef
from steps.contract import Frame, Step, StepContext, StepResult

COMPUTE_LOG = "BENCHMARK_COMPUTE_LOG"  # variable that names a file: one JSON line for each micro-batch


class _Null(Step):
    seconds: float = Field(default=0.0, ge=0, le=60, description="What the simulated device takes for each image.")

    @override
    def batch_key(self, frame: Frame) -> Hashable:
        return frame.image.size if frame.image else None

    @override
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        started = time.time()
        if self.seconds:
            time.sleep(self.seconds * len(frames))
        results = [StepResult(self.make(frame)) for frame in frames]
        _log(type(self).__name__, frames, started)
        return results

    def make(self, frame: Frame) -> Image.Image:
        raise NotImplementedError


class NullGenerate(_Null):
    """An image of one color, drawn from the item's seed; items whose variable `poison` is true fail."""

    makes_image = True

    size: int = Field(default=64, ge=1, le=4096, description="Side, pixels.")

    @override
    def identity(self, item: Item) -> dict[str, object]:
        return super().identity(item) | {"seed": item.seed}

    @override
    def make(self, frame: Frame) -> Image.Image:
        if frame.item.vars.get("poison"):
            raise ValueError(f"{frame.item.name} is poisoned")
        color = tuple(Random(frame.item.seed).randbytes(3))
        return Image.new("RGB", (self.size, self.size), color)


class NullPass(_Null):
    """The negative of the image."""

    @override
    def make(self, frame: Frame) -> Image.Image:
        assert frame.image is not None
        return ImageChops.invert(frame.image.convert("RGB"))


class NullModel(NullPass):
    """The negative, by a step that names a model: whoever needs the step has to load it."""

    model: str = Field(description="Name of a model with an upscaler.")

    @override
    def model_refs(self) -> tuple[ModelRef, ...]:
        return (ModelRef(self.model, "upscaler"),)


def _log(step: str, frames: Sequence[Frame], started: float) -> None:
    path = os.environ.get(COMPUTE_LOG)
    if not path:
        return
    line = {
        "step": step,
        "items": [frame.item.name for frame in frames],
        "pid": os.getpid(),
        "started": started,
        "ended": time.time(),
    }
    # One write with O_APPEND: lines of several workers do not mix.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (json.dumps(line) + "\n").encode())
    finally:
        os.close(descriptor)
