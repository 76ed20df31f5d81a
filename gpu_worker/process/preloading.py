"""The models that an idle worker keeps on the device, by name and time of day."""

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from configs.catalogues.models import ModelCatalogue, ModelRef, UnknownModel
from configs.documents.problems import InvalidInput, Problem
from configs.settings.settings import Settings, variable_of
from configs.settings.warm_windows import WarmWindows
from gpu_worker.monitor.failures import describe

if TYPE_CHECKING:
    from gpu_worker.device.runtime import WorkerRuntime

logger = logging.getLogger(__name__)

# Unloading "at once" waits this long: between two shards of a job, a second apart, models must stay.
AT_ONCE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 30.0  # between two updates
SHORTEST_PAUSE_SECONDS = 0.25

Clock = Callable[[], datetime]


def keep_warm_problems(settings: Settings) -> Iterator[Problem]:
    """Yield a problem for each name in `keep_warm` that is not a model's. Raises InvalidInput for a bad catalogue."""
    catalogue = ModelCatalogue(settings)
    for name in settings.keep_warm:
        try:
            catalogue.get(name)
        except UnknownModel as unknown:
            yield Problem(variable_of("keep_warm"), str(unknown))
        except InvalidInput as wrong:
            yield from wrong.problems


class ModelPreloader:
    """Applies the settings `keep_warm`, `warm_windows` and `idle_timeout` in one process.

    Within a window the models of `keep_warm` are loaded before work comes and stay; others leave after
    `idle_timeout`. Outside a window all leave after `idle_timeout`, or at once without one. Work loads its models at
    any time.
    """

    def __init__(self, settings: Settings, models: "WorkerRuntime", clock: Clock = lambda: datetime.now(UTC)) -> None:
        self.windows = WarmWindows.parse(settings.warm_windows) if settings.warm_windows else None
        self._names, self._idle_timeout = settings.keep_warm, settings.idle_timeout
        self._models, self._clock = models, clock
        self._failed: set[ModelRef] = set()  # models that could not be loaded in this window

    @property
    def pause(self) -> float | None:
        """Seconds between calls of `update` while idle, or None if it would never do anything.

        Not short for a worker that only keeps models: one that left to make room returns a little later.
        """
        if self._idle_timeout:
            return min(max(self._idle_timeout / 4, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        return AT_ONCE_SECONDS if self._names or self.windows is not None else None

    @property
    def is_open(self) -> bool:
        """Whether to keep models loaded now."""
        return self.windows is None or self.windows.contains(self._clock())

    def begin(self) -> str | None:
        """Load the models to keep now; return the problem, or None. A worker with a problem works all the same."""
        if not self._names or not self.is_open:
            return None
        try:
            for ref in self._models.refs(self._names):
                self._models.load(ref)
        except Exception as error:
            logger.exception("The models to keep warm could not be loaded")
            self._failed.update(self._kept())
            return f"keep_warm ({', '.join(self._names)}): {describe(error)}"
        return None

    def update(self, is_interrupted: Callable[[], bool] = lambda: False) -> None:
        """Load and unload models for the time of day. Call while idle; returns early once `is_interrupted`."""
        if self.is_open:
            kept = self._kept()
            self._reload(kept, is_interrupted)
            if self._idle_timeout:
                self._models.evict_idle(self._idle_timeout, keep=kept)
            return
        self._failed.clear()  # for another try in the next window
        self._models.evict_idle(self._idle_timeout or AT_ONCE_SECONDS)

    def _kept(self) -> tuple[ModelRef, ...]:
        try:
            return self._models.refs(self._names)
        except Exception:
            return ()  # unknown names: `begin` has reported them

    def _reload(self, kept: Sequence[ModelRef], is_interrupted: Callable[[], bool]) -> None:
        for ref in kept:
            if is_interrupted():
                return
            if ref in self._models.resident() or ref in self._failed:
                continue
            try:
                # If there is no room, work needed it, and its models are the likeliest to be needed again.
                if self._models.has_room_for(ref):
                    self._models.load(ref)
            except Exception:
                logger.exception(
                    "%s cannot be kept warm; it is loaded when work needs it or the next window opens", ref
                )
                self._failed.add(ref)
