"""What goes through the gates: a picture as the starter recipe's steps deliver it."""

from dataclasses import dataclass, replace
from typing import Literal

from PIL import Image

Origin = Literal["drawn", "generated"]
StepId = Literal["cutout", "large"]

SMALL, SCALE = 64, 4  # the starter recipe's: side of a base in pixels, and how much `large` enlarges


@dataclass(frozen=True)
class Asked:
    """Object, color and background in the item's prompt."""

    object: str
    color: str
    background: str
    seed: int


@dataclass(frozen=True)
class Stage:
    """The image that a step made, and the one that it was given."""

    step: StepId
    image: Image.Image
    source: Image.Image


@dataclass(frozen=True)
class Picture:
    """An item's images: the cut-out, RGBA of 64 x 64, and for some `large`, RGBA of 256 x 256."""

    asked: Asked
    origin: Origin
    stages: tuple[Stage, ...]

    @property
    def base(self) -> Image.Image:
        """RGB: what was cut out."""
        return self.stages[0].source

    @property
    def cutout(self) -> Image.Image:
        return self.stages[0].image

    @property
    def final(self) -> Image.Image:
        return self.stages[-1].image

    @property
    def is_large(self) -> bool:
        return len(self.stages) > 1

    def with_final(self, image: Image.Image) -> "Picture":
        """The same with another last image."""
        return replace(self, stages=(*self.stages[:-1], replace(self.stages[-1], image=image)))
