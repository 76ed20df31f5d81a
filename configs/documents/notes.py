"""Notes: what goes along with an image's pixels, from its file through all steps and into the files made of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

_KEY = "notes"


class _HasInfo(Protocol):
    """An image of Pillow's."""

    info: dict[Any, Any]


@dataclass(frozen=True, slots=True)
class Notes:
    """The credits of an image, from its input file, and what a model decided that drew it.

    All other metadata of a file is left behind on purpose: a place, a camera's number, a profile.
    """

    copyright: str = ""
    artist: str = ""
    title: str = ""
    description: str = ""
    dpi: tuple[float, float] | None = None
    drawn: Mapping[str, str] = field(default_factory=dict)  # `Size` and `Sampler`, where the recipe gives none
    # Of an item's file, for the step that reads it:
    more_frames: bool = False  # it holds others than the first
    damaged: bool = False  # its end is missing

    @classmethod
    def of(cls, image: _HasInfo | None) -> "Notes":
        """Return the image's notes."""
        found = image.info.get(_KEY) if image is not None else None
        return found if isinstance(found, cls) else cls()

    def put_on(self, image: _HasInfo) -> None:
        """Make these the image's only metadata."""
        image.info = {_KEY: self} if self != Notes() else {}
