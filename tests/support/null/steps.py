"""Steps that cost next to nothing, so that what is left is the cost of the pipeline; and a device that only sleeps.

Commands use them with `PIXELMILL_CATALOGUE_PATH=tests/support/null/catalogue.yaml` and the repository's root on
`PYTHONPATH`.
"""

import hashlib
import json
import os
import time
from collections.abc import Hashable, Sequence
from random import Random
from typing import Any, ClassVar

from PIL import Image, ImageChops
from pydantic import Field
from typing_extensions import override

from configs.catalogues.models import ModelRef
from configs.documents.fields import Item
from steps.contract import Frame, Step, StepContext, StepResult

Color = tuple[int, int, int]

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


def drawn(prompt: str, seed: int) -> Color:
    """What NullDraw paints."""
    red, green, blue = hashlib.sha256(f"{prompt}\n{seed}".encode()).digest()[:3]
    return red, green, blue


def shifted(color: Color, by: int) -> Color:
    """What NullShade makes of it."""
    red, green, blue = color
    return (red + by) % 256, (green + 2 * by) % 256, (blue + 3 * by) % 256


def score(color: Color) -> float:
    """0 … 0.999, any value about as often."""
    red, green, blue = color
    return (red * 101 + green * 57 + blue * 31) % 1000 / 1000


def vote(prompt: str, color: Color) -> float:
    """0 … 0.996: what NullJudge says of it."""
    return hashlib.sha256(prompt.encode() + bytes(color)).digest()[0] / 257


class _Scored(_Null):
    """Images of one color, with a fact that follows from it: ways through a recipe can be worked out by hand."""

    own_facts: ClassVar[dict[str, str]] = {"score": "0 … 0.999, from the color."}

    @override
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        return [StepResult(made.image, {"score": score(color_of(made.image))}) for made in super().run(frames, context)]


class NullDraw(_Scored):
    """An image of one color, drawn from the item's prompt and seed."""

    makes_image = True

    size: int = Field(default=8, ge=1, le=4096, description="Side, pixels.")
    lift: int = Field(default=0, ge=0, le=255, description="Shifts the color.")

    @override
    def identity(self, item: Item) -> dict[str, Any]:
        return super().identity(item) | {"prompt": item.prompt, "seed": item.seed}

    @override
    def make(self, frame: Frame) -> Image.Image:
        color = shifted(drawn(frame.item.prompt or "", frame.item.seed), self.lift)
        return Image.new("RGB", (self.size, self.size), color)


class NullShade(_Scored):
    """The image with its color shifted."""

    by: int = Field(ge=0, le=255, description="How far.")

    @override
    def make(self, frame: Frame) -> Image.Image:
        assert frame.image is not None
        return Image.new("RGB", frame.image.size, shifted(color_of(frame.image), self.by))


class NullJudge(_Null):
    """Leaves the image as it is and says what it thinks of it."""

    keeps_image = True
    own_facts: ClassVar[dict[str, str]] = {"vote": "0 … 0.996, from prompt and color."}

    @override
    def identity(self, item: Item) -> dict[str, Any]:
        return super().identity(item) | {"prompt": item.prompt}

    @override
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        results = []
        for frame in frames:
            assert frame.image is not None
            results.append(StepResult(frame.image, {"vote": vote(frame.item.prompt or "", color_of(frame.image))}))
        return results


def color_of(image: Image.Image) -> Color:
    """Of an RGB image of one color."""
    pixel = image.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    red, green, blue = pixel
    return red, green, blue


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
