"""Times on a page: exact, in a named zone, with their age."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tallystick.errors import Refused
from tallystick.web.ui.events.moments import age, read_wall_clock, stamp, wall_clock, zone_of

NOW = datetime(2026, 11, 21, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("back", "said"),
    [
        (timedelta(milliseconds=400), "now"), (timedelta(seconds=59), "59 s ago"), (timedelta(seconds=60), "1 min ago"),
        (timedelta(minutes=59, seconds=59), "59 min ago"), (timedelta(hours=23), "23 h ago"),
        (timedelta(days=1), "1 day ago"), (timedelta(days=59), "59 days ago"), (timedelta(days=61), "2 months ago"),
        (timedelta(days=800), "2 years ago"), (-timedelta(hours=2), "in 2 h"),
    ],
)  # fmt: skip
def test_ages(back: timedelta, said: str) -> None:
    """The age beside a time would be wrong."""
    assert age(NOW - back, NOW) == said


def test_a_time_names_its_zone_and_the_other_one() -> None:
    """A reader could take a local time for UTC."""
    shown = stamp(datetime(2026, 7, 1, 12, 0, 5, 678_000, UTC), zone_of("Europe/Berlin"), NOW)
    assert shown.text == "2026-07-01 14:00:05 UTC+02:00"
    assert shown.title == "2026-07-01 14:00:05.678 UTC+02:00 · 2026-07-01 12:00:05 UTC"
    assert stamp(NOW, None, NOW).text == "2026-11-21 16:00:00 UTC"


@pytest.mark.parametrize("name", ["Mars/Base", "../etc/passwd", "x" * 100, "", "/etc/localtime", "\x00"])
def test_unknown_zones_are_refused(name: str) -> None:
    """A zone from the address could read a file, or fall back to another one unsaid."""
    with pytest.raises(Refused):
        zone_of(name)


@pytest.mark.parametrize("text", ["2026-02-30T10:00", "yesterday", "", "9999-12-31T23:59:59-23:59", "x" * 99])
def test_dates_that_do_not_exist_are_refused(text: str) -> None:
    """An impossible date would become another one."""
    with pytest.raises(Refused) as refused:
        read_wall_clock(text, None, "from")
    assert refused.value.path == "/from"


def test_a_wall_clock_goes_there_and_back() -> None:
    """A custom range would move by the zone's offset each time the form is sent."""
    berlin = zone_of("Europe/Berlin")
    assert read_wall_clock(wall_clock(NOW, berlin), berlin, "from") == NOW
    assert wall_clock(NOW, berlin) == "2026-11-21T17:00:00"
