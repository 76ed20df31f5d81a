"""Credits: whose an image is, read from the metadata of its file, and as the blocks of metadata that name them."""

import re
import xml.etree.ElementTree as xml
from contextlib import suppress
from typing import Any
from xml.sax.saxutils import escape

from PIL import ExifTags, Image

from configs.documents.notes import Notes

MOST = 2000  # characters of one text
_XMP_LIMIT = 200_000  # bytes
_UNKNOWN = (72.0, 72.0)  # what EXIF wants written where the resolution is not known
_LEAST_DPI, _MOST_DPI = 1.0, 20_000.0
_XP_TITLE = 0x9C9B  # Windows, UTF-16
_EXIF = {
    "copyright": ExifTags.Base.Copyright,
    "artist": ExifTags.Base.Artist,
    "description": ExifTags.Base.ImageDescription,
}
PNG_KEYS = {"copyright": "Copyright", "artist": "Author", "title": "Title", "description": "Description"}
_XMP_KEYS = {"copyright": "rights", "artist": "creator", "title": "title", "description": "description"}
_DC, _RDF = "{http://purl.org/dc/elements/1.1/}", "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def read_credits(image: Image.Image) -> Notes:
    """Return copyright, artist, title, description and resolution of an opened file: EXIF, PNG's texts or XMP.

    Untrusted texts: cut, and without control characters. What cannot be understood is left out.
    """
    exif: dict[int, Any] = {}
    with suppress(Exception):  # Pillow's reader raises what it likes on damaged blocks
        exif = dict(image.getexif())
    packet = _packet(image)
    texts: dict[str, Any] = {
        name: _text(exif.get(_EXIF[name]) if name in _EXIF else _utf16(exif.get(_XP_TITLE)))
        or _text(image.info.get(key))
        or _text(packet.get(name))
        for name, key in PNG_KEYS.items()
    }
    return Notes(**texts, dpi=_resolution(image, exif))


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    with suppress(UnicodeError):  # Pillow takes EXIF for Latin-1; programs write UTF-8
        value = value.encode("latin-1").decode()
    return _UNPRINTABLE.sub("", str(value)).strip()[:MOST]


def _utf16(value: object) -> str:
    if isinstance(value, tuple) and all(isinstance(each, int) and 0 <= each < 256 for each in value):
        value = bytes(value)
    return value.decode("utf-16-le", "replace") if isinstance(value, bytes) else ""


def _packet(image: Image.Image) -> dict[str, str]:
    """Return the Dublin Core texts of an XMP packet."""
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    data = packet.encode() if isinstance(packet, str) else packet
    # Without a document type there are no entities that could grow.
    if (
        not isinstance(data, bytes)
        or not data
        or len(data) > _XMP_LIMIT
        or b"/dc/" not in data
        or re.search(rb"<!(?!--)", data)
    ):
        return {}
    try:
        root = xml.fromstring(data.strip(b"\0"))  # noqa: S314
    except (xml.ParseError, ValueError, LookupError):
        return {}
    found = {}
    for name, key in _XMP_KEYS.items():
        lists = root.iter(f"{_DC}{key}")
        texts = [entry.text or "" for one in lists for entry in one.iter(f"{_RDF}li")]
        found[name] = ", ".join(texts) if name == "artist" else texts[0] if texts else ""
    return found


def _resolution(image: Image.Image, exif: dict[int, Any]) -> tuple[float, float] | None:
    dpi = image.info.get("dpi")
    if dpi is None:
        factor = 2.54 if exif.get(ExifTags.Base.ResolutionUnit) == 3 else 1.0
        dpi = [exif.get(tag) for tag in (ExifTags.Base.XResolution, ExifTags.Base.YResolution)]
        dpi = [each * factor if each is not None else 0 for each in dpi]
    with suppress(TypeError, ValueError, ZeroDivisionError):
        across, down = (round(float(each), 2) for each in dpi)
        if (across, down) != _UNKNOWN and all(_LEAST_DPI <= each <= _MOST_DPI for each in (across, down)):
            return across, down
    return None


def put_into_exif(notes: Notes, exif: Image.Exif) -> None:
    """Write the notes that EXIF has tags for."""
    for name, tag in _EXIF.items():
        if text := getattr(notes, name):
            exif[tag] = text.encode()  # a text would be cut down to ASCII
    if notes.title:
        exif[_XP_TITLE] = notes.title.encode("utf-16-le") + b"\0\0"
    if notes.dpi is not None:
        exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = notes.dpi
        exif[ExifTags.Base.ResolutionUnit] = 2  # inches


def xmp_credits(notes: Notes) -> str:
    """Return the elements of an XMP description in the namespace `dc`."""
    elements = []
    for name, key in _XMP_KEYS.items():
        if text := escape(getattr(notes, name)):
            kind, language = ("Seq", "") if name == "artist" else ("Alt", ' xml:lang="x-default"')
            elements.append(f"<dc:{key}><rdf:{kind}><rdf:li{language}>{text}</rdf:li></rdf:{kind}></dc:{key}>")
    return "".join(elements)
