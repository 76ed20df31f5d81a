"""Two images brought to one size, to be compared."""

from PIL import Image


def of_one_size(image: Image.Image, source: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Both, each side reduced to the shorter of the two: enlarging adds nothing that could be compared."""
    size = min(image.width, source.width), min(image.height, source.height)
    ours, theirs = (each if each.size == size else each.resize(size, Image.Resampling.BOX) for each in (image, source))
    return ours, theirs
