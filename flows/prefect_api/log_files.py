"""Logs of processes that run for months: each is kept at a size, by what has opened it."""

import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path

LOG_BYTES = 20_000_000
LOOK_SECONDS = 60.0


def limit_log(path: Path, most: int = LOG_BYTES) -> None:
    """Move a log that has grown too large to `NAME.1`, replacing what was there.

    It is copied and cut, because the process that appends to it holds it open; a line that comes in between is lost.
    """
    with suppress(FileNotFoundError):
        if path.stat().st_size > most:
            shutil.copy(path, path.with_name(f"{path.name}.1"))
            os.truncate(path, 0)


def limit_log_until(ending: threading.Event, path: Path) -> None:
    """Keep a log at its size, in a thread of its own, until `ending`."""

    def look() -> None:
        while not ending.wait(LOOK_SECONDS):
            with suppress(OSError):  # a full disk is reported by what needs it
                limit_log(path)

    threading.Thread(target=look, name="log-limit", daemon=True).start()
