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
MaskChannel = Literal["auto", "lightness", "alpha"]

SELECTS_NOTHING = "the mask selects nothing, so nothing was painted: no pixel of it reaches `threshold`"
ZERO_AND_ONE = "the mask holds 0 and 1 only, and 1 was taken for white: save masks with 0 and 255"
STRETCHED = "the mask has other proportions than the image and was stretched over it"
GRAY_SPREAD = 8  # between the channels of a pixel: lossy formats tint gray a little
RIM = 2  # pixels: how far the soft edge of a cut-out reaches around a hole


def from_image(
    mask: Image.Image, size: tuple[int, int], threshold: float, channel: MaskChannel = "auto"
) -> tuple[Mask, tuple[str, ...]]:
    """Return the item's own mask, and what is to be warned of: light pixels are painted, or opaque ones.

    Scaled to `size` (width, height) where it has another. Raises ValueError for a mask whose lightness and alpha could
    both be meant (`channel` auto).
    """
    values = _values(mask, threshold, channel)
    is_binary = bool(values.max() == 1 and values.min() == 0)
    plane = Image.fromarray(values * np.uint8(OPAQUE) if is_binary else values)
    found = np.asarray(plane.resize(size, Image.Resampling.BILINEAR)) >= _least(threshold)
    warned = {
        STRETCHED: not _same_proportions(mask.size, size),
        ZERO_AND_ONE: is_binary,
        SELECTS_NOTHING: not found.any(),
    }
    return found, tuple(text for text, applies in warned.items() if applies)


def _least(threshold: float) -> float:
    return max(1.0, threshold * OPAQUE)


def _same_proportions(mask: tuple[int, int], image: tuple[int, int]) -> bool:
    """Return whether one is the other one scaled, to a pixel: scaling rounds sides."""
    return abs(mask[0] * image[1] - mask[1] * image[0]) <= max(*mask, *image)


def _values(mask: Image.Image, threshold: float, channel: MaskChannel) -> Plane:
    """Return the lightness or the alpha of the mask, whichever marks where to paint."""
    image = mask.convert("RGBA" if mask.has_transparency_data else "RGB")
    light, alpha = np.asarray(image.convert("L")), alpha_of(image)
    if channel == "auto":
        channel = _meant(np.asarray(image.convert("RGB")), light >= _least(threshold), alpha, threshold)
    return light if channel == "lightness" else alpha


def _meant(colors: Plane, light: Mask, alpha: Plane, threshold: float) -> MaskChannel:
    """Return which of lightness and alpha marks where to paint. Raises ValueError where they mark different places.

    Alpha is not meant where it is even, or leaves the whole mask visible. Lightness is not meant where the colors are
    not shades of gray, where all that is visible is light, or where nothing is light: strokes on a transparent layer,
    as painting programs save them.
    """
    opaque, visible = alpha >= _least(threshold), alpha > 0
    if opaque.all() or (alpha.min() == alpha.max() and visible.any()):
        return "lightness"
    shown = colors[visible].astype(np.int16)
    is_gray = not shown.size or int(np.ptp(shown, axis=-1).max()) <= GRAY_SPREAD
    if not is_gray or light[visible].all() or not light.any() or (light == opaque).all():
        return "alpha"
    raise ValueError(
        "the mask could be meant by its lightness or by its alpha, which differ: set `mask_channel` of the step to "
        "lightness or alpha, or save the mask without transparency"
    )


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
