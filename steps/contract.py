"""The contract of a step: typed fields and one verb.

A step is a frozen pydantic model whose fields are the recipe's parameters (each with a description and bounds) and
whose `run` turns frames into results. Importing a step's module must not import torch, diffusers, rembg or any other
heavy library: those imports live inside the engines' loaders and inside `run`.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar, Literal, Protocol

from PIL import Image
from typing_extensions import override

from configs.catalogues.models import ModelRef
from configs.documents.fields import Item, ItemFile, Schema

Fact = bool | int | float | str
WARNINGS = "warnings"  # the fact that keeps what a step warned of, one warning a line
ImageFormat = Literal["png", "webp", "jpeg", "avif"]
# A step's image shows all that the image before showed, however large; another part of it; or a picture of its own.
Framing = Literal["kept", "moved", "new"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How an image is to be stored. `quality` is 1 … 100 and ignored where a format is lossless."""

    format: ImageFormat = "png"
    quality: int = 90
    lossless: bool = True


@dataclass(frozen=True, slots=True)
class Frame:
    """One item on its way through a step.

    `image` is the output of the last step the item visited (mode RGB or RGBA), None before the first. `files` holds
    the item's own input files that the step asked for with `item_files`. Images have notes (configs.documents.notes),
    which go along to the next image unless the step puts others on it.
    """

    item: Item
    image: Image.Image | None = None
    files: Mapping[ItemFile, Image.Image] = field(default_factory=dict)

    @property
    def input_image(self) -> Image.Image:
        """The image, for steps that need one. Raises ValueError before the first."""
        if self.image is None:
            raise ValueError(f"{self.item.name}: has no image yet: put a step that makes one first")
        return self.image


@dataclass(frozen=True, slots=True)
class StepResult:
    """An image (mode RGB or RGBA), the step's own facts about it, how to store it, and what a person should know.

    Warnings are stored with the image's facts, go with every item that is made of it, and are counted by their text in
    the report: leave names and numbers of single images out of them.
    """

    image: Image.Image
    facts: Mapping[str, Fact] = field(default_factory=dict)
    encoding: Encoding = field(default_factory=Encoding)
    warnings: tuple[str, ...] = ()

    @property
    def kept_facts(self) -> dict[str, Fact]:
        """The step's own facts, and its warnings as one more."""
        return {**self.facts, **({WARNINGS: "\n".join(self.warnings)} if self.warnings else {})}


class MemoryFallback(IntEnum):
    """The ways of a step to need less of the device's memory, weakest first; each includes those before it.

    The image stays the requested one, so no fallback is part of a fingerprint.
    """

    NONE = 0
    TILE = 1  # compute the image part by part
    OFFLOAD = 2  # keep what does not compute right now off the device, or compute elsewhere


class StepContext(Protocol):
    """The services of the worker that a step can use."""

    @property
    def device(self) -> str:
        """The torch device: `cpu`, `cuda`, `mps`."""
        ...

    @property
    def fallback(self) -> MemoryFallback:
        """The measure against a lack of memory: NONE, or one of the step's own `fallbacks`."""
        ...

    def model(self, ref: ModelRef) -> Any:
        """Return the loaded model, as the engine of its role returns it. Loads it on first use."""
        ...


class Step(Schema):
    """Base of all steps. Subclasses are one file each, named by one entry of the catalogue."""

    version: ClassVar[int] = 1  # part of the fingerprint: raise it when the same input gives another image
    makes_image: ClassVar[bool] = False  # True: needs no image before it (generate, load)
    keeps_image: ClassVar[bool] = False  # True: passes every image on unchanged, and exists for its facts alone
    own_facts: ClassVar[Mapping[str, str]] = {}  # fact name -> description, beside those measured on every image

    @property
    def framing(self) -> Framing:
        """How the image relates to the one before. A `moved` image no longer fits the item's mask."""
        return "new" if self.makes_image else "kept"

    def model_refs(self) -> tuple[ModelRef, ...]:
        """Return the models that `run` will request from the context."""
        return ()

    def measured_facts(self) -> Mapping[str, str]:
        """Return the facts that this step can give with its parameters, name -> description, from `own_facts`.

        A result may lack one of them where there is nothing to measure; conditions on it are then false.
        """
        return self.own_facts

    def item_files(self, item: Item) -> tuple[ItemFile, ...]:  # noqa: ARG002
        """Return which of the item's own input files the step reads."""
        return ()

    @property
    def takes_damaged(self) -> bool:
        """Whether it takes what there is of an item's file whose end is missing; else that fails the item."""
        return False

    def item_problems(self, item: Item) -> list[str]:  # noqa: ARG002
        """Return what makes this item impossible for this step, and what to change. Checked before any work."""
        return []

    def identity(self, item: Item) -> dict[str, Any]:  # noqa: ARG002
        """Return all that decides the image besides the input image, files and model weights: JSON values.

        The default is the step's parameters. Steps that read the item's prompt or seed add those.
        """
        return self.model_dump(mode="json")

    @classmethod
    def split_identity(cls, identity: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return parameters of a step and fields of an item that have this identity: the inverse of `identity`.

        Images are reproduced from them. The default, like that of `identity`, takes everything for parameters.
        """
        return dict(identity), {}

    def batch_key(self, frame: Frame) -> Hashable:
        """Return a key: frames with equal keys may share a micro-batch. The default lets each frame run alone."""
        return frame.item.index

    def fallbacks(self, context: StepContext) -> Collection[MemoryFallback]:  # noqa: ARG002
        """Return what `run` can do when a single frame does not fit the device's memory; nothing by default."""
        return ()

    def memory_key(self, frame: Frame) -> Any:
        """Return what decides, besides the models, how much memory the frame takes: JSON values.

        Frames of equal keys are taken to need the same. The default is the step's parameters and the images' sizes.
        """
        return [
            self.model_dump(mode="json"),
            frame.image.size if frame.image is not None else None,
            {file: image.size for file, image in frame.files.items()},
        ]

    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        """Compute one result per frame, in order. Raising fails the whole micro-batch, which is then halved."""
        raise NotImplementedError


class Transform(Step):
    """Base of steps that make one image from one image, without a model."""

    @override
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        return [self.transform(frame.input_image) for frame in frames]

    def transform(self, image: Image.Image) -> StepResult:
        raise NotImplementedError
