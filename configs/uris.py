"""Paths and s3:// URIs as documents write them: relative to the folder of the document."""

import posixpath
import re
from pathlib import Path

S3 = "s3://"
_BUCKET = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9.\-_]{1,254}(/.*)?", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")


def check_uri(text: str) -> str:
    """The text itself. Raises ValueError unless it is a path or an s3:// URI with a bucket."""
    if not text.strip():
        raise ValueError("must not be empty")
    if text.startswith(S3):
        if not _BUCKET.fullmatch(text):
            raise ValueError("must have the form s3://bucket/key")
    elif _SCHEME.match(text):
        raise ValueError(f"must be a path or an s3:// URI, not {_SCHEME.match(text)[0]}…")  # type: ignore[index]
    return text


def resolve(text: str, folder: str) -> str:
    """An absolute path or an s3:// URI; relative paths start at `folder`, itself a path or an s3:// URI."""
    if text.startswith(S3):
        return text
    path = Path(text).expanduser()
    if path.is_absolute():
        return posixpath.normpath(path)
    if not folder.startswith(S3):
        return posixpath.normpath(Path(folder, path).absolute())
    bucket, _, prefix = folder.removeprefix(S3).partition("/")
    key = posixpath.normpath(posixpath.join("/", prefix, text))
    return f"{S3}{bucket}{key}"


def folder_of(uri: str) -> str:
    """The folder that holds a file, as `resolve` takes it."""
    return uri.rsplit("/", 1)[0] if uri.startswith(S3) else str(Path(uri).absolute().parent)
