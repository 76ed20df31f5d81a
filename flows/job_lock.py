"""One burst of a job at a time on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from configs.settings import Settings
from storage.keys import sha256_hex


class JobIsRunning(Exception):
    """Another process of this machine runs the job."""


@contextmanager
def job_lock(job_id: str, settings: Settings) -> Iterator[None]:
    """Holds the job for this process, which may ask again; the lock goes with the process. Raises JobIsRunning."""
    folder = settings.home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{sha256_hex(job_id.encode())[:16]}.lock", is_singleton=True, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise JobIsRunning(f"{job_id} is running already; `pixelmill status {job_id}` shows how far it is") from None
    try:
        yield
    finally:
        lock.release()
