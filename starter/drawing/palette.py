"""Colours as (red, green, blue) integers in 0..255, and the few ways the drawings mix them."""

from __future__ import annotations

import colorsys

import numpy as np

Color = tuple[int, int, int]

WHITE: Color = (255, 255, 255)
WOOD: Color = (150, 96, 52)
CREAM: Color = (252, 238, 210)
LEAF: Color = (76, 170, 70)
GOLD: Color = (250, 205, 70)
STEEL: Color = (196, 204, 216)
FLAME: Color = (255, 150, 40)
GLASS: Color = (214, 236, 246)


def mix(first: Color, second: Color, share: float) -> Color:
    """`first` moved towards `second` by `share` (0 is `first`, 1 is `second`)."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def darker(color: Color, share: float = 0.3) -> Color:
    """Return a shade of `color`, leaning to blue as shadows do."""
    return mix(color, (18, 8, 42), share)


def lighter(color: Color, share: float = 0.35) -> Color:
    """Return a tint of `color`."""
    return mix(color, WHITE, share)


def outline_of(color: Color) -> Color:
    """Return the dark line around a part: dark enough to be bold on white, light enough to be seen on black."""
    return mix(mix(color, (20, 8, 44), 0.72), (96, 80, 110), 0.12)


def tinted(color: Color, rng: np.random.Generator, hue: float = 0.012, light: float = 0.06) -> Color:
    """Return a small variation of `color` that keeps its name: hue by +-`hue` of a turn, lightness by +-`light`."""
    h, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in color))
    h = (h + rng.uniform(-hue, hue)) % 1.0
    lightness = min(1.0, max(0.0, lightness * (1 + rng.uniform(-light, light))))
    red, green, blue = (round(channel * 255) for channel in colorsys.hls_to_rgb(h, lightness, saturation))
    return red, green, blue
