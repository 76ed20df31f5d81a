"""Facts that compare an image with the one that its step was given."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steps.contract import Fact
from steps.facts.shape import SPECK
from steps.facts.view import FactSpec, Measures, View, of_one_size, on_gray, visible
from steps.pixels.images import OPAQUE, SUBJECT, alpha_of
from steps.pixels.masks import Mask, dilate, enclosed, regions

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


BITS = 5  # levels of a channel that are distinguished: 32
RIM = 2  # pixels beside the subject's edge that are a mixture, and frame pixels taken where nothing else is seen
RARE = 0.002  # of the background: a rarer color is a stray
LEAST = 0.02  # of the image: a smaller background is not judged


def left_and_lost(view: View) -> Mapping[str, Fact]:
    """Return the facts `background_left` and `subject_lost`."""
    assert view.source is not None
    source = view.source
    if source.size != view.image.size:
        source = source.resize(view.image.size, Image.Resampling.BICUBIC)
    seen = alpha_of(source) >= SUBJECT
    colors = np.asarray(source.convert("RGB")) >> np.uint8(8 - BITS)
    background = _background(view.subject, seen)
    if background is None:
        return {"background_left": 0.0, "subject_lost": 0.0}
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
    """Return the mask's 4-connected regions that touch the outside or the frame."""
    import cv2

    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    near = cv2.dilate(outside.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1).astype(np.bool_)
    touched = np.zeros(int(labels.max()) + 1, dtype=np.bool_)
    touched[labels[mask & near]] = True
    touched[0] = False
    return np.asarray(touched[labels])


MEASURES: Measures = {
    _difference: (
        FactSpec(
            "difference",
            "Mean difference from the image that the step was given, over colors and alpha, 0 (the same) … 1; the "
            "larger of the two is reduced to the smaller.",
            always=False,
            reads_source=True,
        ),
    ),
    _similarity: (
        FactSpec(
            "similarity",
            "SSIM with the image that the step was given, 1: the same structures, 0: unrelated, below 0: inverted; "
            "transparent pixels count as gray, the larger image is reduced to the smaller.",
            low=-1,
            always=False,
            reads_source=True,
        ),
    ),
    left_and_lost: (
        FactSpec(
            "background_left",
            "Share of the subject that looks like the background of the image that the step was given and touches the "
            "outside, 0 … 1: what remove_background left in. 0 where there is no background to compare with.",
            always=False,
            reads_source=True,
        ),
        FactSpec(
            "subject_lost",
            "Area that the subject encloses, that was made transparent and does not look like the background of the "
            "image that the step was given, as a share of the subject with it, 0 … 1: what remove_background took "
            "away. The eye of a key does not count, as the background shows through it.",
            always=False,
            reads_source=True,
        ),
    ),
}
