"""Facts about the subject's colors."""

from collections.abc import Mapping

import numpy as np

from steps.contract import Fact
from steps.facts.spec import FactMeasure, FactSpec
from steps.facts.view import View
from steps.pixels.alpha import OPAQUE

STEP = 16  # levels of a channel: shades that close are one color


def _colorfulness(view: View) -> Mapping[str, Fact]:
    """Hasler & Süsstrunk, "Measuring colorfulness in natural images", 2003: their M3."""
    import cv2

    if not view.area:
        return {"colorfulness": 0.0}
    red, green, blue = cv2.split(view.colors)
    red_green = cv2.subtract(red, green, dtype=cv2.CV_16S)
    # Twice the yellow-blue of the paper: whole numbers.
    yellow_blue = cv2.subtract(cv2.add(red, green, dtype=cv2.CV_16S), cv2.add(blue, blue, dtype=cv2.CV_16S))
    moments = [cv2.meanStdDev(plane, mask=view.near_bytes) for plane in (red_green, yellow_blue)]
    means, deviations = (np.array([moments[0][i].item(), moments[1][i].item() / 2]) for i in (0, 1))
    return {"colorfulness": float(np.hypot(*deviations) + 0.3 * np.hypot(*means))}


def _dominant(view: View) -> Mapping[str, Fact]:
    import cv2

    if not view.area:
        return {"dominant_color": "", "dominant_share": 0.0}
    where = None if view.near_mask is None else view.near_bytes
    counts = cv2.calcHist([view.colors], [0, 1, 2], where, [256 // STEP] * 3, [0, 256] * 3)
    fullest = np.array(np.unravel_index(int(counts.argmax()), counts.shape))
    count = round(float(counts.max()))
    inside = cv2.bitwise_and(cv2.inRange(view.colors, fullest * STEP, fullest * STEP + STEP - 1), view.near_bytes)
    red, green, blue = (round(level) for level in cv2.mean(view.colors, mask=inside)[:3])
    return {"dominant_color": f"#{red:02x}{green:02x}{blue:02x}", "dominant_share": count / view.area}


MEASURES = (
    FactMeasure(
        (
            FactSpec(
                "colorfulness",
                float,
                0,
                1.3 * 2**0.5 * OPAQUE,
                "How colorful the subject is (Hasler & Süsstrunk's M3): 0 gray, 15 slightly, 33 moderately, 59 quite, "
                "over 109 extremely; never over 469.",
            ),
        ),
        _colorfulness,
    ),
    FactMeasure(
        (
            FactSpec(
                "dominant_color",
                str,
                None,
                None,
                "The subject's most frequent color, like `#d22a30`: the mean of the fullest of 16 x 16 x 16 equal "
                "boxes of RGB. An empty text for an empty image.",
            ),
            FactSpec("dominant_share", float, 0, 1, "The share of the subject that has it, 0 … 1."),
        ),
        _dominant,
    ),
)
