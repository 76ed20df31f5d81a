"""Backgrounds: plain, gradient and patterned; pale or dark and quiet, so that the subject stands out."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from starter.drawing.palette import CREAM, Color, tinted
from starter.drawing.registry import fills

# Pairs of quiet colours: a pattern is painted with the second on the first.
PAIRS: tuple[tuple[Color, Color], ...] = (
    ((236, 240, 248), (204, 214, 232)),
    ((250, 240, 226), (230, 212, 186)),
    ((232, 244, 232), (200, 222, 202)),
    ((246, 232, 240), (226, 202, 216)),
)
GRADIENTS: tuple[tuple[Color, Color], ...] = (
    ((250, 250, 255), (168, 186, 216)),
    ((255, 248, 232), (222, 182, 150)),
    ((240, 252, 240), (160, 200, 172)),
    ((236, 230, 250), (150, 138, 190)),
)


def _plain(color: Color, side: int) -> Image.Image:
    return Image.new("RGB", (side, side), color)


@fills("white")
def _white(side: int, rng: np.random.Generator) -> Image.Image:  # noqa: ARG001  (all painters are called alike)
    return _plain((255, 255, 255), side)


@fills("black")
def _black(side: int, rng: np.random.Generator) -> Image.Image:  # noqa: ARG001  (all painters are called alike)
    return _plain((8, 8, 10), side)


@fills("gray")
def _gray(side: int, rng: np.random.Generator) -> Image.Image:
    return _plain(tinted((168, 170, 174), rng, hue=0.0, light=0.05), side)


@fills("cream")
def _cream(side: int, rng: np.random.Generator) -> Image.Image:
    return _plain(tinted(CREAM, rng, hue=0.01, light=0.01), side)


@fills("gradient")
def _gradient(side: int, rng: np.random.Generator) -> Image.Image:
    top, bottom = GRADIENTS[int(rng.integers(len(GRADIENTS)))]
    share = np.linspace(0.0, 1.0, side)[:, None, None]
    column = np.array(top) + (np.array(bottom) - np.array(top)) * share
    pixels = np.broadcast_to(np.rint(column), (side, side, 3)).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels))


@fills("checkered")
def _checkered(side: int, rng: np.random.Generator) -> Image.Image:
    base, ink = PAIRS[int(rng.integers(len(PAIRS)))]
    phase = int(rng.integers(2))
    cells = 8
    rows, columns = np.indices((side, side)) * cells // side
    pixels = np.where(((rows + columns + phase) % 2)[..., None] == 0, np.array(base), np.array(ink))
    return Image.fromarray(pixels.astype(np.uint8))


@fills("striped")
def _striped(side: int, rng: np.random.Generator) -> Image.Image:
    base, ink = PAIRS[int(rng.integers(len(PAIRS)))]
    phase = float(rng.integers(2))
    rows, columns = np.indices((side, side)) / side
    bands = np.floor((rows + columns) * 8 + phase) % 2
    pixels = np.where(bands[..., None] == 0, np.array(base), np.array(ink))
    return Image.fromarray(pixels.astype(np.uint8))


@fills("dotted")
def _dotted(side: int, rng: np.random.Generator) -> Image.Image:
    base, ink = PAIRS[int(rng.integers(len(PAIRS)))]
    picture = _plain(base, side)
    draw = ImageDraw.Draw(picture)
    cell = side / 8
    phase = int(rng.integers(2))
    for row in range(8):
        for column in range(8):
            if (row + column + phase) % 2:
                continue
            x, y, radius = (column + 0.5) * cell, (row + 0.5) * cell, 0.36 * cell
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
    return picture
