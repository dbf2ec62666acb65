"""Instants: RFC 3339 text in, UTC microseconds out, and back in one fixed form."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from tallystick.errors import Refused

_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,64}))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)
_USUAL_MARKS: Final = frozenset({"--T::Z", "--T::."})  # every third character from the fifth
_USUAL_LENGTHS: Final = {20: ".000000Z", 24: "000Z", 27: "Z"}  # characters: what makes six digits of it
CLOCK_SKEW_MAX: Final = timedelta(minutes=5)  # ahead of the server's clock
BACKDATING_MAX: Final = timedelta(hours=24)


def instant_text(moment: datetime) -> str:
    """Return `2026-06-01T12:00:00.000000Z`: UTC, exactly six digits of fraction, of an aware `moment`."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def read_instant(text: str, path: str = "/occurred_at") -> tuple[datetime, str, str]:
    """Return the UTC instant of RFC 3339 `text`, its `instant_text`, and the flag it earns ("" for none).

    An offset is required. Digits beyond microseconds are dropped (`time_precision` when they were not
    zeros); second 60 is read as the second after (`leap_second`), as POSIX and PostgreSQL do.
    Raises Refused when it is no RFC 3339 time, no date of the calendar, or outside the years 1 to 9999.
    """
    if text[-6:] == "+00:00":
        text = text[:-6] + "Z"  # how Python's isoformat() writes UTC: half of all producers
    if text[4:20:3] in _USUAL_MARKS and text[-1] == "Z" and text[11:13] != "24":
        # The usual spellings, no, three or six digits and "Z", need no pattern: only digits fit between.
        # (Newer Pythons also read hour 24, which RFC 3339 does not have.)
        rest = _USUAL_LENGTHS.get(len(text))
        if rest is not None:
            try:
                return datetime.fromisoformat(text), text[:-1] + rest, ""
            except ValueError:
                pass
    moment, kind = _read_any(text, path)
    return moment, instant_text(moment), kind


def _read_any(text: str, path: str) -> tuple[datetime, str]:
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise Refused(
            f"{path} is not a time: write RFC 3339 with an offset, as in 2026-06-01T12:00:00Z",
            path=path,
            rule="invalid_time",
        )
    try:
        return _assemble(match)
    except (ValueError, OverflowError):
        raise Refused(
            f"{path} is not a time that can be stored: there is no such day, hour or offset, or it is not in "
            "the years 1 to 9999 UTC",
            path=path,
            rule="invalid_time",
        ) from None


def _assemble(match: re.Match[str]) -> tuple[datetime, str]:
    year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
    fraction = match[7] or ""
    micros = int(fraction[:6].ljust(6, "0"))
    zone: timezone = UTC
    if match[9]:
        if int(match[11]) > 59:
            raise ValueError("minutes of an offset end at 59")
        offset = timedelta(hours=int(match[10]), minutes=int(match[11]))
        zone = timezone(-offset if match[9] == "-" else offset)
    leap = second == 60
    moment = datetime(year, month, day, hour, minute, 59 if leap else second, micros, zone).astimezone(UTC)
    if leap:
        if (moment.hour, moment.minute) != (23, 59):
            raise ValueError("leap seconds come only at 23:59:60 UTC")
        return moment + timedelta(seconds=1), "leap_second"
    return moment, "time_precision" if fraction[6:].strip("0") else ""


def doubt_about(occurred_at: datetime, received_at: datetime) -> str:
    """Return the kind of flag that two clocks so far apart deserve: clock_skew, backdated or "".

    Both clocks are kept and none is rewritten (docs/reference/event.md).
    """
    ahead = occurred_at - received_at
    if ahead > CLOCK_SKEW_MAX:
        return "clock_skew"
    return "backdated" if -ahead > BACKDATING_MAX else ""
