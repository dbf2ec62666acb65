"""The histogram as an inline drawing: two paths, a few labels, a sentence and a table that say the same."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from tallystick.event.moment import read_instant
from tallystick.web.ui.events.filters import brief
from tallystick.web.ui.events.moments import offset_name

HEIGHT = 100  # of the drawing, in its own units; one unit of width is one bucket
LEAST = 3.0  # what one event is drawn as beside ten thousand: little, but something
TICKS_MAX = 9
ROUND = tuple(
    timedelta(seconds=seconds)
    for seconds in (1, 5, 15, 60, 300, 900, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600, 86_400, 2 * 86_400, 7 * 86_400,
                    14 * 86_400, 28 * 86_400, 91 * 86_400, 182 * 86_400, 365 * 86_400, 3_650 * 86_400)
)  # fmt: skip


class Bar(Struct, frozen=True):
    """One bucket: where it starts and ends as an address says it, its time in words, and its events."""

    start: str
    end: str
    text: str
    success: int
    other: int


class Chart(Struct, frozen=True, kw_only=True):
    """A drawing `width` units wide; `ticks` are (percent, text). `partial` says that older bars are not complete."""

    width: int
    success: str
    other: str
    most: int
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    step: str
    summary: str
    partial: bool

    @property
    def total(self) -> int:
        """All events of the chart."""
        return sum(bar.success + bar.other for bar in self.bars)


def chart_of(histogram: Mapping[str, Any], zone: ZoneInfo | None) -> Chart:
    """Return the drawing of what `Read.histogram` gives, its times told in `zone`."""
    step = timedelta(seconds=histogram["bucket_seconds"])
    buckets = histogram["buckets"]
    starts = [read_instant(bucket["at"])[0] for bucket in buckets]
    most = max((bucket["success"] + bucket["other"] for bucket in buckets), default=0)
    since, until = read_instant(histogram["from"])[0], read_instant(histogram["to"])[0]
    bars = tuple(
        Bar(
            brief(max(at, since)),
            brief(min(at + step, until)),
            _moment(at, step, zone),
            bucket["success"],
            bucket["other"],
        )
        for at, bucket in zip(starts, buckets, strict=True)
    )
    return Chart(
        width=max(1, len(buckets)),
        success=_path([(0, bar.success) for bar in bars], most),
        other=_path([(bar.success, bar.other) for bar in bars], most),
        most=most, bars=bars, ticks=_ticks(starts, step, zone), step=_length(step),
        summary=_summary(bars, step, most), partial=not histogram["exact"],
    )  # fmt: skip


def _path(stacked: list[tuple[int, int]], most: int) -> str:
    """Return one path of a rectangle for each bucket that has events: where it begins and how many there are."""
    drawn = []
    for at, (below, events) in enumerate(stacked):
        if not events:
            continue
        bottom = HEIGHT - (max(LEAST, HEIGHT * below / most) if below else 0)
        top = max(0.0, min(bottom - LEAST, HEIGHT - HEIGHT * (below + events) / most))
        drawn.append(f"M{at + 0.1:g} {bottom:.4g}V{top:.4g}h.8V{bottom:.4g}z")
    return "".join(drawn)


def _ticks(starts: list[datetime], step: timedelta, zone: ZoneInfo | None) -> tuple[tuple[float, str], ...]:
    """Return labels at round times of `zone`: at the first bar of each new hour, day, week …"""
    count = len(starts)
    apart = next((one for one in ROUND if step * count / one <= TICKS_MAX), ROUND[-1])
    found: list[tuple[float, str]] = []
    before = None
    for at, start in enumerate(starts):
        there = start.astimezone(zone or UTC).replace(tzinfo=None)
        number = (there - datetime(2001, 1, 1)) // apart  # noqa: DTZ001 - a clock on the wall; that day was a Monday
        # Not at the very end, where a label would be cut off.
        if before is not None and number != before and at < count * 0.96:
            found.append((round(100 * at / count, 2), _tick(there, apart)))
        before = number
    return tuple(found)


def _tick(there: datetime, apart: timedelta) -> str:
    if apart >= timedelta(days=365):
        return f"{there:%Y}"
    if apart >= timedelta(days=1):
        return f"{there:%b %d}" if apart < timedelta(days=90) else f"{there:%b %Y}"
    midnight = (there.hour, there.minute) == (0, 0)
    return (
        f"{there:%b %d}"
        if midnight
        else f"{there:%H:%M:%S}"
        if apart < timedelta(minutes=1)
        else f"{there:%H:%M}"
    )


def _moment(at: datetime, step: timedelta, zone: ZoneInfo | None) -> str:
    there = at.astimezone(zone or UTC)
    text = f"{there:%a %Y-%m-%d}" if step >= timedelta(days=1) else f"{there:%a %Y-%m-%d %H:%M:%S}"
    return f"{text} {offset_name(there)}"


def _length(step: timedelta) -> str:
    seconds = int(step.total_seconds())
    size, unit = next(
        (seconds // size, unit)
        for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
        if seconds >= size
    )
    return f"{size} {unit}{'s' if size > 1 else ''}"


def _summary(bars: tuple[Bar, ...], step: timedelta, most: int) -> str:
    total, other = sum(bar.success + bar.other for bar in bars), sum(bar.other for bar in bars)
    if not total:
        return "No events in this time."
    peak = next(bar for bar in bars if bar.success + bar.other == most)
    return (
        f"{total:,} events in {len(bars)} bars of {_length(step)}, {other:,} of them not successful; "
        f"most, {most:,}, in the bar of {peak.text}."
    )
