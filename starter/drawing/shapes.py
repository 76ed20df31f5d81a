"""Outlines as point lists in object space: x right, y down, the object inside -1..1."""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]
Path = list[Point]


def ellipse(x: float, y: float, rx: float, ry: float | None = None, *, points: int = 48) -> Path:
    """Return an ellipse around (x, y); a circle when `ry` is left out."""
    return arc(x, y, rx, ry, 0.0, 360.0 * (points - 1) / points, points=points)


def arc(
    x: float, y: float, rx: float, ry: float | None = None, start: float = 0.0, end: float = 180.0, *, points: int = 32
) -> Path:
    """Points of an ellipse from `start` to `end` in degrees, clockwise from the right (y points down)."""
    ry = rx if ry is None else ry
    angles = (math.radians(start + (end - start) * i / (points - 1)) for i in range(points))
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


def box(left: float, top: float, right: float, bottom: float, radius: float = 0.0) -> Path:
    """Return a rectangle, its corners rounded by `radius`."""
    if radius <= 0:
        return [(left, top), (right, top), (right, bottom), (left, bottom)]
    path: Path = []
    corners = ((right, top, -90.0), (right, bottom, 0.0), (left, bottom, 90.0), (left, top, 180.0))
    for x, y, start in corners:
        cx = x - radius if x == right else x + radius
        cy = y + radius if y == top else y - radius
        path += arc(cx, cy, radius, None, start, start + 90.0, points=8)
    return path


def curve(a: Point, b: Point, c: Point, d: Point, *, points: int = 16) -> Path:
    """Return a cubic Bezier curve from `a` to `d` with the control points `b` and `c`."""
    path: Path = []
    for i in range(points):
        t = i / (points - 1)
        u = 1 - t
        weights = (u**3, 3 * u * u * t, 3 * u * t * t, t**3)
        path.append(
            (
                sum(w * p[0] for w, p in zip(weights, (a, b, c, d), strict=True)),
                sum(w * p[1] for w, p in zip(weights, (a, b, c, d), strict=True)),
            )
        )
    return path


def mirrored(half: Sequence[Point]) -> Path:
    """`half` (drawn from top to bottom on the right) closed by its mirror image on the left."""
    return list(half) + [(-x, y) for x, y in reversed(half)]


def star(x: float, y: float, outer: float, inner: float, spikes: int = 5) -> Path:
    """Return a star with its first spike up."""
    path: Path = []
    for i in range(2 * spikes):
        radius = outer if i % 2 == 0 else inner
        angle = math.pi * i / spikes - math.pi / 2
        path.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
    return path


def turned(path: Sequence[Point], degrees: float) -> Path:
    """`path` turned clockwise around the origin."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(x * cos - y * sin, x * sin + y * cos) for x, y in path]


def ribbon(path: Sequence[Point], width: float) -> Path:
    """Return a band of `width` along `path`, as a closed outline."""
    left: Path = []
    right: Path = []
    for i, (x, y) in enumerate(path):
        before, after = path[max(i - 1, 0)], path[min(i + 1, len(path) - 1)]
        dx, dy = after[0] - before[0], after[1] - before[1]
        length = math.hypot(dx, dy) or 1.0
        nx, ny = -dy / length * width / 2, dx / length * width / 2
        left.append((x + nx, y + ny))
        right.append((x - nx, y - ny))
    return left + right[::-1]
