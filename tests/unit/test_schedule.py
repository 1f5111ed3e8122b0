"""Schedules: what people write, when a window opens and closes, the days on which clocks are changed."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulksend.schedule import Schedule, Window

ZONES = (
    "UTC",
    "Europe/Paris",
    "Europe/Dublin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Antarctica/Troll",
)
YEARS_1975_TO_2060 = st.integers(157_766_400, 2_840_140_800)
MINUTES = st.integers(0, 1439)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def said(text: str) -> str:
    with pytest.raises(ValueError, match=r".") as raised:
        Window.parse(text)
    return str(raised.value)


def shows(window: Window, instant: int) -> bool:
    """The rule itself: the clocks of the zone show a time in the window."""
    clock = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=instant)).astimezone(ZoneInfo(window.zone))
    shown, (hours, _, _) = f"{clock:%H:%M}", str(window).partition(" ")
    start, _, end = hours.partition("-")
    return start <= shown < end if start < end else shown >= start or shown < end


@pytest.mark.parametrize(
    "text",
    [
        "09:00-18:00 Europe/Paris",
        "22:00-06:00 America/New_York",
        "00:00-24:00 UTC",
        "12:00-24:00 Asia/Kathmandu",
        "22:00-00:00 America/Argentina/Buenos_Aires",
    ],
)
def test_a_window_is_written_as_it_was_read(text: str) -> None:
    assert str(Window.parse(text)) == text
    assert Window.parse(f"  {text.replace(' ', '   ')} ") == Window.parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be hours and a zone, such as '09:00-18:00 Europe/Paris', not ''"),
        ("working hours", "must be hours and a zone, such as '09:00-18:00 Europe/Paris', not 'working hours'"),
        ("09:00-18:00", "lacks the zone after its hours, as in '09:00-18:00 Europe/Paris'"),
        ("9:00-18:00 UTC", "has '9:00' where hours and minutes belong, 00:00 to 24:00, as in '09:00-18:00"),
        ("09:00-24:01 UTC", "has '24:01' where hours and minutes belong"),
        ("09:60-18:00 UTC", "has '09:60' where hours and minutes belong"),
        ("09:00-١٨:00 UTC", "where hours and minutes belong"),
        ("09:00-09:00 UTC", "starts and ends at 09:00: write '00:00-24:00' for the whole day"),
        ("24:00-06:00 UTC", "starts at 24:00, which is 00:00: write '00:00-06:00'"),
        ("09:00-18:00 europe/paris", "unknown time zone, 'europe/paris': did you mean Europe/Paris?"),
        ("09:00-18:00 Paris", "did you mean Europe/Paris?"),
        ("09:00-18:00 New York", "did you mean America/New_York?"),
        ("09:00-18:00 Erope/Pris", "did you mean Europe/Paris?"),
        ("09:00-18:00 PST", "unknown time zone, 'PST': zones are named as in '09:00-18:00 Europe/Paris'"),
        ("09:00-18:00 localtime", "unknown time zone, 'localtime'"),
        ("09:00-18:00 ../../etc/passwd", "unknown time zone"),
        ("09:00-18:00 UTC\0", "unknown time zone"),
    ],
)
def test_what_is_wrong_with_a_window_is_said(text: str, words: str) -> None:
    assert words in said(text)


def test_a_long_text_is_cut_short() -> None:
    assert len(said(f"09:00-18:00 {'x' * 100_000}")) < 300
    assert len(said("x" * 100_000)) < 300
    assert len(said(f"{'x' * 100_000}-18:00")) < 300


@pytest.mark.parametrize(
    ("window", "now", "opens", "closes"),
    [
        ("09:00-18:00 Europe/Paris", "2026-11-20T08:59:59+01:00", "2026-11-20T09:00+01:00", None),
        ("09:00-18:00 Europe/Paris", "2026-11-20T09:00:00+01:00", None, "2026-11-20T18:00+01:00"),
        ("09:00-18:00 Europe/Paris", "2026-11-20T17:59:59+01:00", None, "2026-11-20T18:00+01:00"),
        ("09:00-18:00 Europe/Paris", "2026-11-20T18:00:00+01:00", "2026-11-21T09:00+01:00", None),
        ("22:00-06:00 America/New_York", "2026-11-20T21:59-05:00", "2026-11-20T22:00-05:00", None),
        ("22:00-06:00 America/New_York", "2026-11-20T23:00-05:00", None, "2026-11-21T06:00-05:00"),
        ("22:00-06:00 America/New_York", "2026-11-21T05:59-05:00", None, "2026-11-21T06:00-05:00"),
        ("22:00-00:00 UTC", "2026-11-20T23:00+00:00", None, "2026-11-21T00:00+00:00"),
        ("12:00-24:00 UTC", "2026-11-20T23:00+00:00", None, "2026-11-21T00:00+00:00"),
        ("00:00-24:00 UTC", "2026-11-20T23:00+00:00", None, None),
    ],
)
def test_an_ordinary_day(window: str, now: str, opens: str | None, closes: str | None) -> None:
    schedule = Schedule(window=Window.parse(window))
    assert schedule.opens_at(at(now)) == (None if opens is None else at(opens))
    assert schedule.closes_at(at(now)) == (None if closes is None else at(closes))


def changes(window: str, first: str, last: str) -> list[str]:
    """Every opening (+) and closing (-) between two instants, on the clocks of UTC."""
    parsed, found = Window.parse(window), list[str]()
    now = at(first)
    while (now := parsed.next_change(now)) < at(last):
        found.append(f"{'+' if parsed.is_open(now) else '-'}{datetime.fromtimestamp(now, UTC):%d %H:%M}")
    return found


SPRING = ("2026-03-28T12:00+00:00", "2026-03-29T12:00+00:00")
"""In Paris the clocks jump from 02:00 to 03:00, at 01:00 UTC of the 29th."""
AUTUMN = ("2026-10-24T12:00+00:00", "2026-10-25T12:00+00:00")
"""In Paris the clocks go back from 03:00 to 02:00, at 01:00 UTC of the 25th."""


@pytest.mark.parametrize(
    ("window", "days", "found"),
    [
        ("02:30-06:00 Europe/Paris", SPRING, ["+29 01:00", "-29 04:00"]),
        ("00:30-02:30 Europe/Paris", SPRING, ["+28 23:30", "-29 01:00"]),
        ("02:15-02:45 Europe/Paris", SPRING, []),
        ("22:00-06:00 Europe/Paris", SPRING, ["+28 21:00", "-29 04:00"]),
        ("00:00-02:00 Europe/Paris", SPRING, ["+28 23:00", "-29 01:00"]),
        ("00:00-03:00 Europe/Paris", SPRING, ["+28 23:00", "-29 01:00"]),
        ("22:00-02:30 Europe/Paris", AUTUMN, ["+24 20:00", "-25 00:30", "+25 01:00", "-25 01:30"]),
        ("02:30-06:00 Europe/Paris", AUTUMN, ["+25 00:30", "-25 01:00", "+25 01:30", "-25 05:00"]),
        ("02:15-02:45 Europe/Paris", AUTUMN, ["+25 00:15", "-25 00:45", "+25 01:15", "-25 01:45"]),
        ("01:00-02:00 Europe/Paris", AUTUMN, ["+24 23:00", "-25 00:00"]),
        ("22:00-06:00 Europe/Paris", AUTUMN, ["+24 20:00", "-25 05:00"]),
    ],
)
def test_the_days_on_which_the_clocks_are_changed(window: str, days: tuple[str, str], found: list[str]) -> None:
    assert changes(window, *days) == found


def test_a_zone_that_skips_a_day_keeps_its_hours() -> None:
    # Samoa had no 30 December 2011: it went over to the other side of the date line.
    days = ("2011-12-29T12:00+00:00", "2011-12-31T12:00+00:00")
    assert changes("09:00-18:00 Pacific/Apia", *days) == ["+29 19:00", "-30 04:00", "+30 19:00", "-31 04:00"]


windows = st.builds(
    lambda start, length, zone: Window(start * 60, (start + length) % 1440 * 60, zone),
    MINUTES,
    st.integers(1, 1439),
    st.sampled_from(ZONES),
)
schedules = st.builds(
    Schedule,
    priority=st.floats(0, 1000, exclude_min=True),
    not_before=st.none() | YEARS_1975_TO_2060.map(float) | st.floats(1.7e9, 1.9e9),
    window=st.none() | windows,
)


def allowed(schedule: Schedule, instant: float) -> bool:
    begun = schedule.not_before is None or instant >= schedule.not_before
    return begun and (schedule.window is None or shows(schedule.window, math.floor(instant)))


@settings(deadline=None)
@given(schedules, YEARS_1975_TO_2060 | st.floats(1.7e9, 1.9e9))
@example(Schedule(window=Window.parse("02:30-02:31 Europe/Paris")), 1_774_745_000)
def test_it_opens_at_the_first_second_at_which_sending_is_allowed(schedule: Schedule, now: float) -> None:
    opens = schedule.opens_at(now)
    assert (opens is None) == allowed(schedule, now)
    if opens is not None:
        assert opens > now
        assert schedule.opens_at(opens) is None
        assert allowed(schedule, opens)
        assert not allowed(schedule, max(now, opens - 1))
        assert not allowed(schedule, math.nextafter(opens, 0))
        # Nor at any minute between, where a jump of the clocks might have opened it.
        for minute in range(1, min(2 * 1440, int(opens - now) // 60)):
            assert not allowed(schedule, opens - 60 * minute)


@settings(deadline=None)
@given(schedules, YEARS_1975_TO_2060 | st.floats(1.7e9, 1.9e9))
def test_it_closes_at_the_first_second_at_which_sending_is_not_allowed(schedule: Schedule, now: float) -> None:
    closes = schedule.closes_at(now)
    if not allowed(schedule, now) or schedule.window is None:
        assert closes is None
        return
    assert closes is not None
    assert closes > now
    assert not allowed(schedule, closes)
    for minute in range(int(closes - now) // 60):
        assert allowed(schedule, closes - 1 - 60 * minute)


@given(windows)
def test_every_window_is_written_as_it_is_read(window: Window) -> None:
    assert Window.parse(str(window)) == window


def test_a_start_within_the_hours_opens_then_and_one_outside_of_them_with_the_window() -> None:
    window = Window.parse("09:00-18:00 Europe/Paris")
    now = at("2026-11-20T10:00+01:00")
    inside = Schedule(not_before=at("2026-11-21T10:30:00.5+01:00"), window=window)
    assert inside.opens_at(now) == at("2026-11-21T10:30:00.5+01:00")
    assert inside.closes_at(now) is None
    assert inside.closes_at(at("2026-11-21T11:00+01:00")) == at("2026-11-21T18:00+01:00")
    outside = Schedule(not_before=at("2026-11-21T20:00+01:00"), window=window)
    assert outside.opens_at(now) == at("2026-11-22T09:00+01:00")


def test_a_start_that_is_past_is_no_hindrance() -> None:
    assert Schedule(not_before=5.0).opens_at(5.0) is None
    assert Schedule(not_before=-1e10).opens_at(5.0) is None
    assert Schedule(not_before=5.0).opens_at(4.0) == 5.0


@given(schedules)
def test_the_journal_s_form_is_read_back(schedule: Schedule) -> None:
    assert Schedule.from_json(json.loads(json.dumps(schedule.as_json()))) == schedule


def test_the_default_is_empty() -> None:
    assert Schedule().as_json() == {}
    assert Schedule.from_json({}) == Schedule()
    assert Schedule.from_json({"written_by_a_later_version": 1}) == Schedule()


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"priority": 0}, "priority must be greater than 0 and at most 1000, not 0.0"),
        ({"priority": 1000.5}, "priority must be greater than 0"),
        ({"priority": math.nan}, "priority must be greater than 0"),
        ({"priority": "1"}, "priority must be a number, not '1'"),
        ({"priority": True}, "priority must be a number"),
        ({"not_before": math.inf}, "not_before must be an instant before the year 9999, not inf"),
        ({"not_before": 1e12}, "not_before must be an instant before the year 9999"),
        ({"window": "09:00-18:00 Nowhere/At_All"}, "unknown time zone"),
    ],
)
def test_what_is_out_of_bounds_is_refused(facts: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=r"^") as raised:
        Schedule.from_json(facts)
    assert words in str(raised.value)
