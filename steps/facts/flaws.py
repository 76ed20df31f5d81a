"""Facts about what processing leaves behind: noise, JPEG's blocks and borders of tiles; and about tileable images."""

from collections.abc import Mapping
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steps.contract import Fact
from steps.facts.view import FactSpec, Measures, View, of_one_size, visible
from steps.pixels.images import OPAQUE
from steps.pixels.masks import Mask

SECOND_DIFFERENCES = tuple(
    np.array(rows, dtype=np.float32)
    for rows in (
        ((0, 0, 0), (1, -2, 1), (0, 0, 0)),
        ((0, 1, 0), (0, -2, 0), (0, 1, 0)),
        ((1, 0, 0), (0, -2, 0), (0, 0, 1)),
        ((0, 0, 1), (0, -2, 0), (1, 0, 0)),
    )
)
CLEANEST = 0.3  # share of the subject by which noise is judged: most drawings are flat in that much of them
RESPONSE_TO_NOISE = 0.2767  # that quantile of the least of them for normal noise of deviation 1
BLOCK = 8  # JPEG's


def _noise(view: View) -> Mapping[str, Fact]:
    """Each pixel's least second difference of those in four directions; of them, that of the CLEANEST pixels.

    Along an edge, in one of the directions, nothing changes; noise changes in all of them. So fine detail counts far
    less than in Immerkær's estimate (1996), which is 10 for a clean pencil of 64 pixels.
    """
    import cv2

    responses = (
        cv2.filter2D(view.luma, cv2.CV_16S, kernel, borderType=cv2.BORDER_REFLECT_101) for kernel in SECOND_DIFFERENCES
    )
    least: NDArray[np.uint8] = reduce(cv2.min, map(cv2.convertScaleAbs, responses))
    inner = None if view.near_mask is None else Image.fromarray(view.inner * np.uint8(OPAQUE))
    counts = np.array(Image.fromarray(least).histogram(inner))
    before = np.cumsum(counts)
    wanted = before[-1] * CLEANEST
    level = int(np.searchsorted(before, wanted))
    if level == 0 or before[-1] == 0:
        return {"noise": 0.0}
    # As if the pixels of a level were spread evenly over it: else noise would come in steps of 3.6.
    share = (wanted - before[level - 1]) / counts[level]
    return {"noise": (level - 0.5 + share) / RESPONSE_TO_NOISE}


def _blocking(view: View) -> Mapping[str, Fact]:
    left, top, _, _ = view.corners
    luma = view.luma.astype(np.int16)
    return {"blocking": max(_excess_at_blocks(luma, view.near, left), _excess_at_blocks(luma.T, view.near.T, top))}


def _excess_at_blocks(luma: NDArray[np.int16], subject: Mask, first: int) -> float:
    """How much larger steps between columns are at multiples of 8 than elsewhere, -1 … 1; `first` is column 0's."""
    steps = np.abs(np.diff(luma, axis=1))
    both = subject[:, 1:] & subject[:, :-1]
    sums, counts = (steps * both).sum(axis=0, dtype=np.int64), both.sum(axis=0, dtype=np.int64)
    at_blocks = np.arange(first + 1, first + luma.shape[1]) % BLOCK == 0
    across = sums[at_blocks].sum() / max(1, counts[at_blocks].sum())
    within = sums[~at_blocks].sum() / max(1, counts[~at_blocks].sum())
    return float((across - within) / (across + within + 1))


WITHIN = 250  # alpha of 255 from which a reduced pixel holds nothing but the subject
LENGTH = 0.07  # of the image's side: a shorter line is a detail
ALONG = 0.7  # of the line: a tile's border goes all along it, save where dark or light pixels are clipped
RINGING = 0.05  # of the source's own contrast: what enlarging an edge changes beside it
EDGE = 40  # levels of contrast from which an edge in the source hides what happens at it


def _seam(view: View) -> Mapping[str, Fact]:
    assert view.source is not None
    pair = of_one_size(view.image, view.source)
    ours, theirs = (np.asarray(image.convert("RGB")).sum(axis=2, dtype=np.int16) for image in pair)
    inside = np.ones(ours.shape, dtype=np.bool_)
    for image in pair:
        if image.mode == "RGBA":
            inside &= np.asarray(image.getchannel("A")) >= WITHIN
    # What the image shows is in the source as well: in the difference only what the step itself did is left.
    change, shown = (ours - theirs) / np.float32(3), theirs / np.float32(3)
    turned = (np.ascontiguousarray(plane.T) for plane in (change, shown, inside))
    return {"seam": max(_greatest_mark(change, shown, inside), _greatest_mark(*turned))}


def _greatest_mark(change: NDArray[np.float32], shown: NDArray[np.float32], inside: Mask) -> float:
    """Return the greatest mark, levels of 255, that the change leaves along ALONG of any line between two columns.

    A mark is a step from one side to the other, or a streak: both pixels at the line against those beside them.
    """
    if change.shape[1] < 4:
        return 0.0
    # Of each line, the two pixels before it and the two after it.
    first, second, third, fourth = (change[:, start : change.shape[1] - 3 + start] for start in range(4))
    step = np.abs(third + fourth - first - second) / 2
    streak = np.abs(second + third - first - fourth) / 2
    span = _span(shown)
    marks = np.maximum(step, streak) - RINGING * span
    within = inside[:, :-3] & inside[:, 1:-2] & inside[:, 2:-1] & inside[:, 3:] & (span < EDGE)
    rows = np.count_nonzero(within, axis=0)
    lines = np.flatnonzero(rows >= max(2, LENGTH * change.shape[0]))
    if not lines.size:
        return 0.0
    marks = np.sort(np.where(within, marks, np.inf)[:, lines], axis=0)
    weakest = ((1 - ALONG) * (rows[lines] - 1)).astype(np.intp)
    return max(0.0, float(marks[weakest, np.arange(lines.size)].max()))


def _span(shown: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the contrast among the six pixels around each line."""
    import cv2

    window = np.ones((1, 6), np.uint8)
    light = cv2.dilate(shown, window, anchor=(2, 0), borderType=cv2.BORDER_REPLICATE)
    dark = cv2.erode(shown, window, anchor=(2, 0), borderType=cv2.BORDER_REPLICATE)
    return np.asarray((light - dark)[:, 1:-2])


def _wrap_seam(view: View) -> Mapping[str, Fact]:
    pixels = visible(view.image)
    return {"wrap_seam": max(_across_edges(pixels), _across_edges(pixels.transpose(1, 0, 2)))}


def _across_edges(pixels: NDArray[np.int16]) -> float:
    """Return the step from the last column to the first, over the ordinary step between columns."""
    if pixels.shape[1] < 2:
        return 0.0
    across = np.abs(pixels[:, 0] - pixels[:, -1]).mean()
    ordinary = np.abs(np.diff(pixels, axis=1)).mean()
    return float(across / (ordinary + 1))


MEASURES: Measures = {
    _noise: (
        FactSpec(
            "noise",
            "Standard deviation of the noise in the subject's luma, estimated where it is cleanest, levels of 255: "
            "under about 2 it is 0, icons of 64 pixels have up to 6, from about 8 one sees it; never over 922.",
            high=OPAQUE / RESPONSE_TO_NOISE,
        ),
    ),
    _blocking: (
        FactSpec(
            "blocking",
            "How much larger the steps of luma are at every 8th pixel than elsewhere, relative to both, 0 … 1: the "
            "blocks of JPEG. Up to 0.1 there are none to see.",
            always=False,
        ),
    ),
    _seam: (
        FactSpec(
            "seam",
            "The most visible border of tiles that the step drew: the line between two rows or columns at which the "
            "change from the image that the step was given makes the greatest step or streak along 70 % of its length "
            "within the subject; levels of 255. Up to 1: none; from about 4 one sees it.",
            high=OPAQUE,
            always=False,
            reads_source=True,
        ),
    ),
    _wrap_seam: (
        FactSpec(
            "wrap_seam",
            "Whether the image tiles: the mean step from its last row or column to its first, the worse of the two, "
            "divided by one more than the mean step between neighbors. Around 1 and below: no seam shows.",
            high=OPAQUE,
            always=False,
        ),
    ),
}
