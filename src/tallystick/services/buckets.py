"""The buckets of a histogram: how wide, and every one of them, the empty ones included."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tallystick.event.moment import instant_text

BUCKETS_MAX = 120
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400
# Each at most twice the one before, so that a span longer than a minute always has 60 to 120 buckets.
WIDTHS_SECONDS = (
    1, 2, 3, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
    *(_DAY * days for days in (1, 2, 4, 7, 14, 28, 56, 112, 224, 448, 896, 1_792, 3_584, 7_168, 14_336, 28_672, 57_344)),
)  # fmt: skip


def width_for(span: timedelta) -> timedelta:
    """Return the narrowest width that cuts `span` into at most 119 whole widths, so 120 aligned buckets at most."""
    seconds = span / timedelta(seconds=1)
    return timedelta(seconds=next(width for width in WIDTHS_SECONDS if seconds / width <= BUCKETS_MAX - 1))


def spread(
    events: Mapping[tuple[datetime, bool], int], since: datetime, until: datetime, width: timedelta
) -> list[dict[str, Any]]:
    """Return every bucket of [since, until) in order, aligned with 1970-01-01 UTC; `at` is where it starts."""
    at = since - (since - _EPOCH) % width
    made = []
    while at < until:
        made.append(
            {
                "at": instant_text(at),
                "success": events.get((at, True), 0),
                "other": events.get((at, False), 0),
            }
        )
        at += width
    return made
