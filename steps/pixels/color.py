"""Colors as a recipe writes them: a name or hexadecimal digits."""

from typing import Annotated

from PIL import ImageColor
from pydantic import AfterValidator

RGB = tuple[int, int, int]


def rgb(color: str) -> RGB:
    """Red, green and blue, 0 … 255. Raises ValueError for anything but an opaque CSS color name or `#rrggbb`."""
    try:
        channels = ImageColor.getrgb(color)
    except ValueError:
        raise ValueError(f"{color!r} is no color: write a name such as 'white' or digits such as '#ff8800'") from None
    if len(channels) == 4 and channels[3] != 255:
        raise ValueError(f"{color!r} is not opaque: leave its alpha digits out")
    return channels[0], channels[1], channels[2]


def _checked(color: str) -> str:
    rgb(color)
    return color


Color = Annotated[str, AfterValidator(_checked)]
