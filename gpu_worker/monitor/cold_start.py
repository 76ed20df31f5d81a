"""How long this process took until it made its first image, phase by phase."""

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class ColdStart:
    """Told once of each moment; the moments are of `time.monotonic`, which all processes of a machine share.

    Safe to share between threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phases: dict[str, float] = {}
        self._loads: dict[str, float] = {}  # until the first image
        self._spawned: float | None = None
        self._marked = 0.0
        self._run_began: float | None = None
        self._over = False
        self._lock = threading.Lock()

    def begin(self, spawned: float, born: float) -> None:
        """The parent started this process at `spawned`; its interpreter ran its first line at `born`."""
        self._spawned, self._marked = spawned, born
        self._phases["process"] = born - spawned

    def imported(self) -> None:
        """All that every flow run needs is imported."""
        self._mark("imports")

    def ready(self) -> None:
        """The models to keep warm are loaded: flow runs are taken from now on."""
        self._mark("models")
        if self._spawned is not None:
            self._phases["ready"] = self._clock() - self._spawned

    def model_loaded(self, model: str, seconds: float) -> None:
        if not self._over:
            with self._lock:
                self._loads[model] = self._loads.get(model, 0.0) + seconds

    def run_begins(self) -> None:
        """A flow run begins; only the first one counts, and one without images leaves the place to the next."""
        if not self._over:
            self._run_began = self._clock()

    def image_stored(self) -> None:
        """An image is in the store. After the first one the figures are final and logged as one line."""
        if self._over:
            return
        with self._lock:
            if self._over or self._run_began is None:
                return
            self._phases["first_image"] = self._clock() - self._run_began
            self._over = True
        logger.info("%s", self)

    def figures(self) -> list[tuple[str, str, float]]:
        """(phase, model or nothing, seconds) of what is known so far."""
        with self._lock:
            phases = [(phase, "", seconds) for phase, seconds in self._phases.items()]
            return phases + [("load", model, seconds) for model, seconds in self._loads.items()]

    def __str__(self) -> str:
        parts = []
        for phase, model, seconds in self.figures():
            parts.append(f"{phase.replace('_', ' ')}{f' of {model}' if model else ''} {seconds:.2f} s")
        return f"cold start: {', '.join(parts)}"

    def _mark(self, phase: str) -> None:
        now = self._clock()
        self._phases[phase], self._marked = now - self._marked, now


cold_start = ColdStart()  # of this process
