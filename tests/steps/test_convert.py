"""convert: what a file loses, and what must not show in it."""

from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from steps.convert import Convert
from steps.pixels.images import alpha_of, flatten
from storage.images.images import decode, encode
from storage.images.png_recipe import ImageRecipe

LossyFormat = Literal["webp", "avif"]
VISIBLE = (0, 160, 60)
BACKDROPS = [(255, 255, 255), (0, 0, 0), (255, 0, 255)]


def soft_disc(hidden: tuple[int, int, int]) -> Image.Image:
    """A green disc with a rim four pixels wide, over another color that alpha hides."""
    y, x = np.mgrid[:60, :60] - 29.5
    alpha = np.clip(20 - np.hypot(x, y), 0, 4) / 4
    pixels = np.full((60, 60, 4), (*hidden, 0), dtype=np.uint8)
    pixels[alpha > 0, :3] = VISIBLE
    pixels[..., 3] = np.rint(alpha * 255)
    return Image.fromarray(pixels)


def stored(image: Image.Image, step: Convert) -> Image.Image:
    """The image as it is read back from its file."""
    result = step.transform(image)
    how = result.encoding
    file = encode(
        result.image, format=how.format, quality=how.quality, lossless=how.lossless, recipe=ImageRecipe((), {})
    )
    return decode(file.data, max_pixels=10**6)


def shown(image: Image.Image, behind: tuple[int, int, int]) -> NDArray[np.int16]:
    return np.asarray(flatten(image, behind)).astype(np.int16)


@pytest.mark.parametrize("behind", BACKDROPS)
@pytest.mark.parametrize("quality", [90, 50])
@pytest.mark.parametrize("format", ["webp", "avif"])
def test_what_alpha_hides_does_not_show_in_the_rim_of_a_lossy_file(
    format: LossyFormat, quality: int, behind: tuple[int, int, int]
) -> None:
    image = soft_disc(hidden=(255, 0, 255))
    file = stored(image, Convert(format=format, quality=quality))
    assert np.abs(shown(file, behind) - shown(image, behind)).max() <= 2
    assert (alpha_of(file) == alpha_of(image)).all()


@pytest.mark.parametrize("format", ["webp", "avif"])
def test_a_lossy_file_is_the_same_whatever_alpha_hides(format: LossyFormat) -> None:
    files = [stored(soft_disc(hidden), Convert(format=format)).tobytes() for hidden in BACKDROPS]
    assert len(set(files)) == 1


@pytest.mark.parametrize("step", [Convert(format="png"), Convert(lossless=True)], ids=["png", "lossless webp"])
def test_a_lossless_file_keeps_what_alpha_hides(step: Convert) -> None:
    image = soft_disc(hidden=(255, 0, 255))
    assert stored(image, step).tobytes() == image.tobytes()


def test_an_image_of_which_nothing_shows_is_stored() -> None:
    image = Image.new("RGBA", (8, 8), (9, 9, 9, 0))
    assert not alpha_of(stored(image, Convert())).any()
