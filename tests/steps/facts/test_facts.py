"""Facts, on images whose values are known."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from steps.facts import measure
from tests.steps import images


def rgba(alpha: Any, luma: int = 255) -> Image.Image:
    pixels = np.full((*alpha.shape, 4), luma, dtype=np.uint8)
    pixels[..., 3] = alpha
    return Image.fromarray(pixels)


def square(size: int, *boxes: tuple[int, int, int, int]) -> Any:
    """Alpha of opaque boxes (left, top, right, bottom); a box given later is cut out again where it overlaps."""
    alpha = np.zeros((size, size), dtype=np.uint8)
    for left, top, right, bottom in boxes:
        alpha[top:bottom, left:right] = 255 - alpha[top, left]
    return alpha


def test_an_opaque_image() -> None:
    white = {
        "width": 30,
        "height": 20,
        "aspect": 1.5,
        "has_alpha": False,
        "alpha_coverage": 1.0,
        "hole_ratio": 0.0,
        "edge_contact": 1.0,
        "components": 1,
        "sharpness": 0.0,
        "contrast": 0.0,
        "brightness": 1.0,
        "soft_edge": 0.0,
        "box_left": 0.0,
        "box_top": 0.0,
        "box_width": 1.0,
        "box_height": 1.0,
        "clipped": 1.0,
        "entropy": 0.0,
        "flatness": 1.0,
        "colorfulness": 0.0,
        "dominant_color": "#ffffff",
        "dominant_share": 1.0,
        "noise": 0.0,
    }
    facts = measure(Image.new("RGB", (30, 20), (255, 255, 255)))
    assert {name: facts[name] for name in white} == white
    assert facts.keys() - white.keys() == {"perceptual_hash", "likeness"}


def test_an_empty_image() -> None:
    facts = measure(Image.new("RGBA", (10, 10), (255, 255, 255, 0)))
    assert (facts["alpha_coverage"], facts["components"], facts["edge_contact"], facts["hole_ratio"]) == (0, 0, 0, 0)
    assert (facts["brightness"], facts["sharpness"], facts["contrast"]) == (0, 0, 0)
    assert facts["has_alpha"] is True


def test_coverage_is_the_mean_alpha() -> None:
    alpha = np.zeros((10, 10), dtype=np.uint8)
    alpha[:, :5] = 51
    assert measure(rgba(alpha))["alpha_coverage"] == 0.1


def test_a_hole() -> None:
    facts = measure(rgba(square(40, (10, 10, 30, 30), (15, 15, 25, 25))))
    assert facts["hole_ratio"] == pytest.approx(100 / 300, abs=1e-6)
    assert facts["edge_contact"] == 0
    assert facts["components"] == 1


def test_parts_and_border() -> None:
    facts = measure(rgba(square(40, (0, 0, 10, 10), (20, 20, 30, 30))))
    assert facts["components"] == 2
    assert facts["edge_contact"] == pytest.approx(19 / 156, abs=1e-6)


def test_specks_do_not_count() -> None:
    assert measure(rgba(square(100, (10, 10, 50, 50), (80, 80, 82, 82))))["components"] == 1


def test_contrast_and_brightness_of_a_half_black_image() -> None:
    pixels = np.zeros((20, 20, 3), dtype=np.uint8)
    pixels[:, 10:] = 255
    facts = measure(Image.fromarray(pixels))
    assert (facts["contrast"], facts["brightness"]) == (0.5, 0.5)


def test_sharpness_of_a_checkerboard_is_the_greatest() -> None:
    board = (np.indices((20, 20)).sum(axis=0) % 2 * 255).astype(np.uint8)
    # Every inner pixel differs from all four neighbors by 255: the Laplacian is +-4 x 255 throughout.
    assert measure(Image.fromarray(board).convert("RGB"))["sharpness"] == pytest.approx((4 * 255) ** 2)


def test_a_blurred_image_is_less_sharp() -> None:
    from PIL import ImageFilter

    image = images.noise(64, 64)
    assert measure(image.filter(ImageFilter.GaussianBlur(2)))["sharpness"] < measure(image)["sharpness"] / 10


@given(under=st.integers(0, 255))
def test_what_lies_under_transparent_pixels_does_not_count(under: int) -> None:
    assert measure(images.disc(48, under=under)) == measure(images.disc(48, under=0))
