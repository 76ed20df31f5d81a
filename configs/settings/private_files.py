"""State for its owner alone: ledger, logs and the local server's database tell prompts and signed addresses."""

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO

_making = threading.Lock()  # no thread connects to a new file before the one that made it has closed it


def private_folder(path: Path) -> Path:
    """The folder itself, which exists then. What is made of it, parents included, is for this user alone.

    A folder that was there keeps its rights: somebody may have meant to share it. Raises OSError.
    """
    if not path.is_dir():
        private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
    return path


def own_folder(path: Path) -> Path:
    """As `private_folder`, of one that nobody but Pixelmill uses: others lose the rights that they had to it."""
    private_folder(path)
    mode = path.stat().st_mode
    if mode & _OTHERS:
        with suppress(OSError):  # another user's, or a file system without rights
            path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
    return path


def private_file(path: Path) -> None:
    """Makes an empty file for this user alone, if there is none. Raises OSError.

    A file that is there is not opened: to close it again would drop all locks that this process has on it, as POSIX
    wants it, and a database that is in use would be harmed (https://sqlite.org/howtocorrupt.html, section 2.2).
    """
    with _making, suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
