"""Where the subject of a generated picture is, judged against the picture's own clean background.

A generated picture has no drawn mask. Its prompt names the kind of background, and all kinds are simple: a
vertical gradient, or something that repeats every 16 pixels of 64. So the clean background is estimated from the
margin of the picture alone, and the subject is where the picture differs from it. No trained network takes part.
`evaluate` also judges the estimate itself, on sprites whose masks are known.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from starter.drawing.palette import outline_of
from starter.sprites import COLORS

PERIOD = 16  # of every pattern, in pixels of 64: eight cells, alternating
MARGIN = 8
VISIBLE = 18.0  # 0..255: weaker differences than this are the background's own unevenness
SMALL_HOLE = 14  # pixels: the hole of a cup's handle is twice as large
OPEN_OBJECTS = frozenset({"key", "cup"})  # through these one sees the background


def clean_background(picture: NDArray[np.uint8], background: str) -> NDArray[np.float64]:
    """Return the (64, 64, 3) background of a picture whose prompt names the kind `background`."""
    side = picture.shape[0]
    rows, columns = np.indices((side, side))
    margin = (rows < MARGIN) | (rows >= side - MARGIN) | (columns < MARGIN) | (columns >= side - MARGIN)
    estimate = np.empty(picture.shape, np.float64)
    if background == "gradient":
        # Each row's own median over the margin, then a straight line through the rows: the subject may cross a few.
        medians = np.array([np.median(picture[row][margin[row]], axis=0) for row in range(side)])
        for channel in range(3):
            estimate[..., channel] = _robust_line(medians[:, channel])[:, None]
        return estimate
    for row in range(PERIOD):
        for column in range(PERIOD):
            cells = (rows % PERIOD == row) & (columns % PERIOD == column)
            estimate[cells] = np.median(picture[cells & margin], axis=0)
    return estimate


def subject_mask(picture: NDArray[np.uint8], background: str, object: str, color: str) -> NDArray[np.bool_]:
    """Return the (64, 64) subject: pixels that differ from the clean background by half an outline's contrast or more.

    Every subject ends in an outline of a known dark color, so half of its contrast is where a mask of antialiased edges
    is cut too. What the outline encloses is subject (a white label on white), but for the holes of objects that one
    sees through: enclosed, not tiny, and of the background's color.
    """
    clean = clean_background(picture, background)
    contrast = np.abs(clean - np.array(outline_of(COLORS[color]))).max(axis=2)
    difference = np.abs(picture.astype(np.float64) - clean).max(axis=2)
    subject = difference > np.maximum(VISIBLE, 0.5 * contrast)
    # Holes first: a shield's gray rim on gray leaves a ring of outline around a larger heart.
    return _largest_part(_filled(subject, difference if object in OPEN_OBJECTS else None))


def overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Intersection over union, 0..1; two empty masks agree."""
    either = int((first | second).sum())
    return 1.0 if either == 0 else int((first & second).sum()) / either


def _robust_line(values: NDArray[np.float64]) -> NDArray[np.float64]:
    positions = np.arange(len(values))
    kept = np.ones(len(values), bool)
    line = values.copy()
    for _ in range(4):
        line[:] = np.polyval(np.polyfit(positions[kept], values[kept], 1), positions)
        error = np.abs(values - line)
        kept = error <= max(4.0, 1.5 * float(np.median(error)))
    return line


def _largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return mask
    return np.asarray(labels == 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA])))


def _filled(mask: NDArray[np.bool_], difference: NDArray[np.float64] | None) -> NDArray[np.bool_]:
    """`mask` with its enclosed holes filled; those that show the background stay open where `difference` is given."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    border = set(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]).tolist())
    filled = mask.copy()
    for label in set(range(1, len(statistics))) - border:
        hole = labels == label
        shows_background = difference is not None and float(np.median(difference[hole])) < VISIBLE
        if not shows_background or statistics[label, cv2.CC_STAT_AREA] <= SMALL_HOLE:
            filled |= hole
    return filled
