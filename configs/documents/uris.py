"""Paths, s3:// and https:// URIs as documents write them: relative to the folder of the document."""

import posixpath
import re
from pathlib import Path
from urllib.parse import quote

from configs.documents.web_address import WebAddress

S3 = "s3://"
WEB = ("https://", "http://")
_BUCKET = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9.\-_]{1,254}(/.*)?", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")
_IN_PATHS = "/%:@!$&'()*+,;=~"  # what a URL's path may hold beside letters, digits and -._


def check_uri(text: str) -> str:
    """The text itself. Raises ValueError unless it is a path, an s3:// URI with a bucket, or an https:// URI."""
    if text.startswith(WEB):
        WebAddress.parse(text)
        return text
    return check_place(text, "a path, an s3:// or an https:// URI")


def check_place(text: str, wanted: str = "a path or an s3:// URI") -> str:
    """The text itself. Raises ValueError unless it is a path or an s3:// URI: a place that can be written to."""
    if not text.strip():
        raise ValueError("must not be empty")
    if text.startswith(S3):
        if not _BUCKET.fullmatch(text):
            raise ValueError("must have the form s3://bucket/key")
        if not {".", ".."}.isdisjoint(text.split("/")):
            raise ValueError("must not hold `.` or `..` between slashes")
    elif scheme := _SCHEME.match(text):
        raise ValueError(f"must be {wanted}, not {scheme[0]}…")
    return text


def is_web(uri: str) -> bool:
    """Whether it is an https:// or http:// URI."""
    return uri.startswith(WEB)


def is_remote(uri: str) -> bool:
    """Whether it is no path on this machine."""
    return uri.startswith((S3, *WEB))


def shown(uri: str) -> str:
    """The URI as people may see it: the query of a web address, which may be a signature, is left out."""
    return re.split(r"[?#]", uri, maxsplit=1)[0] if is_web(uri) else uri


def resolve(text: str, folder: str) -> str:
    """An absolute path, or an s3:// or web URI; relative paths start at `folder`, itself one of these."""
    if is_remote(text):
        return text
    path = _with_home(text)
    if path.is_absolute():
        return posixpath.normpath(path)
    if not is_remote(folder):
        return posixpath.normpath(Path(folder, path).absolute())
    if is_web(folder):
        plain, mark, query = text.partition("?")
        return _joined(folder, quote(plain, safe=_IN_PATHS)) + mark + quote(query, safe=_IN_PATHS + "?")
    return _joined(folder, text)


def folder_of(uri: str) -> str:
    """The folder that holds a file, as `resolve` takes it."""
    return shown(uri).rsplit("/", 1)[0] if is_remote(uri) else str(Path(uri).absolute().parent)


def stem_of(uri: str) -> str:
    """The file's name without its ending; never a part of a web address's query."""
    return Path(shown(uri)).stem


def _joined(folder: str, path: str) -> str:
    """The path below a remote folder; it does not leave the bucket or the host."""
    scheme, _, rest = folder.partition("://")
    root, _, prefix = rest.partition("/")
    return f"{scheme}://{root}{posixpath.normpath(posixpath.join('/', prefix, path))}"


def _with_home(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # `~somebody` whom this machine does not know: a file of that name, then
        return Path(text)
