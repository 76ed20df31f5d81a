"""Kinds of files by their first bytes, for messages about files that are not read as images."""

import re
from importlib.util import find_spec

# The decoders offered to foreign bytes. Others of Pillow's are seldom met, and some start external programs.
READABLE = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")

_DAMAGED = "fetch it again, or open it in another program and save it again"
# Beginnings of files (one or several), what a person calls them, and what helps.
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "a damaged PNG", _DAMAGED),
    (b"\xff\xd8\xff", "a damaged JPEG", _DAMAGED),
    (b"GIF8", "a damaged GIF", _DAMAGED),
    (
        (b"II*\x00", b"MM\x00*"),
        "a TIFF that is damaged, or of pixels in a form that is not read, such as CMYK with transparency",
        "save it as RGB with 8 or 16 bits a channel",
    ),
    (b"%PDF-", "a PDF", "export its pages as images"),
    ((b"%!PS", b"\xc5\xd0\xd3\xc6"), "a PostScript file", "export it as PNG"),
    (b"8BPS", "a Photoshop file", "export it as PNG or TIFF"),
    (b"PK\x03\x04", "a ZIP archive or an Office document", "unpack it, and give the images in it"),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    ((b"\x00\x00\x00\x0cJXL ", b"\xff\x0a"), "a JPEG XL picture", "save it as PNG"),
    ((b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51"), "a JPEG 2000 picture", "save it as PNG"),
    ((b"FUJIFILMCCD-RAW", b"IIU\x00", b"IIRO"), "a camera's raw file", "develop it as TIFF or PNG"),
    (b"\x00\x00\x01\x00", "an icon", "save it as PNG"),
    (b"v/1\x01", "an OpenEXR picture", "save it as PNG"),
    (b"#?RADIANCE", "a Radiance HDR picture", "save it as PNG"),
    (b"DDS ", "a DDS texture", "save it as PNG"),
    (b"qoif", "a QOI picture", "save it as PNG"),
    (b"\x1a\x45\xdf\xa3", "a video", ""),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file with `git lfs pull`"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_WEB_PAGE = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_SVG = re.compile(rb"\s*(?:<\?xml.*?\?>\s*)?(?:<!--.*?-->\s*|<!doctype[^>]*>\s*)*<svg\b", re.IGNORECASE | re.DOTALL)
_LOOKED_AT = 1024  # bytes


def is_heif(data: bytes) -> bool:
    """Return whether this is a picture in HEIF, such as HEIC; not for AVIF, which is built alike."""
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and b"avif" not in data[16 : data[3] or 16]


def why_not_read(data: bytes) -> str:
    """Return a sentence: what the bytes are that no decoder takes, and what to do."""
    kind, advice = _kind(data)
    formats = f"no image in one of the formats {', '.join(READABLE)}"
    return f"This is {kind}, {formats}: {advice or 'give an image in one of them'}."


def _kind(data: bytes) -> tuple[str, str]:
    """Return what the bytes are, and the advice that there is for this kind, if any."""
    start = data[:_LOOKED_AT].removeprefix(b"\xef\xbb\xbf")
    if not data:
        return "an empty file", "fetch it again"
    if is_heif(data):
        if find_spec("pillow_heif") is None:
            return "a HEIC picture", "install pixelmill[heif], which reads it, or save it as JPEG"
        return "a damaged HEIC picture", "fetch it again"
    for beginning, kind, advice in _BEGINNINGS:
        if start.startswith(beginning):
            return kind, advice
    if start[:4] == b"RIFF":
        return ("a damaged WebP", "fetch it again") if start[8:12] == b"WEBP" else ("a video or a sound", "")
    if start[4:8] == b"ftyp":
        return ("a damaged AVIF", "fetch it again") if start[8:12] in (b"avif", b"avis") else ("a video", "")
    if _WEB_PAGE.match(start):
        return "a web page", "fetch the image itself"
    if _SVG.match(start):
        return "an SVG drawing", "export it as PNG"
    if not start.strip(b"\0"):
        return "a file of zeros", "fetch it again"
    if start.lstrip()[:1] in (b"{", b"["):
        return "a JSON text", "it may be a server's message of an error: fetch the image itself"
    is_text = not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", start)
    return ("a text" if is_text else "a file of an unknown kind"), ""
