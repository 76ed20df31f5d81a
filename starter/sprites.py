"""Sprites: game and classroom objects drawn by code, with exact masks. The starter models learn from them.

Everything is a function of (object, color, background, seed): the same four give the same pixels at any time,
and another `size` gives the same picture at another resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from starter.drawing import backgrounds, everyday_objects, game_objects, nature_objects
from starter.drawing.canvas import SUPERSAMPLING, Canvas, Pose
from starter.drawing.palette import tinted
from starter.drawing.registry import background_painters, object_painters

__all__ = ["BACKGROUNDS", "COLORS", "OBJECTS", "Sprite", "draw_sprite", "prompt_for"]

# Importing the modules registers their drawings; naming them here keeps the order, which the seeds rely on.
_DRAWINGS = (game_objects, everyday_objects, nature_objects, backgrounds)

OBJECTS: tuple[str, ...] = (
    "potion", "sword", "shield", "coin", "gem", "heart", "key", "star", "mushroom", "apple", "crown", "bomb",
    "book", "globe", "pencil", "tree", "house", "flower", "fish", "rocket", "moon", "cup", "bell", "umbrella",
)  # fmt: skip

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (222, 44, 48),
    "orange": (246, 134, 28),
    "yellow": (250, 214, 50),
    "green": (62, 172, 72),
    "teal": (30, 186, 190),
    "blue": (52, 98, 222),
    "purple": (142, 70, 200),
    "pink": (250, 132, 186),
}

BACKGROUNDS: tuple[str, ...] = ("white", "black", "gray", "cream", "gradient", "checkered", "striped", "dotted")


@dataclass(frozen=True)
class Sprite:
    """One drawing: `image` (RGB), `mask` (L, the subject's exact alpha) and what lies behind it."""

    object: str
    color: str
    background: str
    seed: int
    image: Image.Image
    mask: Image.Image
    clean_background: Image.Image

    @property
    def prompt(self) -> str:
        """The words that describe this sprite: what the text-to-image model is trained on."""
        return prompt_for(self.object, self.color, self.background)


def prompt_for(object: str, color: str, background: str) -> str:
    """Return the full prompt: "a red potion, game icon, white background"."""
    article = "an" if color[0] in "aeiou" else "a"
    return f"{article} {color} {object}, game icon, {background} background"


def draw_sprite(object: str, color: str, background: str, seed: int, size: int = 64) -> Sprite:
    """Draw one sprite of `size` x `size` pixels.

    Pose (turn, size, place, proportions), tint, small shape details and background follow from `seed` (>= 0).
    Raises ValueError for a name that no drawing has.
    """
    for kind, name, known in (
        ("object", object, OBJECTS),
        ("color", color, tuple(COLORS)),
        ("background", background, BACKGROUNDS),
    ):
        if name not in known:
            raise ValueError(f"no {kind} is named {name!r}: choose one of {', '.join(known)}")
    rng = np.random.default_rng(
        [seed, OBJECTS.index(object), tuple(COLORS).index(color), BACKGROUNDS.index(background)]
    )
    backdrop = background_painters[background](size * SUPERSAMPLING, rng)
    pose = Pose(
        x=0.5 + rng.uniform(-0.04, 0.04),
        y=0.5 + rng.uniform(-0.04, 0.04),
        radius=0.39 * rng.uniform(0.88, 1.06),
        degrees=rng.uniform(-10.0, 10.0),
        squeeze=rng.uniform(0.96, 1.04),
    )
    canvas = Canvas(backdrop, pose)
    object_painters[object](canvas, tinted(COLORS[color], rng), rng)
    return Sprite(
        object=object,
        color=color,
        background=background,
        seed=seed,
        image=canvas.picture.reduce(SUPERSAMPLING),
        mask=canvas.alpha.reduce(SUPERSAMPLING),
        clean_background=backdrop.reduce(SUPERSAMPLING),
    )
