"""Addresses and Markdown under which other programs show a job: browsers, Prefect's artifacts, webhooks."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from configs.settings.settings import Settings
from storage.objects.artefacts import ArtefactStore
from storage.objects.keys import sha256_hex

PRESIGNED_SECONDS = 7 * 24 * 3600  # the longest that S3 allows


def root_id(root: str) -> str:
    """Return the gallery server's id of a store. The root itself would reveal paths and buckets in addresses."""
    return sha256_hex(root.encode())[:12]


def served_address(store: ArtefactStore, key: str, settings: Settings) -> str | None:
    """Return the file's address at `pixelmill serve`, or None without `PIXELMILL_GALLERY_URL`, the server's address."""
    if settings.gallery_url is None:
        return None
    return f"{settings.gallery_url.rstrip('/')}/files/{root_id(store.root)}/{quote(key)}"


def file_address(store: ArtefactStore, key: str, settings: Settings) -> str | None:
    """Return the served address, else one that S3 signs for a week; None if a browser cannot reach it."""
    return served_address(store, key, settings) or store.link(key, PRESIGNED_SECONDS)


_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_SPACE = re.compile(r"\s+")
# What renderers of GitHub's dialect turn into links by themselves, some of them after the escapes were read.
_LINKED = re.compile(r"(?i)(?<=http)(?=://)|(?<=https)(?=://)|(?<=ftp)(?=://)|(?<=www)(?=\.)|(?=@)")
_JOINER = "\u2060"  # takes no room, and no line breaks at it
_UNSEEN = frozenset({"Cc", "Cf", "Cs"})  # control characters, formats such as direction overrides, half characters
_WANTED = frozenset("\u200c\u200d")  # formats that Persian, Indian scripts and emoji are written with


def escape_markdown(text: str, *, limit: int | None = None) -> str:
    """Return one line of Markdown that shows just this text, inside a table too.

    Nothing in it is a heading, a list, a link, an image, code or HTML, and it ends no cell. White space, line ends
    included, becomes single blanks; characters that cannot be seen or turn the direction of writing become U+FFFD.
    Addresses are kept from becoming links by an invisible character. More than `limit` characters are cut, with an
    ellipsis.
    """
    plain = "".join(_visible(character) for character in _SPACE.sub(" ", text).strip())
    if limit is not None and len(plain) > limit:
        plain = plain[: max(limit - 1, 0)].rstrip() + "…"
    return _PUNCTUATION.sub(r"\\\1", _LINKED.sub(_JOINER, plain))


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, limit: int = 300) -> str:
    """Return a Markdown table with a column for each header; every cell is escaped and cut at `limit` characters.

    None makes an empty cell. Raises ValueError when there are no headers, or when a row has another number of cells.
    """
    if not headers:
        raise ValueError("a table needs at least one column")
    lines = [_line(headers, limit), "|" + " --- |" * len(headers)]
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(f"a row of {len(row)} cells in a table of {len(headers)} columns: {row!r}")
        lines.append(_line(row, limit))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[object], limit: int) -> str:
    texts = ("" if cell is None else escape_markdown(str(cell), limit=limit) for cell in cells)
    return "| " + " | ".join(texts) + " |"


def _visible(character: str) -> str:
    if character.isprintable() or character in _WANTED or unicodedata.category(character) not in _UNSEEN:
        return character
    return "\ufffd"
