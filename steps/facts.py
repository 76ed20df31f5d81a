"""Facts: what is measured on every step's output, for conditions and gates to read."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steps.alpha import OPAQUE, SUBJECT, Plane, alpha_of
from steps.contract import Fact
from steps.masks import Mask, enclosed_area

DIGITS = 6  # facts are stored and compared as text: no noise of the last bits
SPECK = 0.0005  # of the image's area: a smaller part of the subject, or hole in it, is noise and does not count

IMAGE_FACTS: Mapping[str, str] = {
    "width": "Pixels.",
    "height": "Pixels.",
    "aspect": "Width divided by height.",
    "has_alpha": "Whether any pixel is transparent in the least.",
    "alpha_coverage": "Mean alpha, 0 (nothing to see) … 1 (opaque throughout).",
    "hole_ratio": "Area of the holes that the subject encloses, divided by the subject's area; 0: none. A subject is "
    "what is more than half opaque; holes of under 0.05 % of the image do not count.",
    "edge_contact": "Share of the image's border pixels that belong to the subject, 0 … 1; 1 for an opaque image.",
    "components": "Parts of the subject that do not touch, those under 0.05 % of the image left out; 1 for an opaque "
    "image, 0 for an empty one.",
    "sharpness": "Variance of the Laplacian of the 8-bit luma within the subject, 0 … 1,000,000; below about 100 an "
    "image of ordinary size looks soft.",
    "contrast": "Standard deviation of the subject's luma, 0 … 0.5.",
    "brightness": "Mean luma of the subject, 0 (black) … 1 (white); 0 for an empty image.",
}


def measure(image: Image.Image) -> dict[str, Fact]:
    """Every fact of IMAGE_FACTS about an RGB or RGBA image. The same pixels give the same facts on every machine."""
    alpha = alpha_of(image)
    subject = alpha >= SUBJECT
    facts: dict[str, Fact] = {
        "width": image.width,
        "height": image.height,
        "aspect": _rounded(image.width / image.height),
        "has_alpha": bool((alpha < OPAQUE).any()),
        "alpha_coverage": _rounded(float(alpha.mean()) / OPAQUE),
    }
    facts |= _shape(subject)
    facts |= _look(np.asarray(image.convert("RGB").convert("L")), subject)
    return facts


def _shape(subject: Mask) -> dict[str, Fact]:
    if subject.all():
        return {"hole_ratio": 0.0, "edge_contact": 1.0, "components": 1}
    speck = max(1, round(SPECK * subject.size))
    return {
        "hole_ratio": _rounded(enclosed_area(~subject, speck) / max(1, int(np.count_nonzero(subject)))),
        "edge_contact": _rounded(_border(subject).mean()),
        "components": _components(subject, speck),
    }


def _border(subject: Mask) -> Mask:
    """The frame's outermost pixels, each once."""
    frame = np.ones_like(subject)
    frame[1:-1, 1:-1] = False
    return np.asarray(subject[frame])


def _components(subject: Mask, speck: int) -> int:
    import cv2

    # Diagonal neighbors belong together here, as they are apart in holes: else a line could be cut and enclose.
    _, _, stats, _ = cv2.connectedComponentsWithStats(subject.astype(np.uint8), connectivity=8)
    return int(np.count_nonzero(stats[1:, cv2.CC_STAT_AREA] >= speck))


def _look(luma: Plane, subject: Mask) -> dict[str, Fact]:
    import cv2

    if not subject.any():
        return {"sharpness": 0.0, "contrast": 0.0, "brightness": 0.0}
    seen = subject.astype(np.uint8)
    mean, deviation = _moments(luma, seen)
    # Only where the 3x3 window lies within the subject: what is hidden under transparent pixels must not count.
    inner = seen if subject.all() else cv2.erode(seen, np.ones((3, 3), np.uint8), borderValue=1)
    _, edges = _moments(cv2.Laplacian(luma, cv2.CV_16S), inner)
    return {
        "sharpness": _rounded(edges**2),
        "contrast": _rounded(deviation / OPAQUE),
        "brightness": _rounded(mean / OPAQUE),
    }


def _moments(plane: NDArray[np.uint8] | NDArray[np.int16], where: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation of the pixels where `where` is not 0; zeros if there are none."""
    import cv2

    mean, deviation = cv2.meanStdDev(plane, mask=where)
    return float(mean[0, 0]), float(deviation[0, 0])


def _rounded(value: float | np.floating) -> float:
    return round(float(value), DIGITS)
