"""Preloading: which models are resident at which hour, with a clock that the test turns."""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

import pytest

from configs.catalogues.models import ModelRef
from configs.settings.settings import Settings
from gpu_worker.process.preloading import AT_ONCE_SECONDS, ModelPreloader

RED, BLUE, GREEN = (ModelRef(name, "cutout") for name in ("red", "blue", "green"))
DAY, NIGHT = datetime(2026, 6, 3, 12, tzinfo=UTC), datetime(2026, 6, 3, 23, tzinfo=UTC)
OFFICE_HOURS = "mon-fri 07:00-20:00 UTC"


class Models:
    """A runtime with room for so many models, all of which have been idle for `idle` seconds."""

    def __init__(self, room: int = 3) -> None:
        self.loaded: list[ModelRef] = []
        self.tried: list[ModelRef] = []
        self.broken: set[ModelRef] = set()
        self.idle = 0.0
        self._room = room

    def refs(self, names: Sequence[str]) -> tuple[ModelRef, ...]:
        if "gone" in names:
            raise LookupError("unknown model `gone`")
        return tuple(ModelRef(name, "cutout") for name in names)

    def resident(self) -> Collection[ModelRef]:
        return tuple(self.loaded)

    def has_room_for(self, ref: ModelRef) -> bool:
        return len(self.loaded) < self._room

    def load(self, ref: ModelRef) -> None:
        self.tried.append(ref)
        if ref in self.broken:
            raise RuntimeError(f"{ref} is broken")
        self.loaded.append(ref)

    def evict_idle(self, seconds: float, keep: Collection[ModelRef] = ()) -> Collection[ModelRef]:
        gone = [ref for ref in self.loaded if ref not in keep and self.idle >= seconds]
        self.loaded = [ref for ref in self.loaded if ref not in gone]
        return gone


class Place:
    """A worker at an hour that the test sets."""

    def __init__(self, *, windows: str | None = OFFICE_HOURS, keep: str = "red,blue", timeout: float = 0) -> None:
        self.now, self.models = DAY, Models()
        settings = Settings.model_validate({"keep_warm": keep, "warm_windows": windows, "idle_timeout": timeout})
        self.preloader = ModelPreloader(settings, self.models, lambda: self.now)

    def look(self, now: datetime, *, idle: float = 0, is_wanted: Callable[[], bool] = lambda: False) -> set[ModelRef]:
        """The models that are resident after a look at that hour, when all have been idle for so long."""
        self.now, self.models.idle = now, idle
        self.preloader.update(is_wanted)
        return set(self.models.loaded)


def test_by_day_models_are_loaded_before_work_comes() -> None:
    place = Place()
    assert place.preloader.begin() is None
    assert place.models.loaded == [RED, BLUE]


def test_by_night_nothing_is_loaded_until_the_window_opens() -> None:
    place = Place()
    place.now = NIGHT
    assert place.preloader.begin() is None
    assert place.look(NIGHT) == set()
    assert place.look(DAY) == {RED, BLUE}


def test_without_windows_models_are_always_kept_warm() -> None:
    place = Place(windows=None, timeout=60)
    place.preloader.begin()
    assert place.look(NIGHT, idle=10_000) == {RED, BLUE}


def test_by_day_the_others_leave_after_the_idle_timeout() -> None:
    place = Place(timeout=60)
    place.preloader.begin()
    place.models.load(GREEN)
    assert place.look(DAY, idle=59) == {RED, BLUE, GREEN}
    assert place.look(DAY, idle=60) == {RED, BLUE}


def test_by_day_without_a_timeout_the_others_stay() -> None:
    place = Place()
    place.models.load(GREEN)
    assert place.look(DAY, idle=10_000) == {RED, BLUE, GREEN}


def test_by_night_all_leave_after_the_idle_timeout() -> None:
    place = Place(timeout=60)
    place.preloader.begin()
    assert place.look(NIGHT, idle=59) == {RED, BLUE}
    assert place.look(NIGHT, idle=60) == set()


def test_by_night_without_a_timeout_all_leave_once_no_shard_follows() -> None:
    place = Place()
    place.preloader.begin()
    assert place.look(NIGHT, idle=AT_ONCE_SECONDS - 1) == {RED, BLUE}
    assert place.look(NIGHT, idle=AT_ONCE_SECONDS) == set()


def test_what_work_loads_by_night_is_not_joined_by_what_is_warm_by_day() -> None:
    place = Place(timeout=60)
    place.now = NIGHT
    place.models.load(GREEN)
    assert place.look(NIGHT) == {GREEN}


def test_a_model_that_made_room_for_work_comes_back_when_there_is_room() -> None:
    place = Place()
    place.preloader.begin()
    place.models._room = 2
    place.models.loaded = [BLUE, GREEN]
    assert place.look(DAY) == {BLUE, GREEN}
    place.models.loaded = [BLUE]
    assert place.look(DAY) == {BLUE, RED}


def test_work_that_comes_meanwhile_waits_for_one_model_at_most() -> None:
    place = Place()
    assert place.look(DAY, is_wanted=lambda: bool(place.models.loaded)) == {RED}


def test_a_model_that_cannot_be_loaded_is_tried_once_a_window(caplog: pytest.LogCaptureFixture) -> None:
    place = Place()
    place.models.broken.add(RED)
    for _ in range(3):
        assert place.look(DAY) == {BLUE}
    assert place.models.tried.count(RED) == 1
    assert "red/cutout cannot be kept warm" in caplog.text
    place.models.broken.clear()
    place.look(NIGHT)
    assert place.look(DAY) == {RED, BLUE}


def test_what_is_wrong_at_the_start_is_said_and_ends_nothing() -> None:
    place = Place(keep="gone")
    assert "keep_warm (gone): LookupError: unknown model `gone`" in (place.preloader.begin() or "")
    assert place.look(DAY) == set()


@pytest.mark.parametrize(
    ("dials", "pause"),
    [
        ({"windows": None, "keep": ""}, None),
        ({"windows": None, "keep": "", "timeout": 8}, 2),
        ({"windows": None, "keep": "", "timeout": 0.1}, 0.25),
        ({"windows": None, "keep": "", "timeout": 3600}, 30),
        ({"windows": None, "keep": "red"}, AT_ONCE_SECONDS),
        ({"windows": OFFICE_HOURS, "keep": ""}, AT_ONCE_SECONDS),
    ],
)
def test_an_idle_worker_looks_as_often_as_it_has_something_to_do(dials: dict[str, object], pause: float | None) -> None:
    assert Place(**dials).preloader.pause == pause  # type: ignore[arg-type]
