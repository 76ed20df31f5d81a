"""Facts about which images look alike, and the search for near-duplicates among many.

Two texts. `perceptual_hash` is the one of other tools: the 64-bit difference hash. For sprites it is far too coarse:
among 2,000 different ones every second has another within 6 bits, about where re-encoded copies lie as well.
`likeness` is a small picture instead, in the manner of MPEG-7's color layout: it keeps colors and the outline.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steps.contract import Fact
from steps.facts.view import FactSpec, Measures, View, on_gray
from steps.pixels.images import OPAQUE, alpha_of

FINE, COARSE = 12, 6  # sides of the small planes: luma and alpha; blue and red differences
LEVELS = "0123456789abcdefghijklmnopqrstuv"  # 32 levels, one character each
DISTANCE = 12.0  # levels of 255: up to here two likenesses are one picture
REDUCED = 4 * FINE  # sides, pixels, of what both texts are made from
_BLOCK, _COLUMNS = 1024, 16 * 1024  # of the table of distances that are held at once

_LUMA, _DIFFERENCES = FINE * FINE, 2 * COARSE * COARSE
LENGTH = 2 * _LUMA + _DIFFERENCES  # characters of a likeness


def _hashes(view: View) -> Mapping[str, Fact]:
    import imagehash

    image = view.image
    # Pillow reduces with whole numbers, and the difference hash compares them: the same texts on every machine.
    size = min(image.width, REDUCED), min(image.height, REDUCED)
    reduced = image if image.size == size else image.resize(size, Image.Resampling.BOX)
    return {"perceptual_hash": str(imagehash.dhash(on_gray(reduced))), "likeness": _likeness(reduced)}


def _likeness(image: Image.Image) -> str:
    luma, blue, red = on_gray(image).convert("YCbCr").split()
    alpha = Image.fromarray(alpha_of(image))
    planes = (_small(luma, FINE), _small(blue, COARSE), _small(red, COARSE), _small(alpha, FINE))
    return "".join(LEVELS[level >> 3] for plane in planes for level in plane)


def _small(plane: Image.Image, side: int) -> bytes:
    return plane.resize((side, side), Image.Resampling.BOX).tobytes()


def near_duplicates(
    likenesses: Sequence[str | None], distance: float = DISTANCE, *, kept: Collection[int] = ()
) -> list[int | None]:
    """Return for each picture the first earlier one that it repeats, or None.

    `likenesses` are values of the fact `likeness`; None stands for a picture that repeats nothing and is not repeated.
    `kept` are positions of pictures that never count as repetitions.
    A picture repeats another when their likenesses differ by at most `distance`: the root of the mean square
    differences of luma, of color and of alpha, levels of 255. A repeated picture is not itself a repetition, so all
    that is left without the repetitions differs by more than `distance`, but for `kept`; and only positions decide, so
    the same list gives the same result anywhere. Takes about a second for 10,000, and time grows with their square.

    Raises ValueError for a text that is not a likeness, with its index.
    """
    given = [index for index, text in enumerate(likenesses) if text is not None]
    vectors = _vectors(likenesses, given)
    squares = np.einsum("ij,ij->i", vectors, vectors)
    # Between vectors: a unit is 8 levels of 255, and each part weighs as much as FINE x FINE values.
    limit, kept = (distance / 8) ** 2 * _LUMA, frozenset(kept)
    first: list[int | None] = [None] * len(likenesses)
    originals = np.empty(0, dtype=np.int64)  # rows of those that repeat none, so far
    for start in range(0, len(given), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(given)))
        earlier = np.full(len(rows), -1)
        for some in (originals[at : at + _COLUMNS] for at in range(0, len(originals), _COLUMNS)):
            near = _near(vectors, squares, rows, some, limit)
            found = (earlier < 0) & near.any(axis=1)
            earlier[found] = some[near[found].argmax(axis=1)]
        beside = _near(vectors, squares, rows, rows, limit)
        is_original = np.zeros(len(rows), dtype=bool)
        for position, row in enumerate(rows.tolist()):
            index = given[row]
            if earlier[position] < 0 and position:
                twins = beside[position, :position] & is_original[:position]
                earlier[position] = rows[twins.argmax()] if twins.any() else -1
            if earlier[position] >= 0 and index not in kept:
                first[index] = given[int(earlier[position])]
            else:
                is_original[position] = True
        originals = np.concatenate([originals, rows[is_original]])
    return first


def distance_between(one: str, other: str) -> float:
    """How much two likenesses differ, in the levels of `near_duplicates`. Raises ValueError likewise."""
    vectors = _vectors([one, other], [0, 1])
    return float(np.sqrt(np.square(vectors[0] - vectors[1]).sum() / _LUMA) * 8)


def _near(
    vectors: NDArray[np.float32],
    squares: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    limit: float,
) -> NDArray[np.bool_]:
    """Return which of the rows are near which of the columns."""
    # Whole numbers below 2^24: float32 holds them exactly, in whatever order a machine sums.
    products = vectors[rows] @ vectors[columns].T
    return np.asarray(squares[rows, None] + squares[None, columns] - 2 * products <= limit)


def _vectors(likenesses: Sequence[str | None], given: Sequence[int]) -> NDArray[np.float32]:
    codes = np.full(256, OPAQUE, dtype=np.uint8)
    codes[np.frombuffer(LEVELS.encode(), dtype=np.uint8)] = np.arange(len(LEVELS))
    rows = np.empty((len(given), LENGTH), dtype=np.uint8)
    for row, index in enumerate(given):
        text = str(likenesses[index])
        if len(text) != LENGTH or not text.isascii():
            raise ValueError(f"number {index} is not a likeness: it must have {LENGTH} characters of 0 … 9, a … v")
        rows[row] = codes[np.frombuffer(text.encode(), dtype=np.uint8)]
    wrong = np.flatnonzero((rows == OPAQUE).any(axis=1))
    if wrong.size:
        raise ValueError(f"number {given[int(wrong[0])]} is not a likeness: it must have characters of 0 … 9, a … v")
    vectors = rows.astype(np.float32)
    vectors[:, _LUMA : _LUMA + _DIFFERENCES] *= FINE // COARSE  # fewer values, the same weight
    return vectors


MEASURES: Measures = {
    _hashes: (
        FactSpec(
            "perceptual_hash",
            "The 64-bit difference hash of ImageHash over a medium gray, 16 hexadecimal digits: for looking up roughly "
            "alike images in other tools.",
            kind=str,
            low=None,
            high=None,
        ),
        FactSpec(
            "likeness",
            f"The image at 12 x 12 pixels of 32 levels, {LENGTH} characters: by it near-duplicates within a job "
            "are found.",
            kind=str,
            low=None,
            high=None,
        ),
    ),
}
