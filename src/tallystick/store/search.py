"""Finding a page of events: an adaptive plan over the time index and the facet index, month by month.

Three ways to the same rows. *Scan*: walk a bounded number of rows in the order of time and keep those that match;
best when many do. *Probe*: have the facet index find the matching rows of some months and sort them; best when few
do. Which one is decided by the share of rows that the dictionaries expect to match, and a scan that finds too little
is given up for a probe. The newest months are opened first, and no more months than the page needs.

Nothing runs without a bound. When the time for a page is over, the page says how far it has searched, and its cursor
goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tallystick.errors import TryLater
from tallystick.query.model import Query
from tallystick.store.conditions import (
    Conditions,
    conditions_of,
    person_texts,
    read_dictionary,
    read_people,
)
from tallystick.store.connect import Connection, Pool, transaction
from tallystick.store.months import Month, MonthBounds
from tallystick.store.rows import POSITION_MAX, SETTINGS, Found, Key, Reader, TimeOver

PAGE_SECONDS = 2.0  # after this a page is answered with what was found, and how far was searched
SCAN_ROWS_FIRST = 400
SCAN_ROWS_MAX = 16_000
PROBE_ROWS_FEW = 3_000  # matching rows that are looked up in all months at once
# What one row costs: a scan reads rows one beside the other, a probe reads them all over the heap and sorts.
PROBE_COST = 1.5
PROBE_MONTH_COST = 60  # of opening one month, in rows


@dataclass(frozen=True)
class FoundPage:
    """A page as the store finds it.

    `next_key` is where the next page begins, None at the end. `searched_back_to` is set when time ran out: the page
    holds everything up to there, and there may be more beyond. `size` is the size of the log it was made from.
    """

    events: list[Found]
    next_key: Key | None
    searched_back_to: datetime | None
    size: int


@dataclass(frozen=True)
class Wanted:
    """A page to find: for whom, which, and from where. `size` None = the log as it is now; `after` None = the first."""

    organization_id: UUID
    workspace: str | None
    query: Query
    size: int | None = None
    after: Key | None = None


class Search:
    """Finds pages of events; remembers nothing but the bounds of months that are over.

    Args:
        pool: connections of the reading role.
        monotonic: a clock in seconds that never goes back.
    """

    def __init__(
        self, pool: Pool, *, monotonic: Callable[[], float], page_seconds: float = PAGE_SECONDS
    ) -> None:
        self._pool = pool
        self._monotonic = monotonic
        self._page_seconds = page_seconds
        self.bounds = MonthBounds()

    async def page(self, wanted: Wanted) -> FoundPage:
        """Return a page of up to `limit` events after skipping `offset`, in the order of the query."""
        deadline = self._monotonic() + self._page_seconds
        async with transaction(self._pool, reading=True) as connection:
            await connection.execute(SETTINGS)
            return await self._page(connection, wanted, deadline)

    async def _page(self, connection: Connection, wanted: Wanted, deadline: float) -> FoundPage:
        query, organization_id, workspace = wanted.query, wanted.organization_id, wanted.workspace
        dictionary = await read_dictionary(connection, organization_id, query, workspace)
        size = dictionary.size if wanted.size is None else min(wanted.size, dictionary.size)
        months = await self.bounds.months(connection, organization_id, dictionary.months, dictionary.size)
        texts = person_texts(query)
        conditions = conditions_of(query, dictionary, workspace=workspace, people=None if texts else {})
        if size == 0 or conditions.impossible:
            return FoundPage([], None, None, size)
        reader = Reader(connection, organization_id, query, size, deadline, self._monotonic)
        if texts:
            # Most texts are part of many labels or of one; a short look tells, without reading the directory.
            looked = await Walk(reader, conditions, months, wanted.after).look()
            if looked is not None:
                return looked
            people = await read_people(connection, organization_id, texts)
            conditions = conditions_of(query, dictionary, workspace=workspace, people=people)
            if conditions.impossible:
                return FoundPage([], None, None, size)
        return await Walk(reader, conditions, months, wanted.after).page()


class Walk:
    """One page being found: which months are opened, in which order, and how."""

    def __init__(
        self, reader: Reader, conditions: Conditions, months: list[Month], after: Key | None
    ) -> None:
        self._reader = reader
        self._conditions = conditions
        self._query = reader.query
        self._newest = reader.newest
        self._start = after or reader.very_start
        self._wanted = self._query.offset + self._query.limit + 1
        self._months = self._in_order(months)
        self._found: list[Found] = []
        self._share = conditions.share

    async def look(self) -> FoundPage | None:
        """Return the page if a short walk through the first month already fills it, else None."""
        if not self._months:
            return self._finish(None)
        hits = await self._reader.scan(
            self._conditions, self._months[:1], self._start, SCAN_ROWS_FIRST, self._wanted
        )
        self._found = hits
        return self._finish(None) if self._is_enough(1) else None

    async def page(self) -> FoundPage:
        """Open month after month until the page is full, the log is at its end or the time is over."""
        opened, step = 0, len(self._months) if self._are_few() else 1
        while opened < len(self._months) and not self._is_enough(opened):
            if opened and self._reader.seconds_left() <= 0:
                return self._finish(self._edge(opened))
            stopped = await self._open(self._months[opened : opened + step])
            opened += step
            if stopped is not None:
                edge = self._edge(opened)
                return self._finish(stopped if edge is None else self._sooner(stopped, edge))
            step *= 2
        return self._finish(None)

    async def _open(self, months: list[Month]) -> Key | None:
        """Find what `months` have for the page; returns how far they were searched when the time is over."""
        place, scanned, hits = self._start, 0, 0
        while True:
            # Each row seen corrects the guess: one match in 1 / share rows is what was believed before.
            share = (1 + hits) / (1 / max(self._share, 1e-9) + scanned)
            scan_rows = self._rows_to_scan(months, share)
            if self._conditions.slots and self._probe_cost(months, share) < scan_rows:
                return await self._probe(months, place)
            rows_max = int(min(SCAN_ROWS_MAX, max(SCAN_ROWS_FIRST, scan_rows)))
            found = await self._reader.scan(self._conditions, months, place, rows_max, self._wanted)
            self._found += found
            hits += len(found)
            if hits >= self._wanted:
                return None
            end = await self._reader.end_of_scan(months, place, rows_max)
            if end is None:
                return None
            scanned += rows_max
            place = end
            if self._reader.seconds_left() <= 0:
                return place

    async def _probe(self, months: list[Month], place: Key) -> Key | None:
        """Find the rest by the facet index; when that takes too long, at least walk on a little by time."""
        try:
            self._found += await self._reader.probe(self._conditions, months, place, self._wanted)
            return None
        except TimeOver:
            found = await self._reader.scan(self._conditions, months, place, SCAN_ROWS_MAX, self._wanted)
            self._found += found
            if len(found) >= self._wanted:
                return None
            return await self._reader.end_of_scan(months, place, SCAN_ROWS_MAX)

    def _rows_to_scan(self, months: list[Month], share: float) -> float:
        within = sum(month.rows_within(self._query.since, self._query.until) for month in months)
        return min(within + SCAN_ROWS_FIRST, 1.3 * self._wanted / share)

    def _probe_cost(self, months: list[Month], share: float) -> float:
        # The index does not know time: it finds the matches of whole months. What it is asked for may match more
        # rows than all conditions together.
        rows = sum(month.rows for month in months)
        return PROBE_MONTH_COST * len(months) + PROBE_COST * rows * min(
            share, self._conditions.slots[0].share
        )

    def _are_few(self) -> bool:
        rows = sum(month.rows for month in self._months)
        return (
            bool(self._conditions.slots)
            and self._conditions.exact_share
            and rows * self._share <= PROBE_ROWS_FEW
        )

    def _in_order(self, months: list[Month]) -> list[Month]:
        """Return the months that may hold an event of the page, those with its first events first."""
        since, until = self._query.since, self._query.until
        held = [month for month in months if month.may_hold(since, until)]
        if self._newest:
            return sorted(held, key=lambda m: (m.last_at is None, m.last_at or m.end), reverse=True)
        return sorted(held, key=lambda m: (m.first_at is not None, m.first_at or m.start))

    def _edge(self, opened: int) -> Key | None:
        """Return the place before which nothing lies in the months not yet opened; None when all are."""
        if opened >= len(self._months):
            return None
        month = self._months[opened]
        if self._newest:
            return None if month.last_at is None else Key(month.last_at, POSITION_MAX)
        return None if month.first_at is None else Key(month.first_at, -1)

    def _is_enough(self, opened: int) -> bool:
        """Tell whether the page is full of events that no month still closed can push out."""
        if len(self._found) < self._wanted:
            return False
        edge = self._edge(opened)
        last = self._sorted()[self._wanted - 1]
        key = Key(last.occurred_at, last.position)
        if opened < len(self._months) and edge is None:
            return False
        return edge is None or (key > edge if self._newest else key < edge)

    def _sooner(self, one: Key, other: Key) -> Key:
        return max(one, other) if self._newest else min(one, other)

    def _sorted(self) -> list[Found]:
        # Months that lie between two of a group may be read twice.
        found = {found.position: found for found in self._found}.values()
        return sorted(found, key=lambda found: (found.occurred_at, found.position), reverse=self._newest)

    def _finish(self, stopped: Key | None) -> FoundPage:
        """Cut the page; `stopped` is where the search stopped for lack of time, None when it did not."""
        found = self._sorted()
        if stopped is not None:
            found = [f for f in found if self._is_before(f, stopped)]
        first, end = self._query.offset, self._query.offset + self._query.limit
        events, size = found[first:end], self._reader.size
        if len(found) > end:
            return FoundPage(events, Key(events[-1].occurred_at, events[-1].position), None, size)
        if stopped is None:
            return FoundPage(events, None, None, size)
        if self._query.offset:
            raise TryLater(
                "This page lies too far back to be counted to in time. Page by next_cursor instead of an offset."
            )
        return FoundPage(events, stopped, stopped.occurred_at, size)

    def _is_before(self, found: Found, stopped: Key) -> bool:
        key = Key(found.occurred_at, found.position)
        return key >= stopped if self._newest else key <= stopped
