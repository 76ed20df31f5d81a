"""CSV as spreadsheets write it: what is recognized where it cannot be mistaken, and told."""

import codecs
import csv
from collections.abc import Sequence

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
# Letters and marks of Windows-1252, which Excel writes in the west, without the signs that are letters elsewhere: where
# one of those occurs, the text is more likely of another code page.
_WESTERN = frozenset("äöüÄÖÜßàâçéèêëîïôûùÀÂÇÉÈÊËÎÏÔÛÙáíóúñÁÍÓÚÑãõÃÕåÅæÆøØ€–—‘’“”„‚…")
_WIDE = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def decode_csv(data: bytes) -> tuple[str, str | None]:
    """Return the text, and how it was read if that was not as UTF-8. Raises UnicodeDecodeError."""
    for mark, encoding in _WIDE.items():
        if data.startswith(mark):
            return data.decode(encoding), "read as UTF-16"
    try:
        return data.decode("utf-8-sig"), None
    except UnicodeDecodeError:
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError:
            text = "\ufffd"
        if not all(character.isascii() or character in _WESTERN for character in set(text)):
            raise
        return text, "not UTF-8: read as Windows-1252, as Excel writes it; look at the letters with accents"


def separator_of(text: str, fields: Sequence[str]) -> str:
    """Return the separator under which the header has the most fields of an item, then the most columns."""
    header = next((line for line in text.splitlines() if line.strip()), "")[:10_000]

    def merit(separator: str) -> tuple[int, int]:
        try:
            cells = next(csv.reader([header], delimiter=separator), [])
        except csv.Error:
            return (0, 0)
        return (sum(plain_name(cell.strip()) in fields for cell in cells), len(cells))

    return max(SEPARATORS, key=merit)


def plain_name(column: str) -> str:
    """Return a column's name as fields are written: `Negative Prompt` is `negative_prompt`."""
    return column.casefold().replace(" ", "_").replace("-", "_")
