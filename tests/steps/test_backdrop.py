"""A background behind a cut-out."""

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from steps.backdrop import Backdrop
from tests.steps import images


def laid(image: Image.Image, **parameters: str) -> Image.Image:
    return Backdrop(**parameters).transform(image).image


def test_transparent_pixels_take_the_color_and_opaque_ones_stay() -> None:
    image = Image.new("RGBA", (4, 2), (10, 20, 30, 0))
    image.putpixel((1, 1), (200, 100, 50, 255))
    image.putpixel((2, 1), (0, 0, 0, 128))
    made = laid(image, color="#ffeedd")
    assert made.mode == "RGB"
    assert [made.getpixel(at) for at in ((0, 0), (1, 1))] == [(255, 238, 221), (200, 100, 50)]
    assert made.getpixel((2, 1)) == pytest.approx((127, 119, 110), abs=1)


def test_it_goes_over_into_the_other_color_from_top_to_bottom() -> None:
    made = np.asarray(laid(Image.new("RGBA", (3, 11)), color="white", fade="black"))
    assert (made[0] == 255).all() and (made[-1] == 0).all() and (made[5] == 128).all()
    assert (np.diff(made[:, 0, 0].astype(int)) < 0).all()


@pytest.mark.parametrize("fade", [{}, {"fade": "black"}])
def test_an_opaque_image_comes_back_as_it_is(fade: dict[str, str]) -> None:
    image = images.noise(9, 7)
    assert laid(image, color="red", **fade).tobytes() == image.convert("RGB").tobytes()


def test_an_unknown_color_is_refused() -> None:
    with pytest.raises(ValidationError):
        Backdrop(fade="no color")
