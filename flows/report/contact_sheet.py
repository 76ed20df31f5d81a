"""Contact sheets: many images with their names in one picture."""

import io
import math
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image, ImageDraw

from flows.report.labels import SheetLabel
from storage.images.images import PNG_OPTIONS
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemRecord, ItemState, JobRecord, in_order
from storage.objects.artefacts import ArtefactStore, DamagedObject, MissingObject
from storage.objects.keys import job_key

CONTACT_SHEET_NAME = "contact-sheet.png"
SHEET_CELL = 160  # pixels: 8 columns make a picture that fits a page and a README

_GAP = 12
_LABEL_HEIGHT = 22
_CHECKER = 8
_PAPER = (250, 250, 251)
_INK = (60, 66, 80)
_LIGHT_SQUARE, _DARK_SQUARE = (255, 255, 255), (226, 228, 233)
_UNREADABLE = (236, 214, 214)


def contact_sheet(images: Iterable[tuple[SheetLabel, Image.Image]], columns: int, cell: int) -> Image.Image:
    """Place labeled images in rows of `columns`. Return an RGB image.

    Each image is fitted into a square of `cell` pixels, keeping its aspect; a checkerboard shows through its alpha.
    Small images are enlarged by whole factors, pixel for pixel. A label that is too long is cut. Images are consumed
    one at a time. Raises ValueError without any image, or if `columns` or `cell` is below 1.
    """
    if columns < 1 or cell < 1:
        raise ValueError(f"columns and cell must be at least 1, got {columns} and {cell}")
    tiles = [_tile(label, image, cell) for label, image in images]
    if not tiles:
        raise ValueError("a contact sheet needs at least one image")
    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    pitch_x, pitch_y = cell + _GAP, cell + _LABEL_HEIGHT + _GAP
    sheet = Image.new("RGB", (columns * pitch_x + _GAP, rows * pitch_y + _GAP), _PAPER)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        sheet.paste(tile, (_GAP + column * pitch_x, _GAP + row * pitch_y))
    return sheet


def write_contact_sheet(store: ArtefactStore, ledger: Ledger, job: JobRecord, limit: int = 64) -> str | None:
    """Store `contact-sheet.png` in the job's folder: up to `limit` finals, spread evenly over the job.

    Returns its key, or None while no item is done, when it removes an earlier sheet. An image that is gone or
    unreadable leaves an empty cell.
    """
    key = job_key(job.name, CONTACT_SHEET_NAME)
    done = [record for record in ledger.items.find(job.id, states=(ItemState.DONE,)) if record.finals]
    if not done or limit < 1:
        store.delete(key)
        return None
    count = min(limit, len(done))
    picked = [done[index * len(done) // count] for index in range(count)]
    sheet = contact_sheet(_finals(store, job, picked), columns=min(8, math.ceil(math.sqrt(count))), cell=SHEET_CELL)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", **PNG_OPTIONS)
    store.replace(key, buffer.getvalue(), content_type="image/png")
    return key


def last_final(job: JobRecord, record: ItemRecord) -> tuple[str, str] | None:
    """Return (visit id, key) of the item's final that comes last in the recipe, or None if it has no final."""
    order = {step.id: index for index, step in enumerate(job.recipe.leaves)}
    return max(record.finals.items(), key=lambda final: in_order(final[0], order), default=None)


def _finals(
    store: ArtefactStore, job: JobRecord, records: Iterable[ItemRecord]
) -> Iterator[tuple[SheetLabel, Image.Image]]:
    for record in records:
        final = last_final(job, record)
        if final is None:
            continue
        label = SheetLabel(record.item.name, record.item.index)
        try:
            with Image.open(io.BytesIO(store.get(final[1]))) as image:
                image.draft("RGB", (SHEET_CELL * 2, SHEET_CELL * 2))  # a JPEG decodes at a fraction of its size
                image.thumbnail((SHEET_CELL, SHEET_CELL), Image.Resampling.LANCZOS)
                yield label, image.copy()
        except (MissingObject, DamagedObject, OSError):
            yield label, Image.new("RGB", (SHEET_CELL, SHEET_CELL), _UNREADABLE)


def _tile(label: SheetLabel, image: Image.Image, cell: int) -> Image.Image:
    tile = Image.new("RGB", (cell, cell + _LABEL_HEIGHT), _PAPER)
    tile.paste(_checkerboard(cell), (0, 0))
    picture = _fitted(image, cell)
    tile.paste(picture, ((cell - picture.width) // 2, (cell - picture.height) // 2), picture)
    middle = (cell / 2, cell + _LABEL_HEIGHT / 2 + 1)
    ImageDraw.Draw(tile).text(middle, label.shortened(cell), fill=_INK, font=label.font, anchor="mm")
    return tile


def _fitted(image: Image.Image, cell: int) -> Image.Image:
    picture = image.convert("RGBA")
    scale = min(cell / picture.width, cell / picture.height)
    if scale >= 2:
        factor = int(scale)
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)


def _checkerboard(cell: int) -> Image.Image:
    y, x = np.indices((cell, cell)) // _CHECKER
    return Image.fromarray(np.array([_DARK_SQUARE, _LIGHT_SQUARE], np.uint8)[(x + y) % 2])
