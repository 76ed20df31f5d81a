"""Objects of games: potion, sword, shield, coin, gem, heart, key, star, crown, bomb."""

from __future__ import annotations

import numpy as np

from starter.drawing.canvas import Canvas
from starter.drawing.palette import FLAME, GLASS, GOLD, STEEL, WHITE, WOOD, Color, darker, lighter
from starter.drawing.registry import draws
from starter.drawing.shapes import arc, box, curve, ellipse, mirrored, ribbon, star, turned


@draws("potion")
def _potion(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    radius = rng.uniform(0.6, 0.66)
    canvas.part(box(-0.2, -1.0, 0.2, -0.66, 0.06), WOOD)
    canvas.part(box(-0.22, -0.66, 0.22, -0.1), GLASS)
    body = ellipse(0.0, 0.34, radius)
    canvas.part(body, color, shade=0.2)
    level = rng.uniform(-0.02, 0.1)
    canvas.mark(box(-0.7, -0.4, 0.7, level), GLASS, inside=ellipse(0.0, 0.34, radius - 0.02))
    canvas.part(box(-0.32, -0.72, 0.32, -0.52, 0.08), GLASS, shade=0.06)
    canvas.mark(ellipse(-0.26, 0.28, 0.1, 0.16), lighter(color, 0.6))
    canvas.mark(ellipse(0.16, 0.42, 0.07), lighter(color, 0.45))
    canvas.mark(ellipse(0.04, 0.66, 0.06), lighter(color, 0.45))


@draws("sword")
def _sword(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    width = rng.uniform(0.17, 0.22)
    turn = 42.0
    blade = [(0.0, -1.2), (width, -0.95), (width, 0.42), (-width, 0.42), (-width, -0.95)]
    canvas.part(turned(blade, turn), color, shade=0.0, shine=0.0)
    canvas.mark(turned([(0.0, -1.2), (width, -0.95), (width, 0.42), (0.0, 0.42)], turn), darker(color, 0.28))
    canvas.mark(turned([(-0.09, -0.9), (-0.03, -0.98), (-0.03, 0.3), (-0.09, 0.3)], turn), lighter(color, 0.6))
    canvas.part(turned(box(-0.11, 0.45, 0.11, 1.0), turn), WOOD)
    canvas.part(turned(box(-0.46, 0.4, 0.46, 0.58, 0.08), turn), GOLD, shade=0.08)
    canvas.part(turned(ellipse(0.0, 1.08, 0.15), turn), GOLD, shade=0.08)


@draws("shield")
def _shield(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    width = rng.uniform(0.76, 0.84)

    def outline(scale: float) -> list[tuple[float, float]]:
        right = [(0.0, -0.95), *curve((0.3, -0.86), (0.5, -0.8), (0.65, -0.76), (width, -0.78), points=8)]
        right += curve((width, 0.0), (width, 0.5), (0.35, 0.85), (0.0, 1.02))
        return [(x * scale, y * scale) for x, y in mirrored(right)]

    canvas.part(outline(1.0), STEEL, shade=0.1)
    canvas.part(outline(0.74), color, shade=0.0, shine=0.0)
    right_half = [(0.0, -2.0), (2.0, -2.0), (2.0, 2.0), (0.0, 2.0)]
    canvas.mark(outline(0.74), darker(color, 0.26), inside=right_half)
    canvas.mark(star(0.0, -0.06, 0.36, 0.16, 4), lighter(color, 0.65))


@draws("coin")
def _coin(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    squash = rng.uniform(0.82, 0.94)
    canvas.part(ellipse(0.1, 0.05, 0.92 * squash, 0.92), darker(color, 0.4), shade=0.0, shine=0.0)
    canvas.part(ellipse(-0.06, 0.0, 0.88 * squash, 0.92), color, shade=0.1, shine=0.08)
    canvas.mark(ellipse(-0.06, 0.0, 0.66 * squash, 0.7), darker(color, 0.28))
    canvas.mark(ellipse(-0.04, 0.03, 0.6 * squash, 0.64), lighter(color, 0.12))
    canvas.mark(box(-0.2, -0.36, 0.08, 0.36), darker(color, 0.45))
    canvas.mark(box(-0.2, -0.36, -0.04, 0.3), lighter(color, 0.65))


@draws("gem")
def _gem(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    table = rng.uniform(0.42, 0.52)
    top, girdle, tip = -0.72, -0.22, 0.92
    outline = [(-0.62, top), (0.62, top), (1.0, girdle), (0.0, tip), (-1.0, girdle)]
    canvas.part(outline, color, shade=0.0, shine=0.0)
    canvas.mark([(-0.62, top), (-table, girdle), (-1.0, girdle)], lighter(color, 0.35))
    canvas.mark([(-0.62, top), (0.62, top), (table, girdle), (-table, girdle)], lighter(color, 0.6))
    canvas.mark([(0.62, top), (1.0, girdle), (table, girdle)], lighter(color, 0.1))
    canvas.mark([(-1.0, girdle), (-table, girdle), (0.0, tip)], lighter(color, 0.1))
    canvas.mark([(1.0, girdle), (table, girdle), (0.0, tip)], darker(color, 0.45))
    canvas.mark([(0.08, girdle), (table, girdle), (0.0, tip)], darker(color, 0.2))


@draws("heart")
def _heart(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    dip = rng.uniform(-0.5, -0.4)
    right = curve((0.0, dip), (0.2, -0.95), (0.98, -0.98), (0.96, -0.26), points=20)
    right += curve((0.96, -0.26), (0.94, 0.25), (0.4, 0.55), (0.0, 0.92), points=20)
    canvas.part(mirrored(right), color, shade=0.22, shine=0.06)
    canvas.mark(turned(ellipse(-0.66, 0.02, 0.13, 0.24), 40.0), lighter(color, 0.7))


@draws("key")
def _key(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    turn = -42.0
    radius = rng.uniform(0.46, 0.52)
    shaft = [(-0.12, -0.1), (0.12, -0.1), (0.12, 1.12), (-0.12, 1.12)]
    upper_tooth = box(0.1, 0.46, 0.44, 0.66)
    lower_tooth = box(0.1, 0.86, 0.5, 1.1)
    for tooth in (upper_tooth, lower_tooth, shaft):
        canvas.part(turned(tooth, turn), color, shade=0.08, shine=0.0)
    canvas.mark(turned([(-0.1, -0.1), (0.4, 0.9), (0.4, 1.06), (-0.1, 1.06)], turn), color, inside=turned(shaft, turn))
    ring = turned(ellipse(0.0, -0.56, radius), turn)
    canvas.part(ring, color, hole=turned(ellipse(0.0, -0.56, radius - 0.23), turn), shade=0.08, shine=0.08)


@draws("star")
def _star(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    inner = rng.uniform(0.48, 0.54)
    outline = star(0.0, 0.06, 1.0, inner)
    canvas.part(outline, color, shade=0.16, shine=0.08)
    canvas.mark(star(0.0, 0.04, 0.5, 0.27), lighter(color, 0.5))


@draws("crown")
def _crown(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    middle = rng.uniform(-0.72, -0.62)
    points = [(-0.82, 0.72), (-0.92, -0.42), (-0.44, 0.06), (0.0, middle), (0.44, 0.06), (0.92, -0.42), (0.82, 0.72)]
    for x, y in ((-0.92, -0.5), (0.0, middle - 0.08), (0.92, -0.5)):
        canvas.part(ellipse(x, y, 0.13), lighter(color, 0.5), shade=0.06, shine=0.0)
    canvas.part(points, color, shade=0.12, shine=0.08)
    canvas.part(box(-0.84, 0.46, 0.84, 0.8, 0.06), darker(color, 0.22), shade=0.06, shine=0.06)
    for x in (-0.46, 0.0, 0.46):
        canvas.mark(ellipse(x, 0.63, 0.1), WHITE)


@draws("bomb")
def _bomb(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    bend = rng.uniform(-0.06, 0.06)
    fuse = curve((0.42, -0.44), (0.5, -0.8), (0.66 + bend, -0.9), (0.84, -0.76))
    canvas.part(ribbon(fuse, 0.12), WOOD, shade=0.0, shine=0.0)
    canvas.part(star(0.86, -0.74, 0.3, 0.13, 6), FLAME, shade=0.0, shine=0.0)
    canvas.mark(ellipse(0.86, -0.74, 0.1), (255, 240, 150))
    canvas.part(turned(box(-0.26, -0.86, 0.26, -0.5, 0.04), 38.0), STEEL, shade=0.08)
    canvas.part(ellipse(-0.12, 0.22, 0.72), color, shade=0.24, shine=0.06)
    canvas.mark(turned(ellipse(-0.3, -0.12, 0.13, 0.22), 30.0), lighter(color, 0.7))
    canvas.mark(arc(-0.12, 0.22, 0.5, None, 20.0, 70.0, points=8), darker(color, 0.45))
