"""Counting the events that match: how many, when, and with which values.

What the counters of the append know exactly (terms, event_counts) is taken from there. Everything else is counted on
rows, month by month from the newest, with a cap and a time after which the answer says how far it counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from tallystick.query.model import Query
from tallystick.store.conditions import conditions_of, person_texts, read_dictionary, read_people
from tallystick.store.connect import Connection, Pool, transaction
from tallystick.store.counting import HOUR, ROWS_MAX, Counting
from tallystick.store.months import MonthBounds
from tallystick.store.queries import load
from tallystick.store.rows import SETTINGS
from tallystick.store.statement import assemble

COUNT_MAX = 10_000
FACET_ROWS_MAX = 10_000
FACET_TOP = 20
TALLY_SECONDS = 1.0
EXACT_SECONDS = 6.0
ONE_BUCKET = timedelta(days=50_000)
FACETS = ("action", "outcome", "actor_type", "workspace", "stream", "verb", "target_type")

_TOP_TERMS = assemble(load("search"), "top_terms")
_BEGINS_AT = assemble(load("search"), "begins_at")


@dataclass(frozen=True)
class Count:
    """How many events match; when not `exact`, at least so many."""

    events: int
    exact: bool


@dataclass(frozen=True)
class Buckets:
    """Events by (start of bucket, success); when `counted_back_to` is set, only those that occurred after it."""

    events: dict[tuple[datetime, bool], int]
    counted_back_to: datetime | None


@dataclass(frozen=True)
class Facets:
    """The most frequent values of each facet with their events; `approximate` = of the newest `rows` events only."""

    values: dict[str, list[tuple[str, int]]]
    rows: int
    approximate: bool


class Tally:
    """Counts events of one database.

    Args:
        pool: connections of the reading role.
        bounds: of months that are over, shared with the search.
        monotonic: a clock in seconds that never goes back.
    """

    def __init__(self, pool: Pool, bounds: MonthBounds, *, monotonic: Callable[[], float]) -> None:
        self._pool = pool
        self._bounds = bounds
        self._monotonic = monotonic

    async def count(self, organization_id: UUID, query: Query, *, exact: bool = False) -> Count:
        """Return how many events match: exactly up to COUNT_MAX, beyond that only if asked and time allows."""
        async with transaction(self._pool, reading=True, organization=organization_id) as connection:
            task = await self._begin(connection, organization_id, query, EXACT_SECONDS if exact else None)
            known = task.known_count()
            if known is not None:
                return Count(known, True) if exact or known <= COUNT_MAX else Count(COUNT_MAX, False)
            if task.is_rolled_up():
                total = sum((await task.rolled_up(ONE_BUCKET)).values())
                return Count(total, True) if exact or total <= COUNT_MAX else Count(COUNT_MAX, False)
            total = 0
            task.wanted = ROWS_MAX if exact else COUNT_MAX + 1
            async for rows in task.each_month("count", {}):
                total += rows[0][0]
                task.wanted -= rows[0][0]
            over = total > COUNT_MAX and not exact
            return Count(COUNT_MAX if over else total, not over and not task.stopped)

    async def histogram(self, organization_id: UUID, query: Query, width: timedelta) -> Buckets:
        """Return how many events match by buckets of `width`, aligned with 1970-01-01 UTC; `query` has both times."""
        async with transaction(self._pool, reading=True, organization=organization_id) as connection:
            task = await self._begin(connection, organization_id, query)
            if task.is_rolled_up() and width % HOUR == timedelta(0):
                return Buckets(dict(await task.rolled_up(width)), None)
            found: Counter[tuple[datetime, bool]] = Counter()
            async for rows in task.each_month("histogram", {"width": width}):
                for at, success, events in rows:
                    found[at, success] += events
            return Buckets(dict(found), task.counted_back_to())

    async def facets(self, organization_id: UUID, query: Query) -> Facets:
        """Return the most frequent values of each facet among the events that match."""
        async with transaction(self._pool, reading=True, organization=organization_id) as connection:
            task = await self._begin(connection, organization_id, query)
            if not task.conditions.filtered and query.since is None and query.until is None:
                arguments = {"organization": organization_id, "kinds": list(FACETS), "top": FACET_TOP}
                values: dict[str, list[tuple[str, int]]] = {name: [] for name in FACETS}
                for kind, value, events in await connection.fetch(
                    _TOP_TERMS.text, *_TOP_TERMS.arguments(arguments)
                ):
                    values[kind].append((value, events))
                return Facets(values, task.size, False)
            counters: dict[str, Counter[str]] = {name: Counter() for name in FACETS}
            task.wanted = FACET_ROWS_MAX
            async for rows in task.each_month("facets", {}):
                for row in rows:
                    name = next(name for name in FACETS if row[name] is not None)
                    counters[name][row[name]] += row["events"]
                    task.wanted -= row["events"] if name == "outcome" else 0
            values = {name: _top(counter) for name, counter in counters.items()}
            return Facets(values, FACET_ROWS_MAX - task.wanted, task.wanted <= 0 or task.stopped)

    async def begins_at(self, organization_id: UUID, earliest: datetime) -> datetime | None:
        """Return the first hour not before `earliest` in which an event of the log occurred, None without one."""
        async with transaction(self._pool, reading=True, organization=organization_id) as connection:
            return await connection.fetchval(_BEGINS_AT.text, organization_id, earliest)

    async def _begin(
        self,
        connection: Connection,
        organization_id: UUID,
        query: Query,
        seconds: float | None = None,
    ) -> Counting:
        deadline = self._monotonic() + (seconds or TALLY_SECONDS)
        await connection.execute(SETTINGS)
        dictionary = await read_dictionary(connection, organization_id, query)
        months = await self._bounds.months(connection, organization_id, dictionary.months, dictionary.size)
        texts = person_texts(query)
        people = await read_people(connection, organization_id, texts) if texts else {}
        conditions = conditions_of(query, dictionary, people=people)
        held = [month for month in months if month.may_hold(query.since, query.until)]
        held.sort(key=lambda m: (m.last_at is None, m.last_at or m.end), reverse=True)
        return Counting(
            connection,
            organization_id,
            query,
            conditions,
            dictionary,
            held,
            deadline,
            self._monotonic,
        )


def _top(counter: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:FACET_TOP]
