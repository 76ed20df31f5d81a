"""A supersampled canvas that paints parts of a subject over a background and keeps the subject's exact alpha."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw

from starter.drawing.palette import Color, darker, lighter, outline_of
from starter.drawing.shapes import Path, Point

SUPERSAMPLING = 4
OUTLINE_WIDTH = 0.085  # in object space: about 2 pixels of 64, so that the line survives a 4x smaller latent


@dataclass(frozen=True)
class Pose:
    """Where object space lies in the picture: a centre and a radius as shares of the side, a turn in degrees."""

    x: float = 0.5
    y: float = 0.5
    radius: float = 0.4
    degrees: float = 0.0
    squeeze: float = 1.0


class Canvas:
    """Paints outlined, shaded parts; `picture` and `alpha` are `SUPERSAMPLING` times larger than the sprite."""

    def __init__(self, background: Image.Image, pose: Pose) -> None:
        self.picture = background.copy()
        self.alpha = Image.new("L", background.size, 0)
        self._side = background.size[0]
        self._pose = pose

    def part(
        self,
        path: Sequence[Point],
        color: Color,
        *,
        hole: Sequence[Point] | None = None,
        shade: float = 0.14,
        shine: float = 0.07,
        outline: Color | None = None,
    ) -> None:
        """Paint one outlined part: fill, a shade of width `shade` at its lower right, a shine at its upper left.

        A `hole` stays open: the background shows through, and the alpha is 0 there.
        """
        body = self._filled([path], hole)
        edge = body.copy()
        self._stroke(edge, path)
        if hole is not None:
            self._stroke(edge, hole)
        self.picture.paste(outline_of(color) if outline is None else outline, mask=edge)
        self.alpha.paste(255, mask=edge)
        self.picture.paste(color, mask=body)
        if shade:
            self.picture.paste(darker(color), mask=self._rim(body, -shade))
        if shine:
            self.picture.paste(lighter(color), mask=self._rim(body, shine))

    def mark(self, path: Sequence[Point], color: Color, inside: Sequence[Point] | None = None) -> None:
        """Paint a flat detail without an outline (a spot, a facet, a highlight), cut to `inside` when given."""
        area = self._filled([path], None)
        if inside is not None:
            area = ImageChops.multiply(area, self._filled([inside], None))
        self.picture.paste(color, mask=area)
        self.alpha.paste(255, mask=area)

    def line(self, path: Sequence[Point], color: Color, width: float = OUTLINE_WIDTH) -> None:
        """Paint a flat line with round joints and ends."""
        area = Image.new("L", self.picture.size, 0)
        self._draw_line(area, self._pixels(path), width)
        self.picture.paste(color, mask=area)
        self.alpha.paste(255, mask=area)

    def _pixels(self, path: Sequence[Point]) -> Path:
        pose, side = self._pose, self._side
        cos, sin = math.cos(math.radians(pose.degrees)), math.sin(math.radians(pose.degrees))
        scale = pose.radius * side
        return [
            (
                pose.x * side + scale * (x * pose.squeeze * cos - y / pose.squeeze * sin),
                pose.y * side + scale * (x * pose.squeeze * sin + y / pose.squeeze * cos),
            )
            for x, y in path
        ]

    def _filled(self, paths: Sequence[Sequence[Point]], hole: Sequence[Point] | None) -> Image.Image:
        area = Image.new("L", self.picture.size, 0)
        draw = ImageDraw.Draw(area)
        for path in paths:
            draw.polygon(self._pixels(path), fill=255)
        if hole is not None:
            draw.polygon(self._pixels(hole), fill=0)
        return area

    def _stroke(self, area: Image.Image, path: Sequence[Point]) -> None:
        pixels = self._pixels(path)
        self._draw_line(area, [*pixels, pixels[0], pixels[1]], 2 * OUTLINE_WIDTH)

    def _draw_line(self, area: Image.Image, pixels: Path, width: float) -> None:
        draw = ImageDraw.Draw(area)
        thickness = max(1, round(width * self._pose.radius * self._side))
        draw.line(pixels, fill=255, width=thickness, joint="curve")
        for x, y in (pixels[0], pixels[-1]):
            draw.ellipse((x - thickness / 2, y - thickness / 2, x + thickness / 2, y + thickness / 2), fill=255)

    def _rim(self, body: Image.Image, offset: float) -> Image.Image:
        """Return the part of `body` that its copy, shifted by `offset` to the lower right, leaves bare.

        The light comes from the upper left of the picture however the object is turned.
        """
        pixels = round(offset * self._pose.radius * self._side)
        moved = Image.new("L", body.size, 0)
        moved.paste(body, (pixels, pixels))
        return ImageChops.subtract(body, moved)
