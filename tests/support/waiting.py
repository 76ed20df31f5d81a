"""Waiting for what other processes and threads do.

A bound ends only a test that fails, so it is generous: these tests run on machines with other work to do.
"""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 300.0  # seconds

T = TypeVar("T")


def wait_for(ask: Callable[[], T | None], what: str = "", seconds: float = PATIENCE) -> T:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        if answer := ask():
            return answer
        now = time.monotonic()
        assert now < deadline, f"{what or 'it'} did not come about within {seconds:.0f} s"
        # What is waited for needs the processor more than the question does.
        time.sleep(max(0.1, 9 * (now - asked)))


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    wait_for(condition, seconds=seconds)
