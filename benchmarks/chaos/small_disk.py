"""A small disk of its own in memory, and a file that fills it."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK = bytes(64 * 1024)


class SmallDisk:
    """A mounted file system, full or not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Takes all the space that is left, to the last byte."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (len(_BLOCK), 4096, 1):
                while _written(file.fileno(), _BLOCK[:size]):
                    pass

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


def obstacle() -> str | None:
    """Why no disk can be mounted here."""
    return None if hasattr(os, "geteuid") and os.geteuid() == 0 else "only root may mount a small disk"


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mounts it at `folder`, which is made. Raises subprocess.CalledProcessError where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _written(descriptor: int, data: bytes) -> bool:
    try:
        return os.write(descriptor, data) == len(data)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
