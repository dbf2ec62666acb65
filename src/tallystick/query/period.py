"""Time in a query: instants, days, presets, and the ranges of `created:`."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from tallystick.errors import Refused
from tallystick.event.moment import instant_text, read_instant

RANGES: dict[str, timedelta | int] = {
    # A number is calendar months; 0 is since midnight UTC.
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "today": 0,
    "7d": timedelta(days=7),
    "15d": timedelta(days=15),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
    "6mo": 6,
    "1y": 12,
}
EARLIEST = datetime(1, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_WITHOUT_OFFSET = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(:\d\d(?:\.\d{1,6})?)?", re.ASCII)
_UNIX = re.compile(r"\d{9,10}|\d{12,14}", re.ASCII)


class Span(NamedTuple):
    """A range of time: `since` inclusive, `until` exclusive, None = open."""

    since: datetime | None
    until: datetime | None


def start_of_range(name: str, now: datetime, key: str) -> datetime:
    """Return when the preset `name` begins at `now`; raises Refused naming `key` for an unknown one."""
    step = RANGES.get(name)
    if step is None:
        raise _no_time(key, f"'{name[:64]}' is no range; known are {', '.join(RANGES)}.")
    now = now.astimezone(UTC)
    if isinstance(step, timedelta):
        return now - step
    if step == 0:
        return now.replace(hour=0, minute=0, second=0, microsecond=0)
    month = now.year * 12 + now.month - 1 - step
    year, month = month // 12, month % 12 + 1
    return now.replace(year=year, month=month, day=min(now.day, monthrange(year, month)[1]))


def read_moment(text: str, key: str) -> datetime:
    """Return the instant that `text` names, in UTC; raises Refused naming `key`.

    RFC 3339; without an offset it is UTC; a day alone is its first instant; 9-10 digits are seconds and
    12-14 digits milliseconds since 1970.
    """
    return _span_of(text, key)[0]


def read_created(text: str, key: str) -> Span:
    """Return the range that a value of `created:` names: `>=t`, `>t`, `<t`, `<=t`, `a..b`, `a..*`, `*..b` or `t`.

    A day alone stands for the whole day, so `2026-11-01..2026-11-30` holds all of the 30th.
    """
    for sign in (">=", "<=", ">", "<"):
        if text.startswith(sign):
            first, after = _span_of(text[len(sign) :], key)
            return {
                ">=": Span(first, None), ">": Span(after, None), "<": Span(None, first), "<=": Span(None, after),
            }[sign]  # fmt: skip
    low, dots, high = text.partition("..")
    if not dots:
        return Span(*_span_of(text, key))
    since = None if low == "*" else _span_of(low, key)[0]
    until = None if high == "*" else _span_of(high, key)[1]
    if since is None and until is None:
        raise _no_time(key, "*..* says nothing; leave it out.")
    return Span(since, until)


def write_created(since: datetime | None, until: datetime | None) -> list[str]:
    """Write a range as values of `created:`, none when it is open on both sides."""
    bounds = []
    if since is not None:
        bounds.append(">=" + instant_text(since))
    if until is not None:
        bounds.append("<" + instant_text(until))
    return bounds


def _span_of(text: str, key: str) -> tuple[datetime, datetime]:
    """Return the first instant of what `text` names and the first instant after it."""
    try:
        if _DAY.fullmatch(text):
            day = datetime.fromisoformat(text + "T00:00:00+00:00")
            return day, day + timedelta(days=1)
        if _UNIX.fullmatch(text):
            moment = datetime.fromtimestamp(0, UTC) + (
                timedelta(seconds=int(text)) if len(text) < 11 else timedelta(milliseconds=int(text))
            )
        elif bare := _WITHOUT_OFFSET.fullmatch(text):
            moment = datetime.fromisoformat(f"{bare[1]}T{bare[2]}{bare[3] or ':00'}+00:00")
        else:
            moment = read_instant(text, "/" + key)[0]
        return moment, moment + _MICROSECOND
    except (ValueError, OverflowError, Refused):
        raise _no_time(
            key,
            f"'{text[:64]}' is no time. Write RFC 3339, as in 2026-11-01T12:00:00Z, or a day, as in 2026-11-01.",
        ) from None


def _no_time(key: str, why: str) -> Refused:
    return Refused(f"{key}: {why}", path="/" + key, rule="time")
