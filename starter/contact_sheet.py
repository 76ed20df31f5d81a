"""Contact sheets: many small pictures in one, to look at with one's own eyes.

`python -m starter.contact_sheet` draws `starter/contact-sheet.png` with the starter's own models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

SHEET_FILE = Path(__file__).parent / "contact-sheet.png"
_COLUMNS = 12
_SEED = 3_000_000


def grid(pictures: Sequence[Image.Image], columns: int, zoom: int = 2, gap: int = 4) -> Image.Image:
    """`pictures` (all of one size) in rows of `columns`, each pixel enlarged `zoom` times."""
    width, height = (side * zoom for side in pictures[0].size)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), (128, 128, 132))
    for i, picture in enumerate(pictures):
        corner = (gap + i % columns * (width + gap), gap + i // columns * (height + gap))
        sheet.paste(picture.convert("RGB").resize((width, height), Image.Resampling.NEAREST), corner)
    return sheet


def stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """Sheets of one width, one below the other."""
    result = Image.new("RGB", (max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets)))
    top = 0
    for sheet in sheets:
        result.paste(sheet, (0, top))
        top += sheet.height
    return result


def draw() -> Image.Image:
    """Every object, generated twice; below, a row each of pictures, their cut-outs and the pictures upscaled."""
    import numpy as np

    from starter.measures.cutting import load_remover
    from starter.painter import load_painter, paint
    from starter.realesrgan import load_upscaler
    from starter.sprites import BACKGROUNDS, COLORS, OBJECTS, prompt_for

    colors = tuple(COLORS)
    wanted = [
        (name, colors[(5 * i + 3 * k) % 8], BACKGROUNDS[(3 * i + 5 * k) % 8])
        for k in range(2)
        for i, name in enumerate(OBJECTS)
    ]
    pictures = paint(load_painter(), [prompt_for(*one) for one in wanted], range(_SEED, _SEED + len(wanted)))
    chosen = pictures[1 : 1 + 2 * 6 : 2] + pictures[24 : 24 + 2 * 6 : 2]
    mask_of, upscaler = load_remover(), load_upscaler()
    cut, larger = [], []
    for picture in chosen:
        mask = mask_of(picture)
        cut.append(Image.composite(picture, Image.new("RGB", picture.size, (255, 0, 255)), mask))
        output = upscaler.enhance(np.ascontiguousarray(np.asarray(picture)[..., ::-1]), outscale=4)[0][..., ::-1]
        larger.append(Image.fromarray(np.ascontiguousarray(output)).resize((128, 128), Image.Resampling.LANCZOS))
    return stacked(
        [
            grid(pictures, _COLUMNS),
            grid(chosen, _COLUMNS),
            grid(cut, _COLUMNS),
            grid(larger, _COLUMNS, zoom=1),
        ]
    )


if __name__ == "__main__":
    draw().save(SHEET_FILE, optimize=True)
    print(SHEET_FILE)
