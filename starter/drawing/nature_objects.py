"""Things that grow, swim and shine: mushroom, apple, tree, flower, fish, moon."""

from __future__ import annotations

import math

import numpy as np

from starter.drawing.canvas import Canvas
from starter.drawing.palette import CREAM, GOLD, LEAF, WHITE, WOOD, Color, darker, lighter
from starter.drawing.registry import draws
from starter.drawing.shapes import arc, box, curve, ellipse, mirrored, ribbon, turned


@draws("mushroom")
def _mushroom(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    foot = rng.uniform(0.36, 0.46)
    stem = mirrored([(0.0, -0.1), (0.3, -0.1), *curve((0.28, 0.2), (0.28, 0.5), (foot, 0.6), (foot, 0.9), points=10)])
    canvas.part(stem, CREAM, shade=0.14)
    cap = arc(0.0, 0.06, 0.96, 0.98, 180.0, 360.0) + curve((0.96, 0.06), (0.9, 0.34), (-0.9, 0.34), (-0.96, 0.06))
    canvas.part(cap, color, shade=0.18, shine=0.07)
    inside = [(x * 0.98, y * 0.98) for x, y in cap]
    for x, y, r in ((0.02, -0.52, 0.22), (-0.56, -0.16, 0.18), (0.52, -0.14, 0.19)):
        canvas.mark(ellipse(x, y, r, r * 0.9), WHITE, inside=inside)


@draws("apple")
def _apple(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    lean = rng.uniform(-0.06, 0.1)
    canvas.part(ribbon(curve((0.0, -0.3), (0.0, -0.6), (lean, -0.8), (lean + 0.06, -0.96)), 0.14), WOOD, shade=0.0)
    right = curve((0.0, -0.4), (0.3, -0.66), (0.92, -0.56), (0.88, 0.06), points=18)
    right += curve((0.88, 0.06), (0.84, 0.6), (0.4, 1.06), (0.0, 0.86), points=18)
    canvas.part(mirrored(right), color, shade=0.22, shine=0.06)
    leaf = curve((0.06, -0.5), (0.14, -0.9), (0.5, -0.98), (0.76, -0.9))
    leaf += curve((0.76, -0.9), (0.7, -0.56), (0.36, -0.42), (0.06, -0.5))
    canvas.part(leaf, LEAF, shade=0.08)
    canvas.mark(turned(ellipse(-0.48, -0.24, 0.12, 0.22), 20.0), lighter(color, 0.7))


@draws("tree")
def _tree(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    spread = rng.uniform(0.44, 0.52)
    canvas.part([(-0.15, 0.2), (0.15, 0.2), (0.24, 1.0), (-0.24, 1.0)], WOOD, shade=0.1)
    blobs = ((-spread, 0.06, 0.42), (spread, 0.06, 0.42), (0.0, -0.48, 0.5))
    for x, y, r in blobs:
        canvas.part(ellipse(x, y, r), color, shade=0.0, shine=0.0)
    for x, y, r in blobs:
        canvas.mark(ellipse(x, y, r), darker(color, 0.3))
    canvas.mark(ellipse(0.0, 0.02, 0.42), darker(color, 0.3))
    for x, y, r in blobs:
        canvas.mark(ellipse(x - 0.07, y - 0.07, r - 0.1), color)
    canvas.mark(ellipse(-0.16, -0.64, 0.2), lighter(color, 0.4))
    canvas.mark(ellipse(-spread - 0.1, -0.08, 0.14), lighter(color, 0.4))


@draws("flower")
def _flower(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    canvas.part(box(-0.07, 0.1, 0.07, 1.04), LEAF, shade=0.0, shine=0.0)
    leaf = [*curve((0.04, 0.82), (0.2, 0.5), (0.5, 0.5), (0.66, 0.52)), (0.4, 0.82)]
    canvas.part(leaf, LEAF, shade=0.06)
    start = rng.uniform(-12.0, 12.0)
    centers = [
        (0.42 * math.cos(math.radians(a)), -0.3 + 0.42 * math.sin(math.radians(a)))
        for a in (start + 90 + 72 * i for i in range(5))
    ]
    for x, y in centers:
        canvas.part(ellipse(x, y, 0.29), color, shade=0.09, shine=0.06)
    canvas.part(ellipse(0.0, -0.3, 0.24), GOLD if color[2] > 90 or color[1] < 190 else WHITE, shade=0.08)


@draws("fish")
def _fish(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    tail = rng.uniform(0.42, 0.54)
    canvas.part([(0.44, 0.0), (0.98, -tail), (0.86, 0.0), (0.98, tail)], darker(color, 0.2), shade=0.08)
    canvas.part([(-0.3, -0.4), (0.0, -0.84), (0.36, -0.66), (0.3, -0.3)], darker(color, 0.2), shade=0.06)
    body = curve((-1.0, 0.04), (-0.7, -0.66), (0.2, -0.74), (0.64, 0.0), points=22)
    body += curve((0.64, 0.0), (0.2, 0.78), (-0.7, 0.7), (-1.0, 0.04), points=22)
    canvas.part(body, color, shade=0.16, shine=0.06)
    canvas.part([(-0.04, 0.1), (0.34, 0.0), (0.3, 0.34)], lighter(color, 0.4), shade=0.0, shine=0.0)
    canvas.mark(ellipse(-0.56, -0.1, 0.17), WHITE)
    canvas.mark(ellipse(-0.58, -0.08, 0.09), (30, 22, 40))


@draws("moon")
def _moon(canvas: Canvas, color: Color, rng: np.random.Generator) -> None:
    thin = rng.uniform(0.68, 0.76)
    outer = arc(-0.02, 0.0, 0.96, None, 42.0, 318.0, points=44)
    inner = curve(outer[-1], (0.1, -thin + 0.2), (0.1, thin - 0.2), outer[0], points=24)
    canvas.part(outer + inner[1:-1], color, shade=0.13, shine=0.08)
    canvas.mark(ellipse(-0.62, -0.26, 0.13), darker(color, 0.25))
    canvas.mark(ellipse(-0.46, 0.36, 0.16), darker(color, 0.25))
    canvas.mark(ellipse(-0.74, 0.14, 0.08), darker(color, 0.25))
