"""Facts about the frame, and about the subject's shape, read from alpha."""

from collections.abc import Mapping

import numpy as np

from steps.contract import Fact
from steps.facts.view import FactSpec, Measures, View
from steps.pixels.images import OPAQUE
from steps.pixels.masks import Mask, enclosed_area


def _frame(view: View) -> Mapping[str, Fact]:
    width, height = view.image.size
    return {"width": width, "height": height, "aspect": width / height}


SPECK = 0.0005  # of the image's area: a smaller part of the subject, or hole in it, is noise and does not count
SOFT_FROM, SOFT_TO = 13, 242  # alpha of 5 % … 95 %: networks leave alphas of 1 … 3 where nothing is


def _alpha(view: View) -> Mapping[str, Fact]:
    return {
        "has_alpha": bool((view.alpha < OPAQUE).any()),
        "alpha_coverage": float(view.alpha.mean()) / OPAQUE,
    }


def _soft_edge(view: View) -> Mapping[str, Fact]:
    soft = (view.alpha >= SOFT_FROM) & (view.alpha <= SOFT_TO)
    return {"soft_edge": np.count_nonzero(soft) / view.alpha.size}


def _shape(view: View) -> Mapping[str, Fact]:
    if view.is_opaque:
        return {"hole_ratio": 0.0, "edge_contact": 1.0, "components": 1}
    speck = max(1, round(SPECK * view.subject.size))
    return {
        "hole_ratio": enclosed_area(~view.near, speck) / max(1, view.area),
        "edge_contact": _border(view.subject).mean(),
        "components": _components(view.near, speck),
    }


def _border(subject: Mask) -> Mask:
    """Return the frame's outermost pixels, each once."""
    rows = (subject[0],) if len(subject) == 1 else (subject[0], subject[-1])
    inner = subject[1:-1]
    columns = (inner[:, 0],) if subject.shape[1] == 1 else (inner[:, 0], inner[:, -1])
    return np.concatenate([*rows, *columns])


def _components(subject: Mask, speck: int) -> int:
    import cv2

    # Diagonal neighbors belong together here, as they are apart in holes: else a line could be cut and enclose.
    _, _, stats, _ = cv2.connectedComponentsWithStats(subject.astype(np.uint8), connectivity=8)
    return int(np.count_nonzero(stats[1:, cv2.CC_STAT_AREA] >= speck))


def _box(view: View) -> Mapping[str, Fact]:
    left, top, width, height = view.box
    return {
        "box_left": left / view.image.width,
        "box_top": top / view.image.height,
        "box_width": width / view.image.width,
        "box_height": height / view.image.height,
    }


MEASURES: Measures = {
    _frame: (
        FactSpec("width", "Pixels.", kind=int, low=1, high=None),
        FactSpec("height", "Pixels.", kind=int, low=1, high=None),
        FactSpec("aspect", "Width divided by height.", high=None),
    ),
    _alpha: (
        FactSpec("has_alpha", "Whether any pixel is transparent in the least.", kind=bool, low=None, high=None),
        FactSpec("alpha_coverage", "Mean alpha, 0 (nothing to see) … 1 (opaque throughout)."),
    ),
    _shape: (
        FactSpec(
            "hole_ratio",
            "Area of the holes that the subject encloses, divided by the subject's area; 0: none. A subject is what is "
            "more than half opaque; holes of under 0.05 % of the image do not count.",
            high=None,
        ),
        FactSpec(
            "edge_contact",
            "Share of the image's border pixels that belong to the subject, 0 … 1; 1 for an opaque image. More than a "
            "few percent of a cut-out mostly mean that the frame cuts it off.",
        ),
        FactSpec(
            "components",
            "Parts of the subject that do not touch, those under 0.05 % of the image left out; 1 for an opaque image, "
            "0 for an empty one.",
            kind=int,
            high=None,
        ),
    ),
    _soft_edge: (
        FactSpec(
            "soft_edge",
            "Share of the pixels that are 5 % … 95 % opaque, 0 … 1. Crisp cut-outs have a few percent; much more is "
            "hair, glass, or a network that could not decide.",
        ),
    ),
    _box: tuple(
        FactSpec(f"box_{name}", f"{meaning}, 0 … 1; {rest}")
        for name, meaning, rest in (
            ("left", "Where the subject's box begins, as a share of the width", "0 for an empty image."),
            ("top", "Where the subject's box begins, as a share of the height", "0 for an empty image."),
            ("width", "Width of the subject's box as a share of the image's", "1 for an opaque image."),
            ("height", "Height of the subject's box as a share of the image's", "1 for an opaque image."),
        )
    ),
}
