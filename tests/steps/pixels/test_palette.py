"""palette_distance: CIEDE2000 to the nearest color, weighed by alpha."""

import time

import numpy as np
import pytest
from PIL import Image

from steps.pixels.images import palette_distance
from tests.steps import images

RED, TEAL, WHITE, BLACK = (255, 0, 0), (0, 128, 128), (255, 255, 255), (0, 0, 0)


def plain(color: tuple[int, ...]) -> Image.Image:
    return Image.new("RGBA" if len(color) == 4 else "RGB", (8, 8), color)


def test_a_color_of_the_palette_is_at_no_distance() -> None:
    assert palette_distance(plain(TEAL), [RED, TEAL]) == pytest.approx(0, abs=1e-9)


def test_black_and_white_are_100_apart() -> None:
    assert palette_distance(plain(BLACK), [WHITE]) == pytest.approx(100, abs=0.01)


def test_grays_differ_by_the_formulas_lightness_term() -> None:
    from skimage.color import rgb2lab

    dark, light = (119, 119, 119), (122, 122, 122)
    (dark_l, *_), (light_l, *_) = (rgb2lab(np.array(gray) / 255) for gray in (dark, light))
    mean = (dark_l + light_l) / 2
    weight = 1 + 0.015 * (mean - 50) ** 2 / np.sqrt(20 + (mean - 50) ** 2)
    assert palette_distance(plain(dark), [light]) == pytest.approx((light_l - dark_l) / weight, abs=1e-4)


def test_each_pixel_goes_to_the_color_nearest_to_it() -> None:
    half = plain(RED)
    half.paste(TEAL, (0, 0, 8, 4))
    assert palette_distance(half, [RED, TEAL]) == pytest.approx(0, abs=1e-9)
    alone = palette_distance(plain(TEAL), [RED])
    assert alone is not None
    assert palette_distance(half, [RED]) == pytest.approx(alone / 2)


def test_hidden_pixels_do_not_count_and_faint_ones_count_little() -> None:
    image = plain((*RED, 255))
    image.paste((*TEAL, 0), (0, 0, 8, 4))
    assert palette_distance(image, [RED]) == pytest.approx(0, abs=1e-9)
    image.paste((*TEAL, 51), (0, 0, 8, 4))
    alone = palette_distance(plain(TEAL), [RED])
    assert alone is not None
    assert palette_distance(image, [RED]) == pytest.approx(alone * 51 / (51 + 255))


def test_an_empty_image_has_no_distance() -> None:
    assert palette_distance(plain((*RED, 0)), [RED]) is None


def test_grouping_colors_changes_next_to_nothing() -> None:
    from skimage.color import deltaE_ciede2000, rgb2lab

    image = images.noise(64, 64)
    lab = rgb2lab(np.asarray(image).reshape(-1, 3) / 255)
    exact = np.min([deltaE_ciede2000(lab, rgb2lab(np.array([color]) / 255)) for color in (RED, TEAL)], axis=0).mean()
    assert palette_distance(image, [RED, TEAL]) == pytest.approx(exact, abs=0.1)


def test_a_large_photo_takes_no_minutes() -> None:
    start = time.process_time()
    palette_distance(images.noise(1024, 1024), [RED, TEAL, WHITE, BLACK])
    assert time.process_time() - start < 10
