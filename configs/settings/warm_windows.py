"""The hours in which models are kept warm: `mon-fri 07:00-20:00, sat 09:00-12:00 Europe/Berlin`."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from configs.documents.problems import did_you_mean

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EXAMPLE = "mon-fri 07:00-20:00, sat 09:00-12:00 Europe/Berlin"
_DAY_MINUTES = 24 * 60
_WINDOW = re.compile(r"(?:(?P<days>[a-z-]+) )?(?P<start>\d{1,2}:\d{2}) ?- ?(?P<end>\d{1,2}:\d{2})", re.IGNORECASE)
_TIME = re.compile(r"(\d{1,2}):(\d{2})")


@dataclass(frozen=True, slots=True)
class Window:
    """A span of wall-clock time that begins on each of `days` (0: Monday), minutes after midnight.

    One whose end is not after its start ends on the following day.
    """

    days: tuple[int, ...]  # sorted, each once
    start: int  # 0 … 1439
    end: int  # 1 … 1440, never equal to `start`

    def contains(self, day: int, minute: int) -> bool:
        """Return whether it is open on a day of the week at a minute of that day."""
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        begun_today = day in self.days and minute >= self.start
        begun_yesterday = (day - 1) % 7 in self.days and minute < self.end
        return begun_today or begun_yesterday

    def __str__(self) -> str:
        return f"{_days_as_text(self.days)} {_time_as_text(self.start)}-{_time_as_text(self.end)}"


@dataclass(frozen=True, slots=True)
class WarmWindows:
    """Windows by the wall clocks of one time zone: where clocks are set forward or back, they move along."""

    windows: tuple[Window, ...]
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse what `str` writes. Raises ValueError with every mistake and an example."""
        mistakes: list[str] = []
        parts = [" ".join(part.split()) for part in text.split(",")]
        parts[-1], zone_name = _split_zone(parts[-1])
        windows = tuple(window for part in parts if (window := _read_window(part, mistakes)) is not None)
        zone = _read_zone(zone_name, mistakes)
        if mistakes or zone is None:
            raise ValueError(f"{'; '.join(mistakes)}; write windows such as `{EXAMPLE}`")
        return cls(windows, zone)

    def contains(self, moment: datetime) -> bool:
        """Return whether any window is open at an aware time."""
        local = moment.astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        return any(window.contains(local.weekday(), minute) for window in self.windows)

    def __str__(self) -> str:
        return f"{', '.join(str(window) for window in self.windows)} {self.zone.key}"


def check_warm_windows(text: str | None) -> str | None:
    """Return the text. Raises ValueError as `WarmWindows.parse` does."""
    if text is not None:
        WarmWindows.parse(text)
    return text


def _split_zone(last: str) -> tuple[str, str]:
    """Return the last window, and the zone that follows it, or an empty text."""
    window, _, name = last.rpartition(" ")
    return (last, "") if not window or ":" in name or name.lower() in DAYS else (window, name)


def _read_zone(name: str, mistakes: list[str]) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        mistakes.append(
            f"unknown time zone `{name}`{did_you_mean(name, available_timezones(), limit=3)}"
            if name
            else "the time zone is missing: end with one, such as `Europe/Berlin` or `UTC`"
        )
        return None


def _read_window(part: str, mistakes: list[str]) -> Window | None:
    match = _WINDOW.fullmatch(part)
    if match is None:
        mistakes.append(f"`{part}` is not a window: hours are written as `07:00-20:00`, days before them as `mon-fri`")
        return None
    days = _read_days(match["days"] or "", mistakes)
    start, end = (_read_time(match[name], mistakes) for name in ("start", "end"))
    if days is None or start is None or end is None:
        return None
    if start == _DAY_MINUTES:
        mistakes.append(f"`{part}`: a window begins at 00:00, not at 24:00")
        return None
    if start == end:
        mistakes.append(f"`{part}` has no length: a whole day is written as `00:00-24:00`")
        return None
    # A window "until 00:00" ends with its day.
    return Window(days, start, end or _DAY_MINUTES)


def _read_days(text: str, mistakes: list[str]) -> tuple[int, ...] | None:
    if not text:
        return tuple(range(7))
    names = text.lower().split("-")
    unknown = [name for name in names if name not in DAYS]
    if unknown or len(names) > 2:
        what = f"`{unknown[0]}` is not a day" if unknown else f"`{text}` are not days"
        mistakes.append(f"{what}: days are {', '.join(DAYS)}, or two of them as `mon-fri`")
        return None
    first, last = DAYS.index(names[0]), DAYS.index(names[-1])
    return tuple(sorted((first + step) % 7 for step in range((last - first) % 7 + 1)))


def _read_time(text: str, mistakes: list[str]) -> int | None:
    match = _TIME.fullmatch(text)
    assert match is not None
    hour, minute = int(match[1]), int(match[2])
    if minute > 59 or hour > 24 or (hour == 24 and minute):
        mistakes.append(f"`{text}` is not a time of day: they go from 00:00 to 24:00")
        return None
    return hour * 60 + minute


def _days_as_text(days: tuple[int, ...]) -> str:
    """Return a range of days; they are adjacent in the week, maybe across its end."""
    first = next(day for day in days if (day - 1) % 7 not in days or len(days) == 7)
    last = (first + len(days) - 1) % 7
    return DAYS[first] if first == last else f"{DAYS[first]}-{DAYS[last]}"


def _time_as_text(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
