"""Images: colors and alpha, the distance from a palette, and sizes that a model needs or a step may make."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor
from pydantic import AfterValidator

RGB = tuple[int, int, int]


def rgb(color: str) -> RGB:
    """Return red, green and blue, 0 … 255. Raises ValueError for anything but an opaque CSS color name or `#rrggbb`."""
    try:
        channels = ImageColor.getrgb(color)
    except ValueError:
        raise ValueError(
            f"{color!r} is not a color: write a name such as 'white' or digits such as '#ff8800'"
        ) from None
    if len(channels) == 4 and channels[3] != 255:
        raise ValueError(f"{color!r} is not opaque: leave its alpha digits out")
    return channels[0], channels[1], channels[2]


def _checked(color: str) -> str:
    rgb(color)
    return color


Color = Annotated[str, AfterValidator(_checked)]


OPAQUE = 255
SUBJECT = 128  # from here on a pixel belongs to the subject: more than half opaque

Plane = NDArray[np.uint8]


def alpha_of(image: Image.Image) -> Plane:
    """Return alpha, shape (height, width), 0 … 255; all 255 for an image without alpha."""
    if image.mode == "RGBA":
        return np.asarray(image.getchannel("A"))
    return np.full((image.height, image.width), OPAQUE, dtype=np.uint8)


def with_alpha(image: Image.Image, alpha: Plane) -> Image.Image:
    """Return RGBA with the image's colors as they are, also under transparent pixels."""
    result = image.convert("RGB")
    result.putalpha(Image.fromarray(np.ascontiguousarray(alpha)))
    return result


def flatten(image: Image.Image, color: RGB) -> Image.Image:
    """Return RGB: the image laid over a color. An RGB image comes back as it is."""
    if image.mode != "RGBA":
        return image
    backdrop = Image.new("RGBA", image.size, (*color, OPAQUE))
    return Image.alpha_composite(backdrop, image).convert("RGB")


def bleed(image: Image.Image, from_alpha: int = SUBJECT) -> Image.Image:
    """Return RGB in which every pixel of an alpha below `from_alpha` takes the color of the nearest one that has it.

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


BITS = 5  # of each channel: colors that agree in them are taken as one, which stands for their mean


def palette_distance(image: Image.Image, palette: Sequence[RGB]) -> float | None:
    """Return the mean CIEDE2000 distance of the pixels to the nearest color of the palette, weighed by alpha.

    0: all pixels have a color of the palette; 1 is about the least difference that an eye sees, black and white are 100
    apart. Returns None for an image without any visible pixel. Sharma, Wu, Dalal 2005; sRGB under D65.
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
    """Return the image's distinct colors (n, 3), 0 … 255, and the alpha that each has in total, always more than 0.

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


# Pillow takes a file of more pixels for a bomb and does not open it: the result could not be read.
MAX_PIXELS = 178_956_970


def checked_size(width: int, height: int) -> tuple[int, int]:
    """Return the size itself, if an image of it may be made. Raises ValueError before any memory is taken."""
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"the result would have {width:,} x {height:,} pixels, more than {MAX_PIXELS:,}: ask for a smaller one"
        )
    return width, height


def padded_size(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Return width and height, each raised to a multiple of `multiple`."""
    width, height = size
    return -(-width // multiple) * multiple, -(-height // multiple) * multiple


def pad_to_multiple(image: Image.Image, multiple: int) -> Image.Image:
    """Repeat the last column and the last row, up to a multiple of `multiple` pixels."""
    return pad_to(image, *padded_size(image.size, multiple))


def pad_to(image: Image.Image, width: int, height: int) -> Image.Image:
    """Repeat the last column and the last row, up to `width` x `height` pixels."""
    right, bottom = max(0, width - image.width), max(0, height - image.height)
    if not right and not bottom:
        return image
    pixels = np.asarray(image)
    widths = ((0, bottom), (0, right), (0, 0))[: pixels.ndim]
    return Image.fromarray(np.pad(pixels, widths, mode="edge"))


def crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the top left corner of `size` (width, height)."""
    return image if image.size == size else image.crop((0, 0, *size))
