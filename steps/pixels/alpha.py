"""Alpha: reading it, laying it over a color, and giving transparent pixels a harmless color."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steps.pixels.color import RGB

OPAQUE = 255
SUBJECT = 128  # from here on a pixel belongs to the subject: more than half opaque

Plane = NDArray[np.uint8]


def alpha_of(image: Image.Image) -> Plane:
    """Alpha, shape (height, width), 0 … 255; all 255 for an image without alpha."""
    if image.mode == "RGBA":
        return np.asarray(image.getchannel("A"))
    return np.full((image.height, image.width), OPAQUE, dtype=np.uint8)


def with_alpha(image: Image.Image, alpha: Plane) -> Image.Image:
    """RGBA with the image's colors as they are, also under transparent pixels."""
    result = image.convert("RGB")
    result.putalpha(Image.fromarray(np.ascontiguousarray(alpha)))
    return result


def flatten(image: Image.Image, color: RGB) -> Image.Image:
    """RGB: the image laid over a color. An RGB image comes back as it is."""
    if image.mode != "RGBA":
        return image
    backdrop = Image.new("RGBA", image.size, (*color, OPAQUE))
    return Image.alpha_composite(backdrop, image).convert("RGB")


def bleed(image: Image.Image, from_alpha: int = SUBJECT) -> Image.Image:
    """RGB in which every pixel of an alpha below `from_alpha` takes the color of the nearest one that has it.

    What a network or a filter then mixes into the subject's edge is the subject's own color, not whatever lies under
    transparent pixels. Nearest by the chamfer distance transform with labels (Borgefors 1986), as OpenCV has it.
    """
    import cv2

    colors, alpha = np.asarray(image.convert("RGB")), alpha_of(image)
    source = alpha >= min(from_alpha, int(alpha.max(initial=0)))  # a faint image still has its most opaque pixels
    if source.all() or not alpha.any():
        return image.convert("RGB")
    _, labels = cv2.distanceTransformWithLabels(
        (~source).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    palette = np.zeros((int(labels.max()) + 1, 3), dtype=np.uint8)
    palette[labels[source]] = colors[source]
    return Image.fromarray(palette[labels])
