"""What log lines are about: the worker, job, shard and flow run of a process, the step and item of a moment."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

FIELDS = ("worker", "flow_run", "task_run", "job", "shard", "step", "item")

_shared: dict[str, str] = {}  # of the process, which works at one thing at a time: its threads need not be told
_lock = threading.Lock()
_own: ContextVar[dict[str, str] | None] = ContextVar("pixelmill_log_fields", default=None)


@contextmanager
def shared_fields(**fields: str | int) -> Iterator[None]:
    """These fields hold for all threads of the process until the block ends."""
    given = {name: str(value) for name, value in fields.items()}
    with _lock:
        before = {name: _shared.get(name) for name in given}
        _shared.update(given)
    try:
        yield
    finally:
        with _lock:
            for name, value in before.items():
                if value is None:
                    _shared.pop(name, None)
                else:
                    _shared[name] = value


@contextmanager
def log_fields(**fields: str | int) -> Iterator[None]:
    """These fields hold for this thread, and for what runs in a copy of its context, until the block ends."""
    token = _own.set({**(_own.get() or {}), **{name: str(value) for name, value in fields.items()}})
    try:
        yield
    finally:
        _own.reset(token)


def current_fields() -> dict[str, str]:
    """What is known here and now."""
    return {**_shared, **(_own.get() or {})}
