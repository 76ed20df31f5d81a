"""Which models are on the device while no work is at hand: warm by day, cold by night."""

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Protocol

from configs.catalogues.models import ModelCatalogue, ModelRef, UnknownModel
from configs.documents.problems import InvalidInput, Problem
from configs.settings.settings import Settings, variable_of
from configs.settings.warm_windows import WarmWindows
from gpu_worker.monitor.failures import describe

logger = logging.getLogger(__name__)

AT_ONCE_SECONDS = 5.0  # between two shards of a job models must not go: the next one comes within a second
LONGEST_PAUSE_SECONDS = 30.0  # between two looks at the clock
SHORTEST_PAUSE_SECONDS = 0.25

Clock = Callable[[], datetime]


def check_keep_warm(settings: Settings) -> None:
    """Raises InvalidInput if `keep_warm` names what is no model."""
    catalogue = ModelCatalogue(settings)
    problems: list[Problem] = []
    for name in settings.keep_warm:
        try:
            catalogue.get(name)
        except UnknownModel as unknown:
            problems.append(Problem(variable_of("keep_warm"), str(unknown)))
        except InvalidInput as wrong:
            problems += wrong.problems
    if problems:
        raise InvalidInput(problems)


class WarmModels(Protocol):
    """What a worker's runtime does for its warmth."""

    def refs(self, names: Sequence[str]) -> tuple[ModelRef, ...]: ...

    def resident(self) -> Collection[ModelRef]: ...

    def has_room_for(self, ref: ModelRef) -> bool: ...

    def load(self, ref: ModelRef) -> None: ...

    def evict_idle(self, seconds: float, keep: Collection[ModelRef] = ()) -> Collection[ModelRef]: ...


class ModelPreloader:
    """The dials `keep_warm`, `warm_windows` and `idle_timeout` of one process.

    Within a window the models of `keep_warm` are loaded before work comes and stay, others leave after
    `idle_timeout`. Outside all leave after `idle_timeout`, at once if there is none. Work loads what it needs at any
    time.
    """

    def __init__(self, settings: Settings, models: WarmModels, clock: Clock = lambda: datetime.now(UTC)) -> None:
        self.windows = WarmWindows.parse(settings.warm_windows) if settings.warm_windows else None
        self._names, self._idle_timeout = settings.keep_warm, settings.idle_timeout
        self._models, self._clock = models, clock
        self._given_up: set[ModelRef] = set()  # that could not be loaded in this window

    @property
    def pause(self) -> float | None:
        """Seconds of idleness after which `look` should be called, again and again; None: it would never do anything.

        Not short for a worker that only keeps models: one that left to make room comes back a little later.
        """
        if self._idle_timeout:
            return min(max(self._idle_timeout / 4, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        return AT_ONCE_SECONDS if self._names or self.windows is not None else None

    @property
    def is_open(self) -> bool:
        """Whether models are to be kept warm now."""
        return self.windows is None or self.windows.contains(self._clock())

    def begin(self) -> str | None:
        """Loads what is to be warm now; returns what was wrong with that, which keeps nobody from working."""
        if not self._names or not self.is_open:
            return None
        try:
            for ref in self._models.refs(self._names):
                self._models.load(ref)
        except Exception as error:
            logger.exception("The models to keep warm could not be loaded")
            self._given_up.update(self._kept())
            return f"keep_warm ({', '.join(self._names)}): {describe(error)}"
        return None

    def look(self, is_wanted: Callable[[], bool] = lambda: False) -> None:
        """Loads and unloads what the hour asks for; to be called while idle. Stops early once `is_wanted`."""
        if self.is_open:
            kept = self._kept()
            self._bring_back(kept, is_wanted)
            if self._idle_timeout:
                self._models.evict_idle(self._idle_timeout, keep=kept)
            return
        self._given_up.clear()  # the next window is another chance
        self._models.evict_idle(self._idle_timeout or AT_ONCE_SECONDS)

    def _kept(self) -> tuple[ModelRef, ...]:
        try:
            return self._models.refs(self._names)
        except Exception:
            return ()  # names without models: said at the start

    def _bring_back(self, kept: Sequence[ModelRef], is_wanted: Callable[[], bool]) -> None:
        for ref in kept:
            if is_wanted():
                return
            if ref in self._models.resident() or ref in self._given_up:
                continue
            try:
                # Where there is no room, work needed it: its models are the likeliest to be wanted again.
                if self._models.has_room_for(ref):
                    self._models.load(ref)
            except Exception:
                logger.exception(
                    "%s cannot be kept warm; it is loaded when work asks for it or the next window opens", ref
                )
                self._given_up.add(ref)
