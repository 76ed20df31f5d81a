"""Opening of the store at a location."""

from pathlib import Path
from typing import TYPE_CHECKING

from configs.settings.settings import Settings
from storage.objects.artefacts import ArtefactStore
from storage.objects.folder_store import FolderStore
from storage.objects.locations import FileLocation, S3Location, parse_location

if TYPE_CHECKING:
    from storage.objects.s3_store import S3Store


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
