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
    Slot,
    conditions_of,
    person_texts,
    read_dictionary,
    read_people,
    wants_persons,
)
from tallystick.store.connect import Connection, Pool, transaction
from tallystick.store.months import Month, MonthBounds
from tallystick.store.rows import POSITION_MAX, SETTINGS, Found, Key, Reader, TimeOver

PAGE_SECONDS = 2.0  # after this a page is answered with what was found, and how far was searched
SCAN_ROWS_FIRST = 250
SCAN_ROWS_MAX = 4_000
TRUST_IN_COUNTS = 8  # matches that a share known from the dictionaries' counts weighs as much as


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
        async with transaction(self._pool, reading=True, organization=wanted.organization_id) as connection:
            await connection.execute(SETTINGS)
            return await self._page(connection, wanted, deadline)

    async def _page(self, connection: Connection, wanted: Wanted, deadline: float) -> FoundPage:
        query, organization_id = wanted.query, wanted.organization_id
        dictionary = await read_dictionary(connection, organization_id, query)
        size = dictionary.size if wanted.size is None else min(wanted.size, dictionary.size)
        months = await self.bounds.months(connection, organization_id, dictionary.months, dictionary.size)
        conditions = conditions_of(query, dictionary, people=None)
        # Unwanted persons hardly narrow a search: there each row asks for its own actor.
        if wants_persons(query) and size and not conditions.impossible:
            people = await read_people(connection, organization_id, person_texts(query))
            conditions = conditions_of(query, dictionary, people=people)
        if size == 0 or conditions.impossible:
            return FoundPage([], None, None, size)
        reader = Reader(connection, organization_id, query, size, deadline, self._monotonic)
        walk = Walk(reader, conditions, months, wanted.after)
        return await walk.page()


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
        self._place = self._start
        self._wanted = self._query.offset + self._query.limit + 1
        self._months = self._in_order(months)
        self._opened = self._found_before = 0
        self._found: dict[int, Found] = {}  # by position: months between two of a group may be read twice
        self._rows_seen = 0
        self._hits_seen = 0

    async def page(self) -> FoundPage:
        """Open month after month until the page is full, the log is at its end or the time is over."""
        step = 1
        while self._opened < len(self._months) and not self._is_enough(self._opened):
            if self._opened and self._reader.seconds_left() <= 0:
                return self._finish(self._edge(self._opened))
            left = self._months[self._opened :]
            months = left if self._are_few(left) else left[:step]
            stopped = await self._open(months)
            self._close(months)
            if stopped is not None:
                edge = self._edge(self._opened)
                return self._finish(stopped if edge is None else self._sooner(stopped, edge))
            step *= 2
        return self._finish(None)

    def _close(self, months: list[Month]) -> None:
        """Note that everything of `months` that the page may need is found."""
        self._opened += len(months)
        self._place, self._found_before = self._start, len(self._found)

    async def _open(self, months: list[Month]) -> Key | None:
        """Find what `months` have for the page; returns how far they were searched when the time is over."""
        rows = sum(month.rows for month in months)
        while len(self._found) - self._found_before < self._wanted:
            scan_rows = self._rows_to_scan(months)
            seen_share = self._share() if self._hits_seen else 0.0
            slots, cost = self._conditions.choose_slots(rows, len(months), seen_share)
            is_known = self._conditions.exact_share or self._rows_seen > 0
            if slots and is_known and cost < scan_rows:
                return await self._probe(slots, months)
            if await self._scan(months, SCAN_ROWS_MAX if is_known else SCAN_ROWS_FIRST) is None:
                return None
            if self._reader.seconds_left() <= 0:
                return self._place
        return None

    async def _scan(self, months: list[Month], rows_most: int) -> Key | None:
        """Walk on by time; returns where to, None when everything in `months` was read."""
        least = max(SCAN_ROWS_FIRST, self._rows_seen // 2)  # guesses that fall short must not add up
        rows_max = int(min(rows_most, max(least, self._rows_to_scan(months))))
        scanned = await self._reader.scan(self._conditions, months, self._place, rows_max, self._wanted)
        self._found |= {found.position: found for found in scanned.found}
        self._hits_seen += len(scanned.found)
        self._rows_seen += scanned.rows
        self._place = scanned.end or self._place
        return scanned.end

    async def _probe(self, slots: list[Slot], months: list[Month]) -> Key | None:
        """Find the rest by the facet index; when that takes too long, at least walk on a little by time."""
        try:
            found = await self._reader.probe(self._conditions, slots, months, self._place, self._wanted)
        except TimeOver:
            return await self._scan(months, SCAN_ROWS_MAX)
        self._found |= {one.position: one for one in found}
        if len(found) < self._wanted:
            self._hits_seen += len(found)
            self._rows_seen += sum(month.rows for month in months)
        return None

    def _share(self) -> float:
        """Return the share of rows that matches: what was believed before, corrected by each row seen since."""
        trust = TRUST_IN_COUNTS if self._conditions.exact_share else 1
        return (trust + self._hits_seen) / (trust / max(self._conditions.share, 1e-9) + self._rows_seen)

    def _rows_to_scan(self, months: list[Month]) -> float:
        """Return how many rows a walk must read to fill the page, or to reach its end."""
        within = sum(month.rows_within(self._query.since, self._query.until) for month in months)
        missing = self._missing()
        return min(within + SCAN_ROWS_FIRST, (missing + 2 * missing**0.5) / self._share())

    def _are_few(self, months: list[Month]) -> bool:
        """Tell whether so few events of all these months match that the page needs them all, or nearly."""
        is_known = self._conditions.exact_share or self._rows_seen > 0
        expected = sum(month.rows for month in months) * self._share()
        return bool(self._conditions.slots) and is_known and expected <= 2 * self._missing()

    def _missing(self) -> int:
        return max(1, self._wanted - len(self._found))

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
        return sorted(
            self._found.values(), key=lambda found: (found.occurred_at, found.position), reverse=self._newest
        )

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
