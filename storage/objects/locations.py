"""Locations: URIs of folders, files and buckets, and the keys that a store accepts."""

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from storage.objects.artefacts import StoreError

MAX_KEY_BYTES = 1024  # the limit of S3
MAX_SEGMENT_BYTES = 200  # file systems allow 255; the rest is for the temporary file's suffix
HIDDEN_PREFIX = ".pixelmill-"  # temporary files and locks of the folder store: never a key

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")  # two characters at least: `C:\` is a path
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")


class FileLocation(NamedTuple):
    """A file or folder on this machine."""

    path: Path  # absolute


class S3Location(NamedTuple):
    """A bucket, and a key or a prefix within it (no slash at either end; may be empty)."""

    bucket: str
    key: str


def parse_location(uri: str | Path) -> FileLocation | S3Location:
    """Parse a path, a `file:` URI or an `s3://bucket/key` URI. Raises StoreError for anything else."""
    text = str(uri)
    if isinstance(uri, Path) or not _SCHEME.match(text):
        return _file_location(text)
    # Split by hand: urlsplit would take `?` and `#`, which are legal in keys, for a query and a fragment.
    scheme, _, rest = text.partition(":")
    if scheme.lower() == "s3":
        return _s3_location(text, rest)
    if scheme.lower() == "file":
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise StoreError(f"{text}: a file URI has three slashes and an absolute path, as in file:///data/images.")
        return _file_location(unquote(rest.removeprefix("//").removeprefix("localhost")))
    raise StoreError(f"{text}: cannot read {scheme}: locations. Use a path, file:///folder or s3://bucket/prefix.")


def _file_location(path: str) -> FileLocation:
    if not path or "\x00" in path:
        raise StoreError("The location is empty. Use a path, file:///folder or s3://bucket/prefix.")
    return FileLocation(Path(path).expanduser().resolve())


def _s3_location(uri: str, rest: str) -> S3Location:
    bucket, _, key = rest.removeprefix("//").partition("/")
    if not rest.startswith("//") or not bucket:
        raise StoreError(f"{uri}: no bucket named. Write s3://bucket/prefix.")
    return S3Location(bucket, key.strip("/"))


def check_key(key: str) -> str:
    """Return the key if it is a relative POSIX path that stays inside the root. Raises StoreError."""
    segments = key.split("/")
    reason = None
    if not key or key.startswith("/"):
        reason = "it must be a relative path"
    elif any(segment in ("", ".", "..") for segment in segments):
        reason = "it must not hold empty, `.` or `..` segments"
    elif _UNSAFE.search(key):
        reason = "it must not hold backslashes or control characters"
    elif any(segment.startswith(HIDDEN_PREFIX) for segment in segments):
        reason = f"names beginning with {HIDDEN_PREFIX} are the store's own"
    elif len(key.encode()) > MAX_KEY_BYTES or any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in segments):
        reason = f"it is longer than {MAX_KEY_BYTES} bytes, or {MAX_SEGMENT_BYTES} bytes in one segment"
    if reason:
        raise StoreError(f"{key[:80]!r} cannot be the key of an object: {reason}.")
    return key
