"""Contact sheets: many small pictures in one, to look at with one's own eyes."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image


def grid(pictures: Sequence[Image.Image], columns: int, zoom: int = 2, gap: int = 4) -> Image.Image:
    """`pictures` (all of one size) in rows of `columns`, each pixel enlarged `zoom` times."""
    width, height = (side * zoom for side in pictures[0].size)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), (128, 128, 132))
    for i, picture in enumerate(pictures):
        place = (gap + i % columns * (width + gap), gap + i // columns * (height + gap))
        sheet.paste(picture.convert("RGB").resize((width, height), Image.Resampling.NEAREST), place)
    return sheet
