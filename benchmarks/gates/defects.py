"""Ten kinds of defects, drawn by code into sound pictures. How strong they are: visible, not caricatures.

Every planter is a function of the picture, a random generator and a Bench, which enlarges, cuts out and has other
pictures. Lengths are pixels of the small picture; in `large` they are four times as many.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from benchmarks.gates.picture import SCALE, Picture, Stage

Rng = np.random.Generator
Pixels = NDArray[np.float64]


class Bench(Protocol):
    """Tools of planters."""

    def enlarged(self, picture: Picture) -> Picture:
        """The picture with `large`, made by the upscaler from its cut-out."""
        ...

    def other(self, picture: Picture, rng: Rng, *, object: bool) -> Picture:
        """A small sound picture of another object in the same color; or of the same object in another color.

        Made the way `picture` was: drawn, or generated.
        """
        ...


@dataclass(frozen=True)
class Defect:
    """`about` describes its strength. `only_large`: exists only after enlarging."""

    plant: Callable[[Picture, Rng, Bench], Picture]
    about: str
    only_large: bool = False


def _blank(picture: Picture, rng: Rng, bench: Bench) -> Picture:
    size = picture.cutout.size
    color = np.array(rng.integers(0, 256, 3), dtype=float)
    pixels = np.broadcast_to(color, (size[1], size[0], 3)).copy()
    kind = int(rng.integers(4))
    if kind == 1:
        pixels += rng.normal(0, rng.uniform(0.5, 2), pixels.shape)
    if kind == 2:
        pixels += np.linspace(-1, 1, size[1])[:, None, None] * rng.uniform(3, 10)
    base = _image(pixels)
    alpha = np.full((size[1], size[0]), 255, dtype=np.uint8)
    if kind in (0, 3):
        alpha[:] = rng.integers(0, 4, alpha.shape)
    if kind == 3:
        row, column = rng.integers(4, min(size) - 4, 2)
        alpha[row : row + 2, column : column + 2] = 255
    return _recut(picture, base, alpha, bench)


def _blurred(picture: Picture, rng: Rng, bench: Bench) -> Picture:  # noqa: ARG001 - one signature for all
    sigma = rng.uniform(1.2, 2.2) * (SCALE if picture.is_large else 1)
    clear = picture.final.convert("RGBa")  # else the colors under transparent pixels would come forth
    return picture.with_final(clear.filter(ImageFilter.GaussianBlur(sigma)).convert("RGBA"))


def _cut_off(picture: Picture, rng: Rng, bench: Bench) -> Picture:
    left, top, right, bottom = _box(picture)
    share = rng.uniform(0.1, 0.35)
    side = int(rng.integers(4))
    width, height = picture.cutout.size
    away = {
        0: (-(left + round(share * (right - left))), 0),
        1: (width - right + round(share * (right - left)), 0),
        2: (0, -(top + round(share * (bottom - top)))),
        3: (0, height - bottom + round(share * (bottom - top))),
    }[side]
    moved_colors, moved_alpha = (
        _moved(np.asarray(plane), away) for plane in (picture.base, picture.cutout.getchannel("A"))
    )
    share_of_subject = moved_alpha[..., None] / 255
    pixels = _clean(picture) * (1 - share_of_subject) + moved_colors * share_of_subject
    return _recut(picture, _image(pixels), moved_alpha, bench)


def _holes(picture: Picture, rng: Rng, bench: Bench) -> Picture:
    alpha = np.asarray(picture.cutout.getchannel("A")).copy()
    solid = (alpha > 250).astype(np.uint8)
    depth = cv2.distanceTransform(solid, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    wanted = rng.uniform(0.03, 0.1) * solid.sum()
    opened = np.zeros(alpha.shape, np.uint8)
    for _ in range(40):
        radius = np.sqrt(wanted / rng.integers(1, 4) / np.pi)
        inside = np.argwhere(depth >= min(radius + 2, 0.95 * depth.max()))
        row, column = inside[rng.integers(len(inside))]
        axes = (max(1, round(radius * rng.uniform(0.8, 1.3))), max(1, round(radius * rng.uniform(0.8, 1.3))))
        cv2.ellipse(opened, (int(column), int(row)), axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
        opened[depth < 2] = 0  # a rim stays: an opening to the outside is not a hole
        if (opened > 0).sum() >= wanted:
            break
    soft = cv2.GaussianBlur(opened, (3, 3), 0.6).astype(float) / 255
    return _recut(picture, picture.base, np.rint(alpha * (1 - soft)).astype(np.uint8), bench)


def _background_left(picture: Picture, rng: Rng, bench: Bench) -> Picture:
    alpha = np.asarray(picture.cutout.getchannel("A")).copy()
    kind = int(rng.integers(6))
    if kind == 0:
        return _recut(picture, picture.base, np.full_like(alpha, 255), bench)
    subject = (alpha > 127).astype(np.uint8)
    away = cv2.distanceTransform(1 - subject, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    rows, columns = np.indices(alpha.shape)
    left, top, right, bottom = _box(picture)
    turned = np.arctan2(rows - (top + bottom) / 2, columns - (left + right) / 2) - rng.uniform(-np.pi, np.pi)
    if kind <= 3:  # a rim along a part of the outline
        kept = (away <= rng.uniform(3, 6)) & (np.mod(turned, 2 * np.pi) < 2 * np.pi * rng.uniform(0.35, 1))
    else:  # a patch beside the subject
        edge = np.argwhere((away > 0) & (away < 3))
        row, column = edge[rng.integers(len(edge))]
        radius = np.sqrt(rng.uniform(0.08, 0.25) * subject.sum() / np.pi * 2)
        kept = np.hypot(rows - row, columns - column) <= radius
    alpha[kept] = 255
    return _recut(picture, picture.base, alpha, bench)


def _wrong_object(picture: Picture, rng: Rng, bench: Bench) -> Picture:
    return _delivered_instead(picture, bench.other(picture, rng, object=True), bench)


def _wrong_color(picture: Picture, rng: Rng, bench: Bench) -> Picture:
    return _delivered_instead(picture, bench.other(picture, rng, object=False), bench)


def _duplicate(picture: Picture, rng: Rng, bench: Bench) -> Picture:  # noqa: ARG001
    image = picture.final
    kind = int(rng.integers(5))
    alpha = image.getchannel("A")
    colors = image.convert("RGB")
    if kind == 0:
        file = io.BytesIO()
        colors.save(file, "JPEG", quality=int(rng.integers(70, 93)))
        colors = Image.open(file).convert("RGB")
    elif kind == 1:
        colors = _image(np.asarray(colors) * rng.uniform(0.95, 1.05) + rng.uniform(-6, 6))
    elif kind == 2:
        colors = _image(np.asarray(colors) + rng.normal(0, 3, (*colors.size[::-1], 3)))
    copy = colors.copy()
    copy.putalpha(alpha)
    if kind == 3:
        side = round(copy.width * rng.uniform(0.7, 0.9))
        copy = copy.resize((side, side), Image.Resampling.BICUBIC).resize(image.size, Image.Resampling.BICUBIC)
    elif kind == 4:
        right, down = rng.uniform(-0.5, 0.5, 2) * (SCALE if picture.is_large else 1)
        copy = copy.transform(image.size, Image.Transform.AFFINE, (1, 0, right, 0, 1, down), Image.Resampling.BICUBIC)
    return picture.with_final(copy)


def _seam(picture: Picture, rng: Rng, bench: Bench) -> Picture:  # noqa: ARG001
    image = picture.final
    pixels = np.asarray(image).astype(float)
    left, top, right, bottom = (SCALE * side for side in _box(picture))
    tile = int(rng.integers(64, 129))
    # A border of tiles goes through the middle half of the subject.
    origin_x = round(left + (right - left) * rng.uniform(0.25, 0.75))
    origin_y = round(top + (bottom - top) * rng.uniform(0.25, 0.75))
    rows = (np.arange(image.height) - origin_y) // tile
    columns = (np.arange(image.width) - origin_x) // tile
    light = rng.uniform(8, 16) * (1 if rng.integers(2) else -1)
    for row in np.unique(rows):
        for column in np.unique(columns):
            where = np.ix_(rows == row, columns == column)
            # Tiles are lighter and darker in turn, each by some more or less, and each a little tinted.
            sign = 0.5 if (row + column) % 2 else -0.5
            shift = sign * light * rng.uniform(0.85, 1.15) + rng.uniform(-1.5, 1.5, 3)
            pixels[where] = np.concatenate([pixels[where][..., :3] + shift, pixels[where][..., 3:]], axis=2)
    return picture.with_final(_image(pixels))


def _noise(picture: Picture, rng: Rng, bench: Bench) -> Picture:  # noqa: ARG001
    pixels = np.asarray(picture.final).astype(float)
    grain = rng.normal(0, rng.uniform(10, 20), (*pixels.shape[:2], 3))
    if rng.integers(2):
        grain = np.repeat(grain[..., :1], 3, axis=2)  # without color
    pixels[..., :3] += grain
    return picture.with_final(_image(pixels))


DEFECTS: Mapping[str, Defect] = {
    "blank": Defect(_blank, "nothing, 2 x 2 pixels, one color with noise of 0.5 … 2, or a ramp of 6 … 20 levels"),
    "blurred": Defect(_blurred, "Gaussian of 1.2 … 2.2 pixels (4.8 … 8.8 in `large`)"),
    "cut off": Defect(_cut_off, "10 … 35 % of the subject's width or height beyond the frame"),
    "holes": Defect(_holes, "1 … 3 ellipses, 3 … 10 % of the subject, soft rims, no nearer than 2 pixels to its edge"),
    "background left": Defect(
        _background_left,
        "all of it (1 in 6), a rim of 3 … 6 pixels along 35 … 100 % of the outline (3 in 6), or a patch (2 in 6)",
    ),
    "wrong object": Defect(_wrong_object, "another object in the color that was asked for"),
    "wrong color": Defect(_wrong_color, "the object that was asked for in another color"),
    "duplicate": Defect(
        _duplicate,
        "JPEG of quality 70 … 92, brightness ±5 % ±6 levels, noise of 3, resized to 70 … 90 % and back, or moved by "
        "up to half a pixel each way",
    ),
    "seam": Defect(_seam, "tiles of 64 … 128 pixels, next ones 8 … 16 levels lighter or darker, ±1.5 tint", True),
    "noise": Defect(_noise, "Gaussian of 10 … 20 levels, of each channel or of all alike"),
}


def _delivered_instead(picture: Picture, other: Picture, bench: Bench) -> Picture:
    delivered = replace(other, asked=picture.asked)
    return bench.enlarged(delivered) if picture.is_large else delivered


def _recut(picture: Picture, base: Image.Image, alpha: NDArray[np.uint8], bench: Bench) -> Picture:
    """Return the picture with another base and alpha, enlarged again if it was."""
    cutout = base.copy()
    cutout.putalpha(Image.fromarray(alpha))
    small = replace(picture, stages=(Stage("cutout", cutout, base),))
    return bench.enlarged(small) if picture.is_large else small


def _box(picture: Picture) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the small subject."""
    alpha = np.asarray(picture.cutout.getchannel("A")) > 127
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _clean(picture: Picture) -> Pixels:
    """The picture's background alone."""
    from starter.measures.subject import clean_background

    return clean_background(np.asarray(picture.base), picture.asked.background)


def _moved(plane: NDArray[np.uint8], away: tuple[int, int]) -> NDArray[np.uint8]:
    """Shifted by (right, down) pixels; zeros come in."""
    shift = np.array([[1, 0, away[0]], [0, 1, away[1]]], dtype=np.float32)
    return np.asarray(cv2.warpAffine(plane, shift, plane.shape[1::-1], flags=cv2.INTER_NEAREST))


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(pixels, 0, 255)).astype(np.uint8))
