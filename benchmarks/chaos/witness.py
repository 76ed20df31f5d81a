"""A witness of the ledger: notes when it first saw an outcome recorded, from outside, while the job runs."""

import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from benchmarks.chaos.ledger_view import LedgerView, Pair, Unreadable

LOOK_SECONDS = 0.2  # far less than any process takes to restart


class Witness:
    """Images in `seen` were recorded at the given time or before: they may not be computed after that."""

    def __init__(self, ledger: LedgerView) -> None:
        self.seen: dict[Pair, float] = {}  # wall clock, seconds
        self._ledger = ledger
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="witness", daemon=True)

    def look(self) -> int:
        """Looks now; returns how many outcomes have been seen in all. Raises Unreadable."""
        for pair in self._ledger.recorded():
            # The time after the query: an outcome is never noted as older than it is.
            self.seen.setdefault(pair, time.time())
        return len(self.seen)

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            with suppress(Unreadable):
                self.look()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
