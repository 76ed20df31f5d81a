"""Which generated pictures count as sound, decided by nothing that a gate reads.

The generator is small and fails sometimes. A picture is sound when

* its cut-out covers what starter.measures.subject finds, which compares the picture with its own clean background and
  uses no network: an intersection over union of at least LEAST_OVERLAP;
* that subject keeps off the frame by a pixel;
* drawn sprites of the object and the color that were asked for are the nearest to it: of six drawings of each object
  in that color, placed like the subject and compared in their pixels, the object is among the NEAREST objects, and of
  the eight colors of that object, the color is the nearest.

No fact and no classifier takes part.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.gates.picture import Picture
from starter.measures.subject import overlap, subject_mask
from starter.sprites import COLORS, OBJECTS, draw_sprite

LEAST_OVERLAP = 0.92
NEAREST = 2  # objects: a coin may lie nearer to a drawn globe than to any drawn coin
TEMPLATES, TEMPLATE_SEED = 6, 9_000_000
SIDE = 16  # pixels at which pictures are compared
GRAY = 128


def is_sound(picture: Picture) -> bool:
    """Whether a generated picture is what was asked for, cut out as it should be."""
    asked = picture.asked
    base = np.asarray(picture.base)
    subject = subject_mask(base, asked.background, asked.object, asked.color)
    if not subject[1:-1, 1:-1].any() or subject.sum() != subject[1:-1, 1:-1].sum():
        return False
    cut = np.asarray(picture.cutout.getchannel("A")) > 127
    if overlap(cut, subject) < LEAST_OVERLAP:
        return False
    seen = _placed(base, subject)
    objects = sorted(OBJECTS, key=lambda name: _distance(seen, name, asked.color))
    colors = sorted(COLORS, key=lambda color: _distance(seen, asked.object, color))
    return asked.object in objects[:NEAREST] and asked.color == colors[0]


def _distance(seen: NDArray[np.float32], name: str, color: str) -> float:
    return float(np.square(_templates(name, color) - seen).mean(axis=(1, 2, 3)).min())


@cache
def _templates(name: str, color: str) -> NDArray[np.float32]:
    sprites = (draw_sprite(name, color, "white", TEMPLATE_SEED + k) for k in range(TEMPLATES))
    return np.stack([_placed(np.asarray(each.image), np.asarray(each.mask) > 127) for each in sprites])


def _placed(colors: NDArray[np.uint8], subject: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(SIDE, SIDE, 3): the subject in the middle of a gray square of its longer side."""
    rows, columns = np.flatnonzero(subject.any(axis=1)), np.flatnonzero(subject.any(axis=0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    width, height = box[2] - box[0], box[3] - box[1]
    side = max(width, height)
    square = Image.new("RGB", (side, side), (GRAY, GRAY, GRAY))
    mask = Image.fromarray((subject * 255).astype(np.uint8)).crop(box)
    square.paste(Image.fromarray(colors).crop(box), ((side - width) // 2, (side - height) // 2), mask)
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BOX)).astype(np.float32)
