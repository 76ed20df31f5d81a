"""Objects and backgrounds by name: a drawing function registers itself with a decorator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from starter.drawing.canvas import Canvas
from starter.drawing.palette import Color

ObjectPainter = Callable[[Canvas, Color, np.random.Generator], None]
BackgroundPainter = Callable[[int, np.random.Generator], Image.Image]

object_painters: dict[str, ObjectPainter] = {}
background_painters: dict[str, BackgroundPainter] = {}


def draws(name: str) -> Callable[[ObjectPainter], ObjectPainter]:
    """Register a function that draws the object `name` in a main colour; a name taken already raises."""

    def register(painter: ObjectPainter) -> ObjectPainter:
        if name in object_painters:
            raise ValueError(f"two drawings are named {name!r}: rename one")
        object_painters[name] = painter
        return painter

    return register


def fills(name: str) -> Callable[[BackgroundPainter], BackgroundPainter]:
    """Register a function that paints the background `name` on a square; a name taken already raises."""

    def register(painter: BackgroundPainter) -> BackgroundPainter:
        if name in background_painters:
            raise ValueError(f"two backgrounds are named {name!r}: rename one")
        background_painters[name] = painter
        return painter

    return register
