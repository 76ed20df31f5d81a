"""What a cut-out has too much or too little, judged by the colors of the background that it was cut from."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steps.contract import Fact
from steps.facts.shape import SPECK
from steps.facts.view import View
from steps.pixels.alpha import SUBJECT, alpha_of
from steps.pixels.masks import Mask, dilate, enclosed, regions

BITS = 5  # levels of a channel that are told apart: 32
RIM = 2  # pixels beside the subject's edge that are a mixture, and frame pixels taken where nothing else is seen
RARE = 0.002  # of the background: a rarer color is a stray
LEAST = 0.02  # of the image: a smaller background says nothing


def left_and_lost(view: View) -> Mapping[str, Fact]:
    """The facts `background_left` and `subject_lost`."""
    assert view.source is not None
    nothing = {"background_left": 0.0, "subject_lost": 0.0}
    source = view.source
    if source.size != view.image.size:
        source = source.resize(view.image.size, Image.Resampling.BICUBIC)
    seen = alpha_of(source) >= SUBJECT
    colors = np.asarray(source.convert("RGB")) >> np.uint8(8 - BITS)
    background = _background(view.subject, seen)
    if background is None:
        return nothing
    alike = _looks_like(colors, background) & seen
    speck = max(1, round(SPECK * view.subject.size))
    left = _from_outside(view.subject & alike, ~view.subject) if view.area else view.subject
    lost = regions(enclosed(~view.subject) & ~alike & seen, speck)
    area_left, area_lost = (int(np.count_nonzero(mask)) for mask in (regions(left, speck), lost))
    return {
        "background_left": area_left / max(1, view.area),
        "subject_lost": area_lost / max(1, view.area + area_lost),
    }


def _background(subject: Mask, seen: Mask) -> Mask | None:
    """Where the source shows its background: outside the subject, or at the frame where all is subject; or None."""
    outside = ~dilate(subject, RIM) & seen & ~enclosed(~subject)
    if np.count_nonzero(outside) >= LEAST * outside.size:
        return outside
    frame = np.ones_like(subject)
    frame[RIM:-RIM, RIM:-RIM] = False
    frame &= seen & subject
    return frame if frame.any() else None


def _looks_like(colors: NDArray[np.uint8], where: Mask) -> Mask:
    """Pixels whose color, or one beside it, is among the colors (BITS bits a channel) of the pixels `where`."""
    import cv2

    levels = 1 << BITS
    weights = np.array([levels * levels, levels, 1])
    codes = colors.astype(np.int32) @ weights
    counts = np.bincount(codes[where], minlength=levels**3)
    common = (counts >= max(1.0, RARE * np.count_nonzero(where))).astype(np.uint8).reshape(levels, levels, levels)
    for axis in range(3):  # one level further each way: the noise and the ramps of one background
        flat = np.moveaxis(common, axis, 0).reshape(levels, -1)
        grown = cv2.dilate(np.ascontiguousarray(flat), np.ones((3, 1), np.uint8))
        common = np.moveaxis(grown.reshape(levels, levels, levels), 0, axis)
    return np.asarray(np.ascontiguousarray(common).ravel()[codes], dtype=np.bool_)


def _from_outside(mask: Mask, outside: Mask) -> Mask:
    """The mask's 4-connected regions that touch the outside or the frame."""
    import cv2

    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    near = cv2.dilate(outside.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1).astype(np.bool_)
    touched = np.zeros(int(labels.max()) + 1, dtype=np.bool_)
    touched[labels[mask & near]] = True
    touched[0] = False
    return np.asarray(touched[labels])
