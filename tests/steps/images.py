"""Items, frames and images for the steps' tests."""

from typing import Any

import numpy as np
from PIL import Image

from configs.documents.fields import Item
from steps.contract import Frame


def item(index: int = 0, **fields: Any) -> Item:
    values = {"name": f"item-{index}", "prompt": "a red potion on white background", "seed": 100 + index}
    return Item(**{"index": index, **values, **fields})


def frame(index: int = 0, image: Image.Image | None = None, files: Any = None, **fields: Any) -> Frame:
    return Frame(item(index, **fields), image, files or {})


def noise(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, len(mode)), dtype=np.uint8))


def disc(size: int = 64, color: tuple[int, int, int] = (200, 30, 40), hole: int = 0, under: int = 0) -> Image.Image:
    """RGBA: a disc of a radius of 3/8 of the size with a soft edge, a hole of `hole` px radius in the middle, and
    `under` as the gray below transparent pixels.
    """
    y, x = np.mgrid[:size, :size] + 0.5 - size / 2
    distance = np.hypot(x, y)
    alpha = np.clip(size * 3 / 8 - distance + 0.5, 0, 1) * np.clip(distance - hole + 0.5, 0 if hole else 1, 1)
    pixels = np.full((size, size, 4), under, dtype=np.uint8)
    pixels[alpha > 0, :3] = color
    pixels[..., 3] = np.rint(alpha * 255)
    return Image.fromarray(pixels)
