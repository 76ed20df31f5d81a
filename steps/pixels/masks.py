"""Where to paint: masks from the item, from holes in a cut-out, from its background, or from its alpha.

A mask is boolean, shape (height, width), True where to paint.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steps.pixels.images import OPAQUE, Plane, alpha_of

Mask = NDArray[np.bool_]
MaskKind = Literal["item", "holes", "background", "alpha"]

RIM = 2  # pixels: how far the soft edge of a cut-out reaches around a hole


def from_image(mask: Image.Image, size: tuple[int, int], threshold: float) -> Mask:
    """Return the item's own mask: light pixels are painted. Scaled to `size` (width, height) where it has another.

    If a mask has alpha that is not all opaque, its alpha counts, as painting programs save masks.
    """
    alpha = alpha_of(mask)
    plane = mask.getchannel("A") if alpha.min() < OPAQUE else mask.convert("L")
    if plane.size != size:
        plane = plane.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(plane) >= max(1.0, threshold * OPAQUE)


def holes(alpha: Plane, threshold: float, min_area: int) -> Mask:
    """Transparent regions that the subject encloses, with the soft rim around each.

    A region is 4-connected pixels of an alpha below `threshold` (0 … 1) that reaches no side of the frame; one of
    fewer than `min_area` pixels stays. So a diagonal line of subject pixels does enclose.
    """
    found = enclosed(alpha < threshold * OPAQUE, min_area)
    return found | (dilate(found, RIM) & (alpha < OPAQUE)) if found.any() else found


def background(alpha: Plane, threshold: float, min_area: int) -> Mask:  # noqa: ARG001 - one signature for all kinds
    """All that is not wholly the subject: its soft edge is painted behind, so nothing stays transparent."""
    return alpha < OPAQUE


def transparent(alpha: Plane, threshold: float, min_area: int) -> Mask:
    """Pixels of an alpha below `threshold` (0 … 1), in 4-connected regions of at least `min_area` pixels."""
    return regions(alpha < threshold * OPAQUE, min_area)


FROM_ALPHA: Mapping[str, Callable[[Plane, float, int], Mask]] = {
    "holes": holes,
    "background": background,
    "alpha": transparent,
}


def regions(mask: Mask, min_area: int) -> Mask:
    """Return the mask's 4-connected regions of at least `min_area` pixels."""
    labels, areas, _ = _regions(mask)
    return np.asarray((areas >= max(1, min_area))[labels], dtype=np.bool_)


def enclosed(mask: Mask, min_area: int = 1) -> Mask:
    """Return the `regions` that reach no side of the frame."""
    labels, areas, inside = _regions(mask)
    return np.asarray((inside & (areas >= max(1, min_area)))[labels], dtype=np.bool_)


def enclosed_area(mask: Mask, min_area: int = 1) -> int:
    """How many pixels `enclosed` would find."""
    _, areas, inside = _regions(mask)
    return int(areas[inside & (areas >= max(1, min_area))].sum())


def _regions(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    """Label of each pixel; by label, the region's area, and whether it reaches no side of the frame."""
    import cv2

    height, width = mask.shape
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    left, top, wide, high, areas = stats.T  # in the order of OpenCV's CC_STAT constants
    areas[0] = 0  # label 0 is what lies outside the mask
    return labels, areas, (left > 0) & (top > 0) & (left + wide < width) & (top + high < height)


def dilate(mask: Mask, pixels: int) -> Mask:
    """Return the mask and all within `pixels` (Euclidean) of it."""
    if not pixels:
        return mask
    return _distance(mask) <= pixels


def feather(mask: Mask, pixels: int) -> Plane:
    """255 on the mask, falling in a straight line to 0 over `pixels` outside it."""
    if not pixels:
        return mask.astype(np.uint8) * np.uint8(OPAQUE)
    share = np.clip(1 - _distance(mask) / (pixels + 1), 0, 1)
    return np.rint(share * OPAQUE).astype(np.uint8)


def to_blocks(mask: Mask, block: int) -> Mask:
    """Grows the mask to whole squares of `block` pixels, so that no painted pixel falls into a latent that is kept.

    Height and width must be multiples of `block`.
    """
    height, width = mask.shape
    tiles = mask.reshape(height // block, block, width // block, block).any(axis=(1, 3))
    return tiles.repeat(block, axis=0).repeat(block, axis=1)


def _distance(mask: Mask) -> NDArray[np.float32]:
    """Distance of each pixel to the mask, pixels; infinite where the mask is empty."""
    import cv2

    if not mask.any():
        return np.full(mask.shape, np.inf, dtype=np.float32)
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE))
