"""Times on a page: in a zone that is always named, with the age beside them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from tallystick.event.moment import instant_text
from tallystick.query.values import refusal

UTC_NAME = "utc"
ZONE_CHARACTERS_MAX = 64


class Stamp(Struct, frozen=True):
    """One instant: `exact` for machines, `text` with its zone, `ago`, and `title` with milliseconds and the other zone."""

    exact: str
    day: str
    clock: str
    zone: str
    ago: str
    title: str

    @property
    def text(self) -> str:
        """The time as one text."""
        return f"{self.day} {self.clock} {self.zone}"


def zone_of(name: str) -> ZoneInfo | None:
    """Return the zone of an IANA name, None for UTC; raises Refused naming `tz` for one this server does not know."""
    if name.lower() == UTC_NAME:
        return None
    try:
        if len(name) > ZONE_CHARACTERS_MAX:
            raise ValueError
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise refusal(
            "tz", f"'{name[:64]}' is no time zone known here; write utc or a name as Europe/Berlin."
        ) from None


def stamp(moment: datetime, zone: ZoneInfo | None, now: datetime) -> Stamp:
    """Return `moment` as it is shown in `zone` at `now`."""
    there = moment.astimezone(zone or UTC)
    other = moment.astimezone(UTC)
    beside = "" if zone is None else f" · {other:%Y-%m-%d %H:%M:%S} UTC"
    return Stamp(
        exact=instant_text(moment),
        day=f"{there:%Y-%m-%d}",
        clock=f"{there:%H:%M:%S}",
        zone=offset_name(there),
        ago=age(moment, now),
        title=f"{there:%Y-%m-%d %H:%M:%S}.{there.microsecond // 1000:03d} {offset_name(there)}{beside}",
    )


def offset_name(there: datetime) -> str:
    """Return UTC, or how far from it: "UTC+01:00" says more than the three letters four countries share."""
    offset = there.utcoffset() or timedelta()
    if not offset:
        return "UTC"
    return _offset(int(offset.total_seconds()) // 60)


@lru_cache(maxsize=128)
def _offset(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}"


_STEPS = ((60, 1, "s"), (3_600, 60, "min"), (86_400, 3_600, "h"), (86_400 * 60, 86_400, "days"),
          (86_400 * 730, 86_400 * 30, "months"))  # fmt: skip


def age(moment: datetime, now: datetime) -> str:
    """Return how long ago `moment` was at `now`, in one unit, rounded down: "5 min ago"; "in 2 h" when it is ahead."""
    seconds = int((now - moment) / timedelta(seconds=1))
    ahead, size = seconds < 0, abs(seconds)
    if size < 1:
        return "now"
    count, unit = next(
        ((size // step, unit) for below, step, unit in _STEPS if size < below), (size // 31_557_600, "years")
    )
    text = f"{count} {unit[:-1] if count == 1 and unit in ('days', 'months', 'years') else unit}"
    return f"in {text}" if ahead else f"{text} ago"


def wall_clock(moment: datetime, zone: ZoneInfo | None) -> str:
    """Return `moment` as a field of kind datetime-local has it: the clock on the wall of `zone`, to the second."""
    return f"{moment.astimezone(zone or UTC):%Y-%m-%dT%H:%M:%S}"


def read_wall_clock(text: str, zone: ZoneInfo | None, key: str) -> datetime:
    """Return the instant that a field of kind datetime-local names in `zone`; raises Refused naming `key`."""
    try:
        if len(text) > 32:
            raise ValueError
        there = datetime.fromisoformat(text)
        if there.tzinfo is None:
            there = there.replace(tzinfo=zone or UTC)
        return there.astimezone(UTC)
    except (ValueError, OverflowError):
        raise refusal(key, f"'{text[:64]}' is no date that exists.") from None
