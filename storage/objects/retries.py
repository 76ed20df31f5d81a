"""How often this process had to repeat a request to a store: a number for whoever shows it."""

import threading

_lock = threading.Lock()
_count = 0


def note_retry() -> None:
    """To be called before a request is repeated."""
    global _count  # noqa: PLW0603 - one number a process
    with _lock:
        _count += 1


def retries() -> int:
    """Repeated requests since the process began."""
    return _count
