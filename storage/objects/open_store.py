"""Locations, as URIs of folders, files and buckets, and opening of the store at one."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from configs.settings.settings import Settings
from storage.objects.artefacts import ArtefactStore, StoreError
from storage.objects.folder_store import FolderStore

if TYPE_CHECKING:
    from storage.objects.s3_store import S3Store


_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")  # two characters at least: `C:\` is a path


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


def open_store(uri: str | Path, settings: Settings) -> ArtefactStore:
    """Return the store at a path, a `file:` URI or `s3://bucket/prefix`. Raises StoreError for any other location.

    Nothing is read or written yet: whether the place can be reached shows on the first call.
    """
    location = parse_location(uri)
    if isinstance(location, FileLocation):
        return FolderStore(location.path)
    return s3_store(location, settings)


def s3_store(location: S3Location, settings: Settings) -> "S3Store":
    """Return the S3 store whose prefix is the location's key."""
    from storage.objects.s3_store import S3Options, S3Store  # boto3 is slow to import: only for those who use S3

    options = S3Options(
        endpoint_url=settings.s3_endpoint_url,
        attempts=settings.s3_attempts,
        multipart_mb=settings.s3_multipart_mb,
        connections=settings.writer_threads + 8,  # beside the writers: input images fetched ahead, and the burst
    )
    return S3Store(location.bucket, location.key, options)
