"""How far an image's colors are from a palette, as people see it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steps.pixels.alpha import OPAQUE, alpha_of
from steps.pixels.color import RGB

BITS = 5  # of each channel: colors that agree in them are taken as one, which stands for their mean


def palette_distance(image: Image.Image, palette: Sequence[RGB]) -> float | None:
    """Mean CIEDE2000 distance of the pixels to the nearest color of the palette, weighed by alpha.

    0: all pixels have a color of the palette; 1 is about what an eye can just tell apart, black and white are 100
    apart. None for an image without any visible pixel. Sharma, Wu, Dalal 2005; sRGB under D65.
    """
    from skimage.color import deltaE_ciede2000, rgb2lab

    colors, weights = _colors(image)
    if not weights.size:
        return None
    lab = rgb2lab(colors / OPAQUE)
    nearest = np.full(len(lab), np.inf)
    for color in rgb2lab(np.array(palette, dtype=np.float64) / OPAQUE):
        nearest = np.minimum(nearest, deltaE_ciede2000(lab, color[None]))
    return float(np.average(nearest, weights=weights))


def _colors(image: Image.Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The image's distinct colors (n, 3), 0 … 255, and the alpha that each has in total, always more than 0.

    A photograph has hundreds of thousands of colors, and a distance to each color of a palette costs half a
    microsecond; grouped they are at most 32,768.
    """
    channels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    alpha = alpha_of(image).reshape(-1).astype(np.float64)
    high = channels.astype(np.int64) >> (8 - BITS)
    groups = (high[:, 0] << 2 * BITS) | (high[:, 1] << BITS) | high[:, 2]
    weights = np.bincount(groups, alpha, 1 << 3 * BITS).astype(np.float64)
    used = weights > 0
    sums = [np.bincount(groups, alpha * channels[:, channel], 1 << 3 * BITS)[used] for channel in range(3)]
    return np.stack(sums, axis=-1) / weights[used, None], weights[used]
