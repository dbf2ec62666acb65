"""Reading rows month by month to count them, with a cap and a time after which it stops and says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import asyncpg

from tallystick.event.model import OUTCOMES
from tallystick.query.model import Query
from tallystick.store.conditions import Conditions, Dictionary
from tallystick.store.connect import Connection
from tallystick.store.months import FOREVER, NEVER, Month
from tallystick.store.queries import load
from tallystick.store.rows import PROBE_SETTINGS, SCAN_SETTINGS, long_lists, slots_in_use, statement_for
from tallystick.store.statement import assemble

HOUR = timedelta(hours=1)
ROWS_MAX = 2**62
SCAN_ROWS_MAX = 30_000  # rows to walk before the facet index is asked instead

Way = Literal["scanned", "probed"]
_PIECES = load("search")
_ROLLUP = assemble(_PIECES, "rollup")
_SETTINGS: dict[Way, str] = {"scanned": SCAN_SETTINGS, "probed": PROBE_SETTINGS}
What = Literal["count", "histogram", "facets"]


@dataclass
class Counting:
    """One count under way, within one transaction.

    `wanted` is how many more rows are wanted; whoever reads the rows lowers it. `stopped` tells that time ran out.
    """

    connection: Connection
    organization_id: UUID
    query: Query
    conditions: Conditions
    dictionary: Dictionary
    months: list[Month]
    deadline: float
    monotonic: Callable[[], float]
    wanted: int = ROWS_MAX
    stopped: bool = False
    left: list[Month] = field(default_factory=list)
    undo: str = ""

    @property
    def size(self) -> int:
        """The size of the log."""
        return self.dictionary.size

    def known_count(self) -> int | None:
        """Return the count where the counters of the append know it exactly, else None."""
        # Not so the size of the log: some of its events may have been removed since.
        return 0 if self.conditions.impossible or self.size == 0 else None

    def is_rolled_up(self) -> bool:
        """Tell whether nothing but time and outcome is asked for, which event_counts knows."""
        keys = {clause.key for clause in (*self.query.only, *self.query.never)}
        words = self.query.words or self.query.never_words
        return not words and keys <= {"outcome"} and not self.conditions.impossible

    async def rolled_up(self, width: timedelta) -> Counter[tuple[datetime, bool]]:
        """Return events by bucket, whole hours from the rollup and the rest of the first and last hour from rows."""
        since, until = self.query.since, self.query.until
        first_hour = None if since is None else _hour_at_or_after(since)
        end_hour = None if until is None else _hour(until)
        wanted = self.conditions.values["outcomes"]
        found: Counter[tuple[datetime, bool]] = Counter()
        if first_hour is None or end_hour is None or first_hour < end_hour:
            arguments = {
                "organization": self.organization_id,
                "width": width,
                "first_hour": first_hour or NEVER,
                "end_hour": end_hour or FOREVER,
                **{outcome: int(wanted is None or outcome in wanted) for outcome in OUTCOMES},
            }
            for at, successes, others in await self.connection.fetch(
                _ROLLUP.text, *_ROLLUP.arguments(arguments)
            ):
                found[at, True] += successes
                found[at, False] += others
        for low, high in _edges(since, until, first_hour, end_hour):
            async for rows in self.each_month("histogram", {"width": width}, low, high, scan=True):
                for at, success, events in rows:
                    found[at, success] += events
        return found

    async def each_month(
        self,
        what: What,
        more: dict[str, Any],
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        scan: bool = False,
    ) -> AsyncIterator[Sequence[Any]]:
        """Yield the rows of the statement for each month from the newest, until no more are wanted or time is over."""
        since, until = since or self.query.since, until or self.query.until
        if self.conditions.impossible:
            return
        held = [month for month in self.months if month.may_hold(since, until)]
        for at, month in enumerate(held):
            if self.wanted <= 0:
                return
            self.left = held[at:]
            seconds = self.deadline - self.monotonic()
            if at and seconds <= 0:
                self.stopped = True
                return
            way: Way = "scanned" if scan or self._should_scan(month, since, until) else "probed"
            try:
                yield await self._run(
                    what, way, month, since, until, seconds, {**more, "wanted": self.wanted}
                )
            except asyncpg.QueryCanceledError:
                await self.connection.execute(self.undo)
                self.stopped = True
                return
        self.left = []

    def counted_back_to(self) -> datetime | None:
        """Return the time up to which, from the newest, everything was counted; None when all was."""
        if not self.stopped:
            return None
        return max((month.last_at or month.end for month in self.left), default=None)

    def _should_scan(self, month: Month, since: datetime | None, until: datetime | None) -> bool:
        if not self.conditions.slots:
            return True
        rows = min(month.rows_within(since, until), self.wanted / max(self.conditions.share, 1e-9))
        return rows <= min(SCAN_ROWS_MAX, month.rows * self.conditions.slots[0].share * 2)

    async def _run(
        self,
        what: What,
        way: Way,
        month: Month,
        since: datetime | None,
        until: datetime | None,
        seconds: float,
        more: dict[str, Any],
    ) -> Any:
        slots = self.conditions.choose_slots(month.rows, 1)[0] if way == "probed" else []
        asked = self.conditions.asked() | slots_in_use(slots)
        statement = statement_for(f"{what}_{way}", asked, long_lists(self.conditions))
        arguments = {
            **self.conditions.arguments(slots),
            **more,
            "organization": self.organization_id,
            "size": self.size,
            "since": since or NEVER,
            "until": until or FOREVER,
            "received_from": month.start,
            "received_to": month.end,
        }
        await self.connection.execute(
            f"{self.undo}SAVEPOINT tally; {_SETTINGS[way]}; "
            f"SET LOCAL statement_timeout = {int(max(0.05, seconds) * 1000)}"
        )
        self.undo = "ROLLBACK TO SAVEPOINT tally; "  # its settings are not those of what follows
        return await self.connection.fetch(statement.text, *statement.arguments(arguments))


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _hour_at_or_after(at: datetime) -> datetime:
    hour = _hour(at)
    return hour if hour == at else hour + HOUR


def _edges(
    since: datetime | None, until: datetime | None, first_hour: datetime | None, end_hour: datetime | None
) -> list[tuple[datetime | None, datetime | None]]:
    """Return the parts of [since, until) that are no whole hours."""
    if first_hour is not None and end_hour is not None and first_hour >= end_hour:
        return [(since, until)]
    edges = []
    if since is not None and first_hour is not None and since < first_hour:
        edges.append((since, first_hour))
    if until is not None and end_hour is not None and end_hour < until:
        edges.append((end_hour, until))
    return edges
