"""How the warm child tells its parent its figures: whole, over the pipe of its replies, so that they outlive it."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from gpu_worker.device.telemetry import Sample, on_recorded, sample

EVERY_SECONDS = 1.0
# After outcomes were recorded a report follows at once, but no sooner than this after the one before: it takes 0.6 ms.
SPACING_SECONDS = 0.25


class Reporter:
    """Calls `send` with all figures of this process, from a thread of its own, until the block ends; then once more."""

    def __init__(self, send: Callable[[list[Sample]], None]) -> None:
        self._send = send
        self._wanted, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._report, name="pixelmill-report", daemon=True)
        self._end_listening: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        self._end_listening = on_recorded(self._wanted.set)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_listening()
        self._ending.set()
        self._wanted.set()
        self._thread.join()

    def _report(self) -> None:
        try:
            while not self._ending.is_set():
                self._wanted.wait(EVERY_SECONDS)
                self._wanted.clear()
                self._send(sample())
                self._ending.wait(SPACING_SECONDS)
            self._send(sample())
        except OSError:
            return  # the parent is gone, and this process follows
