"""Warm windows: what the text means, hour by hour, also over midnight and where clocks are set."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.settings.warm_windows import DAYS, EXAMPLE, WarmWindows, Window
from tests.support import ROOT

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 6, 1, tzinfo=UTC)

days = st.tuples(st.sampled_from(DAYS), st.sampled_from(DAYS)).map(lambda pair: f"{pair[0]}-{pair[1]}")
times = st.integers(0, 24 * 60 - 1)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])


@st.composite
def texts(draw: st.DrawFn) -> str:
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        start, end = draw(st.lists(times, min_size=2, max_size=2, unique=True))
        parts.append(f"{draw(days)} {start // 60:02d}:{start % 60:02d}-{end // 60:02d}:{end % 60:02d}")
    return f"{', '.join(parts)} {draw(zones)}"


def open_minutes(text: str, *, since: datetime = MONDAY, hours: int = 7 * 24) -> int:
    windows = WarmWindows.parse(text)
    return sum(windows.contains(since + timedelta(minutes=minute)) for minute in range(hours * 60))


def test_the_example_says_what_it_says():
    windows = WarmWindows.parse(EXAMPLE)
    for day, hour, is_open in [
        ("mon", 6, False), ("mon", 7, True), ("fri", 19, True), ("fri", 20, False),
        ("sat", 8, False), ("sat", 9, True), ("sat", 12, False), ("sun", 10, False),
    ]:  # fmt: skip
        assert windows.contains(datetime(2026, 6, 1 + DAYS.index(day), hour, tzinfo=BERLIN)) is is_open, (day, hour)


def test_the_page_shows_it():
    assert EXAMPLE in (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")


@given(texts())
def test_what_is_written_reads_the_same(text):
    windows = WarmWindows.parse(text)
    assert WarmWindows.parse(str(windows)) == windows


@given(texts(), moments)
def test_a_moment_is_warm_whatever_zone_it_is_told_in(text, moment):
    windows = WarmWindows.parse(text)
    assert windows.contains(moment) == windows.contains(moment.astimezone(BERLIN))


@given(texts(), moments)
def test_it_is_the_union_of_its_windows(text, moment):
    *parts, last = text.split(", ")
    zone = text.rpartition(" ")[2]
    alone = [f"{part} {zone}" for part in parts] + [last]
    assert WarmWindows.parse(text).contains(moment) == any(WarmWindows.parse(part).contains(moment) for part in alone)


@given(st.sampled_from(DAYS), times, times, zones, moments)
def test_a_window_over_midnight_is_two_that_meet_there(day, start, end, zone, moment):
    if end >= start:
        return
    index = DAYS.index(day)
    split = (Window((index,), start, 24 * 60), *([Window(((index + 1) % 7,), 0, end)] if end else []))
    text = f"{day} {start // 60}:{start % 60:02d}-{end // 60}:{end % 60:02d} {zone}"
    assert WarmWindows.parse(text).contains(moment) == WarmWindows(split, ZoneInfo(zone)).contains(moment)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("00:00-24:00 UTC", 7 * 24 * 60),
        ("mon-sun 00:00-24:00 UTC", 7 * 24 * 60),
        ("08:00-09:30 UTC", 7 * 90),
        ("fri-mon 22:00-06:00 UTC", 4 * 8 * 60),
        ("sun 23:00-00:00 UTC", 60),
        ("mon 07:00-08:00, mon 07:30-08:30 UTC", 90),
        ("  MON-Fri   7:00-8:00 ,  sat  9:00 - 9:01   UTC ", 5 * 60 + 1),
    ],
)
def test_minutes_of_a_week(text, minutes):
    assert open_minutes(text) == minutes


@pytest.mark.parametrize(
    ("day", "minutes"), [(datetime(2026, 3, 29), 5 * 60), (datetime(2026, 10, 25), 7 * 60), (datetime(2026, 6, 1), 360)]
)
def test_a_window_over_the_hour_that_clocks_skip_or_repeat(day, minutes):
    since = day.replace(tzinfo=BERLIN).astimezone(UTC)
    assert open_minutes("00:00-06:00 Europe/Berlin", since=since, hours=12) == minutes


@pytest.mark.parametrize("month", [1, 7])
def test_the_hour_is_the_wall_clocks_in_summer_and_winter(month):
    windows = WarmWindows.parse("07:00-20:00 Europe/Berlin")
    assert windows.contains(datetime(2026, month, 15, 7, 0, tzinfo=BERLIN))
    assert not windows.contains(datetime(2026, month, 15, 6, 59, tzinfo=BERLIN))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mon-fri 07:00-20:00", "the time zone is missing"),
        ("mon", "the time zone is missing"),
        ("", "the time zone is missing"),
        ("mon-fri 07:00-20:00 Europe/Berlim", "did you mean `Europe/Berlin`?"),
        ("mon-fri 07:00-20:00 ../etc/passwd", "unknown time zone `../etc/passwd`"),
        ("mon-fri 07:00-20:00 Europe", "unknown time zone `Europe`"),
        ("mo-fr 07:00-20:00 UTC", "`mo` is not a day: days are mon, tue"),
        ("mon-wed-fri 07:00-20:00 UTC", "`mon-wed-fri` are not days"),
        ("mon 7-20 UTC", "`mon 7-20` is not a window: hours are written as `07:00-20:00`"),
        ("mon 07:00-25:00 UTC", "`25:00` is not a time of day"),
        ("mon 07:60-08:00 UTC", "`07:60` is not a time of day"),
        ("mon 24:00-02:00 UTC", "begins at 00:00"),
        ("mon 09:00-09:00 UTC", "a whole day is written as `00:00-24:00`"),
        ("mon 07:00-20:00,, UTC", "is not a window"),
        ("mon 09:00-10:00; tue 09:00-10:00 UTC", "`mon 09:00-10:00; tue 09:00-10:00` is not a window"),
    ],
)
def test_mistakes_say_what_is_right(text, words):
    with pytest.raises(ValueError) as refusal:
        WarmWindows.parse(text)
    assert words in str(refusal.value)
    assert EXAMPLE in str(refusal.value)


def test_all_mistakes_at_once():
    with pytest.raises(ValueError, match=r"not a day.*not a time of day.*unknown time zone"):
        WarmWindows.parse("mo 07:00-08:00, tue 07:00-99:00 Berlin")
