"""The artefact store's contract: bytes by key, written whole or not at all, checked by SHA-256."""

import threading
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple, Protocol

from configs.failures import PixelmillError

TRIAL = b"Whether images can be written here. Safe to delete."  # what `check_writable` writes


class StoreError(PixelmillError):
    """Failure of a store. `retryable`: the same call may succeed later; otherwise the message names what to fix."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class TooLarge(StoreError):
    """Raised for an object of more bytes than the caller takes."""


class ContentConflict(StoreError):
    """Raised if the key holds different content already; nothing was written."""


class MissingObject(StoreError):
    """Raised if no object has this key."""


class DamagedObject(StoreError):
    """Raised if an object's bytes are not those that were stored: truncated, altered or decayed."""


class StoredObject(NamedTuple):
    key: str
    size: int  # bytes
    created: bool  # False: the same content was there already


class ListedObject(NamedTuple):
    key: str
    size: int  # bytes
    modified: datetime  # aware, by the clock of the store


class ArtefactStore(Protocol):
    """Keys are relative POSIX paths (`artefacts/ab/abcd….png`); all methods are safe to call from many threads."""

    @property
    def root(self) -> str:
        """Canonical URI: `file:///absolute/folder` or `s3://bucket/prefix`, without a trailing slash."""
        ...

    def check_writable(self, *, patient: bool = True) -> None:
        """Write a small object and remove it, so that a place that takes nothing is found out before the work.

        Failures that pass are waited out as ever, or hardly if it is not to be patient. Raises StoreError.
        """
        ...

    def put(self, key: str, data: bytes, *, sha256: str, content_type: str) -> StoredObject:
        """Store `data` unless the same content is there. Raises ContentConflict if other content is."""
        ...

    def replace(self, key: str, data: bytes, *, content_type: str) -> StoredObject:
        """Store `data` atomically, replacing other content.

        For names that point to the newest: finals, manifest, gallery.
        """
        ...

    def publish(self, source_key: str, key: str, *, content_type: str) -> None:
        """Make `key` a copy of `source_key`, replacing what was there, without sending the bytes again."""
        ...

    def sync(self) -> None:
        """Return once all that was put and published through this object outlasts a loss of power.

        To be called before anything refers to such an object; `replace` needs no call.
        """
        ...

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """Return the object's bytes, checked against `sha256`, or else against the digest kept with the object, if any.

        Raises MissingObject, or DamagedObject where the digest differs.
        """
        ...

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield (key, size in bytes) of each object whose key starts with `prefix`."""
        ...

    def entries(self, prefix: str) -> Iterator[ListedObject]:
        """Yield the same objects with the time at which each was written."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object if it is there."""
        ...

    def uri(self, key: str) -> str:
        """Return the object's location for people: an absolute path or an s3:// URI."""
        ...

    def link(self, key: str, seconds: int) -> str | None:
        """Return a URL under which a browser gets the object for that time, or None if there is none."""
        ...


_retry_lock = threading.Lock()
_retry_count = 0


def note_retry() -> None:
    """Count a request to a store that is about to be repeated."""
    global _retry_count  # noqa: PLW0603 - one number a process
    with _retry_lock:
        _retry_count += 1


def retries() -> int:
    """Return the number of requests to stores that this process has repeated."""
    return _retry_count
