"""Objects of school and home: book, globe, pencil, house, rocket, cup, bell, umbrella."""

from __future__ import annotations

import numpy as np

from starter.drawing.canvas import Canvas
from starter.drawing.palette import CREAM, FLAME, GLASS, GOLD, STEEL, WHITE, WOOD, Color, darker, lighter
from starter.drawing.registry import draws
from starter.drawing.shapes import arc, box, curve, ellipse, mirrored, ribbon, turned


@draws("book")
def _book(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    thick = rng.uniform(0.2, 0.27)
    front = [(-0.66, -0.9), (0.62, -0.9), (0.62, 0.66), (-0.66, 0.66)]
    canvas.part(box(-0.72, -0.9, 0.68, 0.66 + thick + 0.1, 0.1), darker(color, 0.35), shade=0.0, shine=0.0)
    canvas.part([(-0.5, 0.62), (0.66, 0.62), (0.66, 0.64 + thick), (-0.5, 0.64 + thick)], CREAM, shade=0.0, shine=0.0)
    canvas.part(front, color, shade=0.1, shine=0.06)
    canvas.mark(box(-0.66, -0.9, -0.4, 0.66), darker(color, 0.38))
    canvas.mark(box(-0.16, -0.6, 0.42, -0.16), WHITE)
    canvas.mark(box(-0.04, -0.46, 0.3, -0.3), darker(color, 0.3))


@draws("globe")
def _globe(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    shift = rng.uniform(-0.06, 0.06)
    canvas.part(box(-0.5, 0.82, 0.5, 1.0, 0.08), WOOD, shade=0.06)
    canvas.part(box(-0.1, 0.56, 0.1, 0.86), WOOD, shade=0.06, shine=0.0)
    canvas.part(ribbon(arc(0.0, -0.16, 0.84, None, -62.0, 118.0), 0.16), GOLD, shade=0.05, shine=0.0)
    ball = ellipse(0.0, -0.16, 0.66)
    canvas.part(ball, color, shade=0.2, shine=0.06)
    land = lighter(color, 0.68)
    inside = ellipse(0.0, -0.16, 0.62)
    canvas.mark([(x + shift, y) for x, y in ellipse(-0.32, -0.42, 0.3, 0.2)], land, inside=inside)
    canvas.mark([(x + shift, y) for x, y in ellipse(-0.14, -0.06, 0.16, 0.36)], land, inside=inside)
    canvas.mark([(x + shift, y) for x, y in ellipse(0.42, -0.18, 0.16, 0.24)], land, inside=inside)


@draws("pencil")
def _pencil(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    turn = 44.0
    half = rng.uniform(0.22, 0.27)
    canvas.part(turned(box(-half, -1.2, half, -0.9, 0.1), turn), (244, 150, 160), shade=0.08)
    canvas.part(turned(box(-half, -0.98, half, -0.74), turn), STEEL, shade=0.06)
    canvas.part(turned([(-half, 0.62), (half, 0.62), (0.04, 1.24), (-0.04, 1.24)], turn), CREAM, shade=0.1)
    canvas.part(turned([(-0.1, 1.06), (0.1, 1.06), (0.02, 1.24), (-0.02, 1.24)], turn), (70, 60, 80), shade=0.0)
    canvas.part(turned(box(-half, -0.76, half, 0.64), turn), color, shade=0.0, shine=0.0)
    canvas.mark(turned(box(-half, -0.76, -half / 3, 0.64), turn), darker(color, 0.3))
    canvas.mark(turned(box(half / 3, -0.76, half, 0.64), turn), lighter(color, 0.45))


@draws("house")
def _house(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    eaves = rng.uniform(-0.14, -0.06)
    canvas.part(box(0.38, -0.8, 0.64, -0.2), darker(color, 0.3), shade=0.0)
    canvas.part(box(-0.7, eaves - 0.1, 0.7, 0.9), lighter(color, 0.7), shade=0.1)
    canvas.part([(0.0, -0.98), (0.98, eaves), (-0.98, eaves)], color, shade=0.14, shine=0.07)
    canvas.part(box(-0.5, 0.28, -0.12, 0.9), color, shade=0.08, shine=0.0)
    canvas.part(box(0.16, 0.22, 0.5, 0.56), GLASS, shade=0.0, shine=0.0)


@draws("rocket")
def _rocket(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    flame = rng.uniform(0.92, 1.1)
    canvas.part(mirrored([(0.0, 0.5), (0.24, 0.6), (0.0, flame)]), FLAME, shade=0.0, shine=0.0)
    canvas.mark(mirrored([(0.0, 0.5), (0.11, 0.62), (0.0, flame - 0.18)]), (255, 236, 130))
    for side in (-1.0, 1.0):
        fin = [(side * 0.3, 0.1), (side * 0.74, 0.5), (side * 0.7, 0.84), (side * 0.26, 0.6)]
        canvas.part(fin, darker(color, 0.25), shade=0.08)
    hull = mirrored(
        [*curve((0.0, -1.06), (0.3, -0.84), (0.44, -0.4), (0.42, 0.0), points=14), (0.4, 0.34), (0.26, 0.62)]
    )
    canvas.part(hull, color, shade=0.16, shine=0.07)
    nose = [(-1.0, -1.2), (1.0, -1.2), (1.0, -0.58), (-1.0, -0.58)]
    canvas.mark(hull, WHITE, inside=nose)
    canvas.part(ellipse(0.0, -0.16, 0.2), GLASS, shade=0.05, shine=0.0)


@draws("cup")
def _cup(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    height = rng.uniform(0.9, 1.0)
    canvas.part(ellipse(0.52, 0.14, 0.42), color, hole=ellipse(0.56, 0.14, 0.2), shade=0.08, shine=0.0)
    body = [(-0.86, -0.5), (0.5, -0.5), *curve((0.44, 0.5), (0.42, height), (-0.78, height), (-0.8, 0.5))]
    canvas.part(body, color, shade=0.18, shine=0.0)
    canvas.mark(box(-0.64, -0.2, -0.48, 0.5, 0.07), lighter(color, 0.6))
    canvas.part(ellipse(-0.18, -0.5, 0.68, 0.22), lighter(color, 0.4), shade=0.0, shine=0.0)
    canvas.mark(ellipse(-0.18, -0.46, 0.52, 0.13), (96, 56, 34))


@draws("bell")
def _bell(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    flare = rng.uniform(0.78, 0.88)
    canvas.part(ellipse(0.0, 0.74, 0.22), darker(color, 0.3), shade=0.06)
    canvas.part(ellipse(0.0, -0.8, 0.18), darker(color, 0.12), shade=0.06)
    side = curve((0.0, -0.78), (0.52, -0.78), (0.52, -0.3), (0.54, 0.1), points=14)
    side += curve((0.54, 0.1), (0.58, 0.32), (0.7, 0.4), (flare, 0.56), points=8)
    canvas.part(mirrored(side), color, shade=0.2, shine=0.06)
    canvas.part(box(-flare - 0.04, 0.46, flare + 0.04, 0.68, 0.1), lighter(color, 0.3), shade=0.06, shine=0.0)
    canvas.mark(turned(ellipse(-0.26, -0.22, 0.09, 0.28), 8.0), lighter(color, 0.7))


@draws("umbrella")
def _umbrella(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    hook = rng.uniform(0.17, 0.22)
    handle = [(0.0, -0.2), (0.0, 0.76), *arc(-hook, 0.76, hook, None, 0.0, 180.0, points=14)]
    canvas.part(ribbon(handle, 0.13), WOOD, shade=0.0, shine=0.0)
    canvas.part(box(-0.06, -0.98, 0.06, -0.7), WOOD, shade=0.0, shine=0.0)
    dome = arc(0.0, 0.06, 0.98, 0.92, 180.0, 360.0)
    for i in range(4):
        right = 0.98 - i * 0.49
        dome += arc(right - 0.245, 0.06, 0.245, 0.14, 360.0, 180.0, points=8)
    canvas.part(dome, color, shade=0.0, shine=0.08)
    for left, right in ((-0.49, 0.0), (0.49, 0.98)):
        panel = [*curve((0.0, -0.86), (left, -0.7), (left, -0.2), (left, 0.0)), (right, 0.0)]
        panel += curve((right, 0.0), (right, -0.2), (right, -0.7), (0.0, -0.86))
        canvas.mark(panel, darker(color, 0.28), inside=dome)
