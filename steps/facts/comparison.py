"""Facts that compare an image with the one that its step was given."""

from collections.abc import Mapping

import numpy as np

from steps.contract import Fact
from steps.facts.background import left_and_lost
from steps.facts.pairs import of_one_size
from steps.facts.spec import FactMeasure, FactSpec
from steps.facts.view import View, on_gray, visible
from steps.pixels.alpha import OPAQUE

WINDOW = 7  # pixels: the side of SSIM's window


def _difference(view: View) -> Mapping[str, Fact]:
    assert view.source is not None
    ours, theirs = (visible(image) for image in of_one_size(view.image, view.source))
    return {"difference": float(np.abs(ours - theirs).mean()) / OPAQUE}


def _similarity(view: View) -> Mapping[str, Fact]:
    """Wang, Bovik, Sheikh & Simoncelli 2004, as scikit-image has it."""
    import cv2
    from skimage.metrics import structural_similarity

    assert view.source is not None
    planes = [np.asarray(on_gray(image).convert("L")) for image in of_one_size(view.image, view.source)]
    height, width = planes[0].shape
    more = (0, max(0, WINDOW - height), 0, max(0, WINDOW - width))
    ours, theirs = (cv2.copyMakeBorder(plane, *more, cv2.BORDER_REPLICATE) for plane in planes)
    return {"similarity": float(structural_similarity(ours, theirs, win_size=WINDOW, data_range=OPAQUE))}


MEASURES = (
    FactMeasure(
        (
            FactSpec(
                "difference",
                float,
                0,
                1,
                "Mean difference from the image that the step was given, over colors and alpha, 0 (the same) … 1; the "
                "larger of the two is reduced to the smaller.",
                always=False,
                reads_source=True,
            ),
        ),
        _difference,
    ),
    FactMeasure(
        (
            FactSpec(
                "similarity",
                float,
                -1,
                1,
                "SSIM with the image that the step was given, 1: the same structures, 0: unrelated, below 0: "
                "inverted; transparent pixels count as gray, the larger image is reduced to the smaller.",
                always=False,
                reads_source=True,
            ),
        ),
        _similarity,
    ),
    FactMeasure(
        (
            FactSpec(
                "background_left",
                float,
                0,
                1,
                "Share of the subject that looks like the background of the image that the step was given and touches "
                "the outside, 0 … 1: what remove_background left in. 0 where there is no background to compare with.",
                always=False,
                reads_source=True,
            ),
            FactSpec(
                "subject_lost",
                float,
                0,
                1,
                "Area that the subject encloses, that was made transparent and does not look like the background of "
                "the image that the step was given, as a share of the subject with it, 0 … 1: what remove_background "
                "took away. The eye of a key is no loss, as one sees the background through it.",
                always=False,
                reads_source=True,
            ),
        ),
        left_and_lost,
    ),
)
