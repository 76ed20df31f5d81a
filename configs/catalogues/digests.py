"""SHA-256 of model files, remembered per path, size and modification time, so that planning reads them once."""

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from configs.settings.private_files import private_folder


class DigestCache:
    """Digests of files, kept in one JSON file. Safe between threads; processes may overwrite each other's additions."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, list[object]] | None = None

    def digest(self, source: Path) -> str:
        """Of a file: its SHA-256. Of a folder: SHA-256 over the sorted relative paths and digests of its files.

        Names that begin with a dot are left out. Raises OSError, also for a folder without files.
        """
        with self._lock:
            result, changed = self._file(source) if source.is_file() else self._folder(source)
            if changed:
                self._write()
            return result

    def _folder(self, folder: Path) -> tuple[str, bool]:
        total, changed, empty = hashlib.sha256(), False, True
        for relative, path in _files(folder):
            digest, new = self._file(path)
            total.update(f"{relative}\0{digest}\n".encode())
            changed, empty = changed or new, False
        if empty:
            raise FileNotFoundError(2, "holds no files", str(folder))
        return total.hexdigest(), changed

    def _file(self, path: Path) -> tuple[str, bool]:
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        known = self._read().get(str(path))
        if isinstance(known, list) and known[:2] == stamp and isinstance(known[-1], str) and len(known[-1]) == 64:
            return known[-1], False
        digest = _sha256(path)
        self._read()[str(path)] = [*stamp, digest]
        return digest, True

    def _read(self) -> dict[str, list[object]]:
        if self._known is None:
            try:
                known = json.loads(self._path.read_bytes())
            except (OSError, ValueError):
                known = {}  # only a cache: what cannot be read is computed again
            self._known = known if isinstance(known, dict) else {}
        return self._known

    def _write(self) -> None:
        """Replaces the file in one step. A home that cannot be written costs time later, not the answer now."""
        temporary = None
        try:
            private_folder(self._path.parent)
            handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".digests-")
            with os.fdopen(handle, "w") as file:
                json.dump(self._known, file)
            Path(temporary).replace(self._path)
        except OSError:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    found = []
    for parent, folders, files in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                path = Path(parent, name)
                found.append((path.relative_to(folder).as_posix(), path))
    yield from sorted(found)
