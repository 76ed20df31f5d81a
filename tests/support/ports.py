"""Ports for servers of tests."""

import os
import random
import socket
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

# Below what Linux and macOS give to outgoing connections and to servers that ask for any port.
_PORTS = range(20_000, 32_000)
_FOLDER = Path(tempfile.gettempdir()) / f"pixelmill-test-ports-{os.getuid()}"
_kept: list[FileLock] = []


def free_port() -> int:
    """Return a port that stays this process's own: no other process of tests gets it, and no connection."""
    _FOLDER.mkdir(exist_ok=True)
    for port in random.sample(_PORTS, len(_PORTS)):
        lock = FileLock(_FOLDER / str(port), thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        if _is_free(port):
            _kept.append(lock)
            return port
        lock.release()
    raise OSError("no port is free for tests")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
