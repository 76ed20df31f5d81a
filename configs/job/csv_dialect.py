"""CSV as spreadsheets write it: what is recognized where it cannot be mistaken, with notices."""

import codecs
import csv
import re
from collections.abc import Sequence

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
# Letters and marks of Windows-1252, which Excel writes in the west, without the signs that are letters elsewhere: where
# one of those occurs, the text is more likely of another code page.
_WESTERN = frozenset("äöüÄÖÜßàâçéèêëîïôûùÀÂÇÉÈÊËÎÏÔÛÙáíóúñÁÍÓÚÑãõÃÕåÅæÆøØ€–—‘’“”„‚…")
# Booleans of people and of spreadsheets (Excel writes those of its language), which conditions would take for true.
# Those that are other words too, as the Danish `sand`, are left out.
_BOOLEANS = """
true false yes no on off y n 0 1 0.0 1.0 wahr falsch ja nein vrai faux oui non verdadero falso sí verdadeiro não vero sì
waar onwaar nee falsk nej nei sann usann falskt tosi epätosi kyllä prawda fałsz tak nie pravda nepravda ano áno igaz
hamis igen nem adevărat doğru yanlış evet hayır истина ложь да нет αληθες ψευδες
"""
BOOLEAN_WORDS = frozenset(_BOOLEANS.split())
# In cells and headers, at their ends: what no one sees, as a byte order mark in the middle of joined files.
_UNSEEN = "\ufeff\u200b\u2060"
_NUMBER_OF_PEOPLE = re.compile(r"'?[-+]?([0-9]{1,3}([.,'’ \u00a0\u2009\u202f][0-9]{3})+|[0-9]+)([.,][0-9]+)?")
_SHORTENED = re.compile(r"-?[0-9]([.,][0-9]+)?E\+[0-9]{2}")
_THOUSANDS = re.compile(r"-?[1-9][0-9]{0,2}\.[0-9]{3}")
_KEPT_DIGITS = 15  # of a number in a spreadsheet; what follows becomes zeros
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


def tidy(cell: str) -> str:
    """Return the text without white space and invisible characters at its ends."""
    return cell.strip().strip(_UNSEEN).strip()


def doubt(cell: str, *, is_text: bool, separator: str) -> str | None:
    """Return what may be wrong with a cell that may mean a number, or None; `is_text`: it was read as a text."""
    if _SHORTENED.fullmatch(cell):
        return "may have been shortened by a spreadsheet: give the column the format of texts or of whole numbers"
    if is_text and _NUMBER_OF_PEOPLE.fullmatch(cell) and not cell.isdigit():
        return "is a text; if a number is meant, write it as 1234.5"
    if separator == ";" and _THOUSANDS.fullmatch(cell):
        return "is read with a decimal point; if it parts thousands, leave it out"
    if len(cell) > _KEPT_DIGITS and cell.isdigit() and not cell[_KEPT_DIGITS:].strip("0"):
        return f"may have been rounded by a spreadsheet, which keeps {_KEPT_DIGITS} digits"
    return None
