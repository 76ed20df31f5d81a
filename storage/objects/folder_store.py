"""Artefacts as files under a folder.

A file appears under its key only when it is whole: bytes go to a hidden temporary file in the same folder, which is
then linked (`put`, which must not overwrite) or renamed (`replace`) into place. What `replace` brings is on disk before
that; what is put or published is so after `sync`, which takes care of hundreds of small files for the price of one.
"""

import ctypes
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from storage.objects.artefacts import (
    TRIAL,
    ContentConflict,
    DamagedObject,
    ListedObject,
    MissingObject,
    StoredObject,
    StoreError,
)
from storage.objects.keys import HIDDEN_PREFIX, check_key, sha256_hex

_T = TypeVar("_T")

_PASSING = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EINTR,
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EMFILE,
    errno.ENFILE,
}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK}
_ADVICE = {
    errno.ENOSPC: "the disk is full: free space or choose another folder",
    errno.EDQUOT: "the quota is used up: free space or choose another folder",
    errno.EACCES: "permission denied: let this user write there or choose another folder",
    errno.EPERM: "not permitted: let this user write there or choose another folder",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.EEXIST: "a part of the path is a file, not a folder: move it away or choose another folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder: move it away or choose another folder",
    errno.EISDIR: "a folder lies where the file should be: move it away or choose another folder",
}


class FolderStore:
    """An ArtefactStore in a folder, safe for many threads and processes that share it."""

    def __init__(self, folder: Path) -> None:
        """Open the store; `folder` is created on the first write."""
        self._folder = folder.expanduser().resolve()
        self._inside = {self._folder}  # folders that were seen to lie in it: to look again for each file is dear

    @property
    def root(self) -> str:
        return self._folder.as_uri().rstrip("/")

    def check_writable(self, *, patient: bool = True) -> None:  # noqa: ARG002 - a folder is there or not
        """Write a file and remove it: in the folder, or where the folder would be made. Makes no folder."""
        place = next(folder for folder in (self._folder, *self._folder.parents) if folder.exists())
        with _store_errors(place):
            if not place.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            trial = _temporary_path(place / "trial")
            try:
                trial.write_bytes(TRIAL)
            except FileNotFoundError:  # the system makes the files of this folder, as in /proc
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
            finally:
                trial.unlink(missing_ok=True)

    def put(self, key: str, data: bytes, *, sha256: str, content_type: str) -> StoredObject:  # noqa: ARG002 - files have none
        """Store `data` unless the same content is there. Raises ContentConflict if other content is."""
        path = self._path(key)
        if sha256_hex(data) != sha256:
            raise DamagedObject(f"{key}: the bytes to store do not match the digest given with them.")
        with _store_errors(path):
            created = _write(path, data, _link_new, sync=False)
            if not created and not _holds(path, sha256, len(data)):
                raise ContentConflict(f"{path} holds other content already; delete it if it is not wanted.")
        return StoredObject(key, len(data), created)

    def replace(self, key: str, data: bytes, *, content_type: str) -> StoredObject:  # noqa: ARG002 - files have none
        """Store `data` atomically, replacing other content. `created` is always True."""
        path = self._path(key)
        with _store_errors(path):
            _write(path, data, Path.replace, sync=True)
        return StoredObject(key, len(data), created=True)

    def publish(self, source_key: str, key: str, *, content_type: str) -> None:  # noqa: ARG002 - files have none
        """Make `key` a hard link to `source_key`'s file; a copy where the file system has no links."""
        source, path = self._path(source_key), self._path(key)
        with _store_errors(path):
            if not source.is_file():
                raise MissingObject(f"{source} is not there.")
            try:
                published = _in_folder(path, lambda: _linked(source, path))
            except FileExistsError:
                published = False
            if not published:
                temporary = _temporary_path(path)
                try:
                    _in_folder(path, lambda: _linked(source, temporary) or shutil.copyfile(source, temporary))
                    temporary.replace(path)
                finally:
                    # A rename between two links of the same file does nothing, and leaves both.
                    temporary.unlink(missing_ok=True)

    def sync(self) -> None:
        """Make the file system write all that it still holds in memory."""
        with _store_errors(self._folder), suppress(FileNotFoundError):  # nothing was put yet
            _sync_file_system(self._folder)

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """Return the file's bytes, checked against `sha256` alone, as files keep no digest."""
        path = self._path(key)
        with _store_errors(path):
            data = path.read_bytes()
        if sha256 is not None and sha256_hex(data) != sha256:
            raise DamagedObject(f"{path} is damaged: its {len(data)} bytes are not those that were stored. Delete it.")
        return data

    def exists(self, key: str) -> bool:
        path = self._path(key)
        with _store_errors(path):
            return path.is_file()

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield (key, size in bytes) of each object whose key starts with `prefix`, in no order."""
        return ((entry.key, entry.size) for entry in self.entries(prefix))

    def entries(self, prefix: str) -> Iterator[ListedObject]:
        """Yield the same objects with the time at which each was written."""
        if prefix:
            check_key(prefix.rstrip("/"))
        folder = self._folder / prefix.rpartition("/")[0]
        for parent, _, names in os.walk(folder):
            for name in names:
                path = Path(parent, name)
                key = path.relative_to(self._folder).as_posix()
                if key.startswith(prefix) and not name.startswith(HIDDEN_PREFIX):
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        about = path.stat()
                        yield ListedObject(key, about.st_size, datetime.fromtimestamp(about.st_mtime, UTC))

    def delete(self, key: str) -> None:
        """Remove the object if it is there."""
        path = self._path(key)
        with _store_errors(path), suppress(FileNotFoundError):
            path.unlink()

    def link(self, key: str, seconds: int) -> str | None:  # noqa: ARG002
        """Return None, as browsers open no file from the page of a server."""
        return None

    def uri(self, key: str) -> str:
        """Return the file's absolute path."""
        return str(self._path(key))

    def _path(self, key: str) -> Path:
        path = self._folder / check_key(key)
        # A symbolic link inside the folder must not lead out of it. A link at the key itself is replaced, not followed.
        with _store_errors(path):
            stays = self._holds_folder(path.parent) and self._holds_link(path)
        if not stays:
            raise StoreError(f"{path} leads out of {self._folder} through a symbolic link: remove the link.")
        return path

    def _holds_folder(self, folder: Path) -> bool:
        if folder in self._inside:
            return True
        if not self._holds_folder(folder.parent) or not self._holds_link(folder):
            return False
        self._inside.add(folder)
        return True

    def _holds_link(self, path: Path) -> bool:
        """Return whether the path exists, as a link or otherwise."""
        return not path.is_symlink() or path.resolve().is_relative_to(self._folder)


@contextmanager
def _store_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise MissingObject(f"{path} is not there.") from error
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, error.strerror or str(error))
        raise StoreError(f"{path}: {advice}.", retryable=error.errno in _PASSING) from error


def _write(path: Path, data: bytes, place: Callable[[Path, Path], _T], *, sync: bool) -> _T:
    """Write a temporary file, then call `place` to bring it to `path`. Returns what `place` returns."""
    temporary = _temporary_path(path)
    try:
        with _in_folder(path, lambda: temporary.open("xb")) as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        placed = place(temporary, path)
        if sync:
            _sync_folder(path.parent)
        return placed
    finally:
        temporary.unlink(missing_ok=True)


def _in_folder(path: Path, make: Callable[[], _T]) -> _T:
    """Call `make`, which creates a file beside `path`; create the folder only if it turns out to be missing."""
    try:
        return make()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return make()


def _temporary_path(path: Path) -> Path:
    return path.with_name(f"{HIDDEN_PREFIX}{secrets.token_hex(8)}.tmp")


def _link_new(temporary: Path, path: Path) -> bool:
    """Return whether `path` is new. Unlike a rename, a link fails if the file exists: one of two writers wins."""
    try:
        return _linked(temporary, path) or _rename_new(temporary, path)
    except FileExistsError:
        return False


def _rename_new(temporary: Path, path: Path) -> bool:
    """Do the same on file systems without hard links: a lock guards the check and the rename."""
    with FileLock(path.parent / f"{HIDDEN_PREFIX}lock", poll_interval=0.005):
        if path.exists():
            return False
        temporary.replace(path)
        return True


def _linked(source: Path, path: Path) -> bool:
    """Make `path` a hard link; return False if the file system has none. Raises FileExistsError."""
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def _sync_file_system(folder: Path) -> None:
    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except AttributeError:  # not Linux
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def _holds(path: Path, sha256: str, size: int) -> bool:
    if path.stat().st_size != size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256
