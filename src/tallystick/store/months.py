"""The months of a log: which partitions hold which times, so that a page opens only those it needs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from tallystick.store.connect import Connection
from tallystick.store.queries import load
from tallystick.store.statement import assemble

# PostgreSQL's infinities, as the driver writes them.
FOREVER = datetime.max  # noqa: DTZ901 - the driver knows infinity by its naive form
NEVER = datetime.min  # noqa: DTZ901

_REMEMBER_MAX = 20_000
_BOUNDS = assemble(load("search"), "month_bounds")


class Month(NamedTuple):
    """The rows of a log received within one month: `start` <= received_at < `end`.

    `first_at` and `last_at` are the least and the greatest occurred_at among them, None for the running month,
    where the next event may have any.
    """

    start: datetime
    end: datetime
    rows: int
    first_at: datetime | None
    last_at: datetime | None

    def may_hold(self, since: datetime | None, until: datetime | None) -> bool:
        """Tell whether some event of this month may have occurred within [since, until)."""
        late_enough = since is None or self.last_at is None or self.last_at >= since
        early_enough = until is None or self.first_at is None or self.first_at < until
        return late_enough and early_enough

    def rows_within(self, since: datetime | None, until: datetime | None) -> float:
        """Return how many events within [since, until) are to be expected, were they spread evenly."""
        first, last = self.first_at or self.start, self.last_at or self.end
        span = max(last - first, timedelta(seconds=1))
        low = first if since is None else max(first, since)
        high = last if until is None else min(last, until)
        return self.rows * min(1.0, max(timedelta(0), high - low) / span)


class MonthBounds:
    """Remembers the bounds of months that are over: received_at never falls, so they never change."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[UUID, datetime], tuple[datetime | None, datetime | None]] = (
            OrderedDict()
        )

    async def months(
        self, connection: Connection, organization_id: UUID, begins: Sequence[tuple[datetime, int]], size: int
    ) -> list[Month]:
        """Return the months of a log, oldest first; `begins` are (first instant, first position) of each."""
        over = [start for start, _ in begins[:-1] if (organization_id, start) not in self._known]
        if over:
            await self._look_up(connection, organization_id, over)
        positions = [*(position for _, position in begins[1:]), size][: len(begins)]
        made: list[Month] = []
        for at, ((start, first), after) in enumerate(zip(begins, positions, strict=True)):
            bounds = (None, None)
            if at < len(begins) - 1:
                self._known.move_to_end((organization_id, start))
                bounds = self._known[organization_id, start]
                if bounds[0] is None:
                    continue  # retention took every row of it
            made.append(Month(start, next_month(start), max(0, after - first), *bounds))
        return made

    async def _look_up(self, connection: Connection, organization_id: UUID, over: list[datetime]) -> None:
        arguments = {
            "organization": organization_id,
            "months": over,
            "next_months": [next_month(m) for m in over],
        }
        for month, first_at, last_at in await connection.fetch(_BOUNDS.text, *_BOUNDS.arguments(arguments)):
            self._known[organization_id, month] = (first_at, last_at)
        while len(self._known) > max(_REMEMBER_MAX, len(over)):
            self._known.popitem(last=False)


def next_month(start: datetime) -> datetime:
    """Return the first instant of the month after the one that begins at `start`."""
    return (start + timedelta(days=32)).replace(day=1)
