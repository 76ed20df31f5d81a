"""Facts about what processing leaves behind: noise and JPEG's blocks."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steps.contract import Fact
from steps.facts.spec import FactMeasure, FactSpec
from steps.facts.view import View
from steps.pixels.alpha import OPAQUE
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

    least: NDArray[np.uint8] | None = None
    for kernel in SECOND_DIFFERENCES:
        response = cv2.filter2D(view.luma, cv2.CV_16S, kernel, borderType=cv2.BORDER_REFLECT_101)
        size = cv2.convertScaleAbs(response)
        least = size if least is None else cv2.min(least, size)
    assert least is not None
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


MEASURES = (
    FactMeasure(
        (
            FactSpec(
                "noise",
                float,
                0,
                OPAQUE / RESPONSE_TO_NOISE,
                "Standard deviation of the noise in the subject's luma, estimated where it is cleanest, levels of 255: "
                "under about 2 it is 0, icons of 64 pixels have up to 6, from about 8 one sees it; never over 922.",
            ),
        ),
        _noise,
    ),
    FactMeasure(
        (
            FactSpec(
                "blocking",
                float,
                0,
                1,
                "How much larger the steps of luma are at every 8th pixel than elsewhere, relative to both, 0 … 1: the "
                "blocks of JPEG. Up to 0.1 there are none to see.",
                always=False,
            ),
        ),
        _blocking,
    ),
)
