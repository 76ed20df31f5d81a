"""Facts about light, dark and colors in the subject."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from steps.contract import Fact
from steps.facts.view import FactSpec, Measures, View
from steps.pixels.images import OPAQUE

NEARLY = 12  # of 255, each channel: a difference that one hardly sees side by side
TOP = 0.98  # share of pixels below what counts as the strongest edges, and as the lightest


def _look(view: View) -> Mapping[str, Fact]:
    import cv2

    if not view.area:
        return {"sharpness": 0.0, "contrast": 0.0, "brightness": 0.0}
    mean, deviation = _moments(view.luma, view.near_bytes)
    _, edges = _moments(cv2.Laplacian(view.luma, cv2.CV_16S), view.inner)
    return {"sharpness": edges**2, "contrast": deviation / OPAQUE, "brightness": mean / OPAQUE}


def _moments(plane: NDArray[np.uint8] | NDArray[np.int16], where: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation of the pixels where `where` is not 0; zeros if there are none."""
    import cv2

    mean, deviation = cv2.meanStdDev(plane, mask=where)
    return float(mean[0, 0]), float(deviation[0, 0])


def _levels(view: View) -> Mapping[str, Fact]:
    if not view.area:
        return {"clipped": 0.0, "entropy": 0.0, "flatness": 1.0}
    shares = np.array(view.gray.histogram(view.near_mask)) / view.area
    seen = shares[shares > 0]
    return {
        "clipped": shares[0] + shares[OPAQUE],
        "entropy": max(0.0, -float((seen * np.log2(seen)).sum())),
        "flatness": _share_near_median(view),
    }


def _share_near_median(view: View) -> float:
    import cv2

    counts = np.array(view.close_up.histogram(view.near_mask))[: 3 * (OPAQUE + 1)].reshape(3, OPAQUE + 1)
    medians = (np.cumsum(counts, axis=1) * 2 < view.area).sum(axis=1)
    near = cv2.inRange(view.colors, np.maximum(0, medians - NEARLY), np.minimum(OPAQUE, medians + NEARLY))
    return cv2.countNonZero(cv2.bitwise_and(near, near, mask=view.near_bytes)) / view.area


def _edge_width(view: View) -> Mapping[str, Fact]:
    import cv2

    inner = view.inner.view(np.bool_)
    if not inner.any():
        return {"edge_width": 1.0}
    luma = view.luma
    across = cv2.Sobel(luma, cv2.CV_32F, 1, 0, scale=1 / 8)  # levels a pixel
    down = cv2.Sobel(luma, cv2.CV_32F, 0, 1, scale=1 / 8)
    steepest = float(np.quantile(np.hypot(across, down)[inner], TOP))
    dark, light = np.quantile(luma[inner], (1 - TOP, TOP))
    if steepest <= 0:
        return {"edge_width": 1.0}
    return {"edge_width": float(light - dark) / steepest / max(view.image.size)}


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


MEASURES: Measures = {
    _look: (
        FactSpec(
            "sharpness",
            "Variance of the Laplacian of the 8-bit luma within the subject, 0 … 1,040,400; below about 100 an image "
            "of ordinary size looks soft. An enlarged image has less of it than a small one: compare images of one "
            "size.",
            high=(4 * OPAQUE) ** 2,
        ),
        FactSpec("contrast", "Standard deviation of the subject's luma, 0 … 0.5.", high=0.5),
        FactSpec("brightness", "Mean luma of the subject, 0 (black) … 1 (white); 0 for an empty image."),
    ),
    _levels: (
        FactSpec("clipped", "Share of the subject whose luma is 0 or 255, 0 … 1: black or white without detail."),
        FactSpec(
            "entropy",
            "Shannon entropy of the subject's luma, bits a pixel, 0 (one level) … 8 (all 256 levels alike). Flat "
            "drawings have 2 … 5, photos 6 … 7.8.",
            high=8,
        ),
        FactSpec(
            "flatness",
            f"Share of the subject whose channels all lie within {NEARLY} of 255 of its median color, 0 … 1; 1 for "
            "a blank or an empty image, near 1 for a faint gradient.",
        ),
    ),
    _edge_width: (
        FactSpec(
            "edge_width",
            "How wide the steepest edges inside the subject are, divided by the image's longer side, 0 … 1: the span "
            "of its luma over its steepest slopes. Sharp images of 256 pixels and more have up to 0.02, icons of 64 up "
            "to 0.05, as no edge is narrower than a pixel; 1 for an image without edges.",
            always=False,
        ),
    ),
    _colorfulness: (
        FactSpec(
            "colorfulness",
            "How colorful the subject is (Hasler & Süsstrunk's M3): 0 gray, 15 slightly, 33 moderately, 59 quite, over "
            "109 extremely; never over 469.",
            high=1.3 * 2**0.5 * OPAQUE,
        ),
    ),
    _dominant: (
        FactSpec(
            "dominant_color",
            "The subject's most frequent color, like `#d22a30`: the mean of the fullest of 16 x 16 x 16 equal boxes of "
            "RGB. An empty text for an empty image.",
            kind=str,
            low=None,
            high=None,
        ),
        FactSpec("dominant_share", "The share of the subject that has it, 0 … 1."),
    ),
}
