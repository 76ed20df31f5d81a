"""How far two images are apart."""

import numpy as np
import pytest
from PIL import Image

from flows.reproduce import pixel_difference as module
from flows.reproduce.pixel_difference import pixel_difference


def test_equal_images_do_not_differ() -> None:
    image = Image.new("RGB", (5, 4), "teal")
    found = pixel_difference(image, image.copy())
    assert found is not None
    assert (found.channels, found.pixels, found.differing, found.worst) == ("RGB", 20, 0, 0)


def test_one_pixel_off_by_one_is_seen() -> None:
    image = Image.new("RGB", (5, 4), (10, 20, 30))
    other = image.copy()
    other.putpixel((4, 3), (10, 19, 30))
    found = pixel_difference(image, other)
    assert found is not None
    assert (found.differing, found.largest) == (1, (0, 1, 0))
    assert found.mean == (0, 1 / 20, 0)


def test_an_image_without_alpha_is_opaque() -> None:
    found = pixel_difference(Image.new("RGB", (2, 2), "red"), Image.new("RGBA", (2, 2), (255, 0, 0, 250)))
    assert found is not None
    assert (found.channels, found.largest) == ("RGBA", (0, 0, 0, 5))


def test_colors_under_transparent_pixels_count() -> None:
    found = pixel_difference(Image.new("RGBA", (2, 2), (1, 0, 0, 0)), Image.new("RGBA", (2, 2), (9, 0, 0, 0)))
    assert found is not None
    assert found.largest == (8, 0, 0, 0)


def test_images_of_other_sizes_cannot_be_compared() -> None:
    assert pixel_difference(Image.new("RGB", (2, 3)), Image.new("RGB", (3, 2))) is None


@pytest.mark.parametrize("band", [1, 7, 16, 1000])
def test_bands_do_not_show(monkeypatch: pytest.MonkeyPatch, band: int) -> None:
    monkeypatch.setattr(module, "_BAND_PIXELS", band)
    rng = np.random.default_rng(1)
    one, other = (rng.integers(0, 256, (9, 7, 3), dtype=np.uint8) for _ in range(2))
    found = pixel_difference(Image.fromarray(one), Image.fromarray(other))
    apart = np.abs(one.astype(int) - other)
    assert found is not None
    assert found.largest == tuple(apart.max(axis=(0, 1)))
    assert found.mean == pytest.approx(tuple(apart.mean(axis=(0, 1))))
    assert found.differing == np.count_nonzero(apart.any(axis=2))
