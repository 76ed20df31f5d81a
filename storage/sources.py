"""Reads what a user points at: job files, item tables, input images and masks."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from configs.settings import Settings
from storage.artefacts import MissingObject, StoreError
from storage.locations import FileLocation, S3Location, parse_location
from storage.open_store import s3_store

if TYPE_CHECKING:
    from storage.s3_store import S3Store

MAX_SOURCE_BYTES = 512_000_000

_stores: dict[tuple[str | None, str], "S3Store"] = {}  # (endpoint, bucket): a client takes 50 ms to make
_stores_lock = threading.Lock()


def read_uri(uri: str | Path, settings: Settings, *, max_bytes: int = MAX_SOURCE_BYTES) -> bytes:
    """The bytes at a path, a `file:` URI or `s3://bucket/key`.

    Raises MissingObject if nothing is there, StoreError if it cannot be read or has more than `max_bytes`.
    """
    location = parse_location(uri)
    if isinstance(location, FileLocation):
        return _read_file(location.path, max_bytes)
    if not location.key:
        raise StoreError(f"{uri} names a bucket, not an object: write s3://{location.bucket}/folder/file.")
    return _bucket(location, settings).get_limited(location.key, max_bytes)


def _read_file(path: Path, max_bytes: int) -> bytes:
    try:
        if not path.is_file():
            reason = "is a folder or a device, not a file" if path.exists() else "is not there; correct the path"
            raise MissingObject(f"{path} {reason}.")
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)  # a file may grow after its size was looked up
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > max_bytes:
        raise StoreError(f"{path} has {path.stat().st_size} bytes; at most {max_bytes} are read.")
    return data


def _bucket(location: S3Location, settings: Settings) -> "S3Store":
    key = (settings.s3_endpoint_url, location.bucket)
    with _stores_lock:
        if key not in _stores:
            _stores[key] = s3_store(S3Location(location.bucket, ""), settings)
        return _stores[key]
