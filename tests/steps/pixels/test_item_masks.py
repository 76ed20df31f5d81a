"""The item's own mask: which part of the file says where to paint, and what is said where none does."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from steps.pixels import masks
from storage.images.images import decode

LEFT = np.arange(100) < 30  # columns that are to be painted
SIZE = (100, 70)


def picture(painted: Any, kept: Any, mode: str = "RGBA") -> Image.Image:
    """A picture whose left columns are `painted`."""
    image = Image.new(mode, SIZE, kept)
    image.paste(painted, (0, 0, 30, 70))
    return image


def palette_mask(transparent: int | None) -> Image.Image:
    """Black and white by a palette, one of which may be declared transparent."""
    image = Image.fromarray(np.broadcast_to(LEFT, (70, 100)).astype(np.uint8))
    image = image.convert("P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    if transparent is not None:
        image.info["transparency"] = transparent
    return image


def nearly_opaque() -> Image.Image:
    image = picture("white", "black")
    image.putpixel((50, 50), (0, 0, 0, 254))
    return image


def soft_strokes() -> Image.Image:
    """White strokes with a soft rim on a layer whose hidden pixels are white too."""
    alpha = np.zeros((70, 100), dtype=np.uint8)
    alpha[:, :30], alpha[:, 30:33] = 255, 60
    image = Image.new("RGBA", SIZE, "white")
    image.putalpha(Image.fromarray(alpha))
    return image


def read(image: Image.Image) -> Image.Image:
    """The image as a worker reads it from a PNG."""
    file = BytesIO()
    image.save(file, "PNG")
    return decode(file.getvalue(), max_pixels=10**6)


MASKS = {
    "sixteen bits": Image.fromarray(np.broadcast_to(LEFT * np.uint16(65535), (70, 100)).astype(np.uint16)),
    "lightness": picture(255, 0, "L"),
    "one bit": picture(1, 0, "1"),
    "lightness and opaque": picture((255, 255), (0, 255), "LA"),
    "opaque": picture("white", "black"),
    "one pixel that is not quite opaque": nearly_opaque(),
    "evenly half transparent": picture((255, 255, 255, 100), (0, 0, 0, 100)),
    "palette": palette_mask(None),
    "palette, black transparent": palette_mask(0),
    "white on a transparent layer": picture((255, 255, 255, 255), (0, 0, 0, 0)),
    "white with a soft rim on transparent white": soft_strokes(),
    "black on a transparent layer": picture((0, 0, 0, 255), (0, 0, 0, 0)),
    "red on transparent white": picture((255, 0, 0, 255), (255, 255, 255, 0)),
    "values 0 and 1": picture(1, 0, "L"),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_selects_what_a_person_sees_in_it(name: str) -> None:
    found, _ = masks.from_image(read(MASKS[name]), SIZE, 0.5)
    assert (found == LEFT).all()


AMBIGUOUS = {
    "black and white, partly transparent": (picture("white", "black"), (0, 0, 100, 20)),
    "black strokes on transparent white": (picture((0, 0, 0, 255), (255, 255, 255, 0)), None),
    "palette, white transparent": (palette_mask(1), None),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_mask_that_could_be_meant_both_ways_is_refused_until_the_step_says_which(name: str) -> None:
    image, erased = AMBIGUOUS[name]
    if erased is not None:
        alpha = Image.new("L", SIZE, 255)
        alpha.paste(0, erased)
        image = image.copy()
        image.putalpha(alpha)
    with pytest.raises(ValueError, match="set `mask_channel` of the step to lightness or alpha"):
        masks.from_image(read(image), SIZE, 0.5)
    plain = image.convert("RGBA")
    for channel, plane in (("lightness", plain.convert("L")), ("alpha", plain.getchannel("A"))):
        found, warnings = masks.from_image(image, SIZE, 0.5, channel)
        assert (found == (np.asarray(plane) > 127)).all()
        assert warnings == ()


@pytest.mark.parametrize(
    ("mask", "warning"),
    [
        (Image.new("L", SIZE), masks.SELECTS_NOTHING),
        (Image.new("L", SIZE, 1), masks.SELECTS_NOTHING),
        (Image.new("RGBA", SIZE, (255, 255, 255, 0)), masks.SELECTS_NOTHING),
        (picture(100, 0, "L"), masks.SELECTS_NOTHING),
        (picture(1, 0, "L"), masks.ZERO_AND_ONE),
    ],
    ids=["black", "all of value 1", "empty layer", "too dark", "values 0 and 1"],
)
def test_a_mask_that_selects_nothing_or_holds_0_and_1_is_warned_of(mask: Image.Image, warning: str) -> None:
    found, warnings = masks.from_image(mask, SIZE, 0.5)
    assert warnings == (warning,)
    assert found.any() == (warning == masks.ZERO_AND_ONE)


@pytest.mark.parametrize("size", [(100, 70), (50, 35), (33, 23), (400, 280), (301, 211)])
def test_a_mask_of_another_size_is_scaled(size: tuple[int, int]) -> None:
    found, warnings = masks.from_image(MASKS["opaque"], size, 0.5)
    assert warnings == ()
    assert found.shape == size[::-1]
    assert found.mean() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("size", [(100, 100), (70, 100), (64, 64)])
def test_a_mask_of_other_proportions_is_warned_of(size: tuple[int, int]) -> None:
    assert masks.from_image(MASKS["opaque"], size, 0.5)[1] == (masks.STRETCHED,)
