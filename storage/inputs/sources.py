"""Reading of files that a user names: job files, item tables, input images and masks."""

import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from configs.documents import uris
from configs.settings.access import Access
from configs.settings.settings import Settings
from storage.objects.artefacts import MissingObject, StoreError, TooLarge
from storage.objects.open_store import FileLocation, S3Location, parse_location, s3_store

if TYPE_CHECKING:
    from storage.objects.s3_store import S3Store

_MB = 1_000_000

_stores: dict[tuple[str | None, str], "S3Store"] = {}  # (endpoint, bucket): a client takes 50 ms to make
_stores_lock = threading.Lock()


def read_item_file(uri: str, settings: Settings) -> bytes:
    """Return the bytes of an item's image or mask, at most `input_image_mb`. Raises like read_uri."""
    try:
        return read_uri(uri, settings, max_bytes=settings.input_image_mb * _MB)
    except TooLarge as error:
        raise TooLarge(f"{error} Make it smaller, or raise PIXELMILL_INPUT_IMAGE_MB.") from error


def read_uri(uri: str | Path, settings: Settings, *, max_bytes: int | None = None) -> bytes:
    """Return the bytes at a path, a `file:` URI, `s3://bucket/key` or `https://host/path`.

    What the settings do not let jobs read is refused (see configs.settings.access). Raises MissingObject if nothing is
    there, StoreError if it may not or cannot be read, or has more than `max_bytes` (default:
    `input_table_mb`).
    """
    limit = settings.input_table_mb * _MB if max_bytes is None else max_bytes
    if uris.is_web(str(uri)):
        from storage.inputs.web_source import read_web  # only for those who read from the web

        return read_web(str(uri), settings, max_bytes=limit)
    location, access = parse_location(uri), Access(settings)
    if isinstance(location, FileLocation):
        _refuse(access.objection_to_reading(str(location.path)), str(uri))
        return _read_file(location.path, access, limit)
    _refuse(access.objection_to_reading(f"s3://{location.bucket}/{location.key}"), str(uri))
    if not location.key:
        raise StoreError(f"{uri} names a bucket, not an object: write s3://{location.bucket}/folder/file.")
    bucket = settings.s3_endpoint_url, location.bucket
    with _stores_lock:
        if bucket not in _stores:
            _stores[bucket] = s3_store(S3Location(location.bucket, ""), settings)
    return _stores[bucket].get(location.key, max_bytes=limit)


def _refuse(objection: str | None, uri: str) -> None:
    if objection is not None:
        raise StoreError(f"{uri}: {objection}.")


def _read_file(path: Path, access: Access, max_bytes: int) -> bytes:
    try:
        if not path.is_file():
            reason = "is a folder or a device, not a file" if path.exists() else "is not there; correct the path"
            raise MissingObject(f"{path} {reason}.")
        with path.open("rb") as file:
            if access.limits_folders:
                _refuse_swapped(path, os.fstat(file.fileno()), access)
            data = file.read(max_bytes + 1)  # a file may grow after its size was looked up
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > max_bytes:
        raise TooLarge(f"{path} has {path.stat().st_size} bytes; at most {max_bytes} are read.")
    return data


def _refuse_swapped(path: Path, opened: os.stat_result, access: Access) -> None:
    """Check that the open file is the one at this path within the folders: a link may have been placed meanwhile."""
    real = os.path.realpath(path)
    if not (stat.S_ISREG(opened.st_mode) and access.is_inside(real) and os.path.samestat(opened, os.stat(real))):  # noqa: PTH116
        raise StoreError(f"{path} was replaced while it was opened: try again.", retryable=True)
