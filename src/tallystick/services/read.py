"""Reading: search, count, histogram, facets, one event, the dense feed, and following it live.

A principal that is bound to workspaces or filters sees their events and nothing else, not even in a count.
Events are rendered from leaf and opening, never from the columns that only serve the search.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from tallystick.errors import NotFound
from tallystick.event.moment import instant_text, read_instant
from tallystick.event.render import render
from tallystick.query.cursor import Place, read_cursor, write_cursor
from tallystick.query.model import Query
from tallystick.services.buckets import spread, width_for
from tallystick.services.narrow import narrow, reaches, scope_of, sight
from tallystick.services.principal import Principal
from tallystick.services.watch import Watch
from tallystick.store import read as rows
from tallystick.store.connect import Pool
from tallystick.store.follow import follow
from tallystick.store.rows import Key
from tallystick.store.search import Search, Wanted
from tallystick.store.tally import Tally

FEED_LIMIT_MAX = 1_000
HISTOGRAM_SPAN_MAX = timedelta(days=20 * 365)  # one wrong clock must not make every bar a century wide


class Page(Struct, frozen=True, kw_only=True):
    """A page of events.

    `next_cursor` leads to the next page, None at the end. `size` is the size of the log it was made from.
    `searched_back_to` is set when the time for a page was over before it was full: everything up to there is
    here, and the cursor goes on from there.
    """

    events: list[dict[str, Any]]
    next_cursor: str | None
    size: int
    searched_back_to: str | None = None


class FeedPage(Struct, frozen=True, kw_only=True):
    """Events in the order of positions; `last` is the last position that was read, shown or not."""

    events: list[dict[str, Any]]
    last: int


class Read:
    """Reads events for principals.

    Args:
        reader: connections of the reading role.
        cursor_key: the secret that signs cursors, the same on every server of one database.
        now: the clock, in UTC.
        monotonic: seconds that never go back; default is the event loop's clock.
    """

    def __init__(
        self,
        reader: Pool,
        *,
        cursor_key: bytes,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self._reader = reader
        self._cursor_key = cursor_key
        self._now = now
        monotonic = monotonic or _loop_time
        self._search = Search(reader, monotonic=monotonic)
        self._tally = Tally(reader, self._search.bounds, monotonic=monotonic)
        self._watch = Watch(lambda organization_id: rows.size(reader, organization_id))

    async def search(self, principal: Principal, query: Query) -> Page:
        """Return the page of events that `query` asks for.

        Raises Refused for a cursor that does not belong to this search of this principal.
        """
        scope = scope_of(principal)
        size, after = None, None
        if query.cursor is not None:
            place = read_cursor(query, scope=scope, key=self._cursor_key)
            size, after = place.size, Key(place.occurred_at, place.position)
            query = _as_it_was(query, place)
        found = await self._search.page(
            Wanted(principal.organization_id, narrow(principal, query), size=size, after=after)
        )
        next_cursor = None
        if found.next_key is not None:
            place = Place(*found.next_key, found.size, query.since if query.range else None)
            next_cursor = write_cursor(place, query, scope=scope, key=self._cursor_key)
        return Page(
            events=[render(event.leaf, event.opening, event.position) for event in found.events],
            next_cursor=next_cursor,
            size=found.size,
            searched_back_to=None if found.searched_back_to is None else instant_text(found.searched_back_to),
        )

    def turn(self, principal: Principal, query: Query, page: Page) -> str | None:
        """Return the cursor that leads back from the first event of `page`, in the order opposite to `query`'s.

        None when the page is empty. The page that it leads to is in that opposite order too.
        """
        if not page.events:
            return None
        first = page.events[0]
        place = Place(
            read_instant(first["occurred_at"])[0],
            first["position"],
            page.size,
            query.since if query.range else None,
        )
        return write_cursor(place, turned(query), scope=scope_of(principal), key=self._cursor_key)

    async def count(self, principal: Principal, query: Query, *, exact: bool = False) -> dict[str, Any]:
        """Return `count` and whether it is `exact`; if not, at least so many events match."""
        found = await self._tally.count(principal.organization_id, narrow(principal, query), exact=exact)
        return {"count": found.events, "exact": found.exact}

    async def histogram(self, principal: Principal, query: Query) -> dict[str, Any]:
        """Return events by time: `buckets` of `bucket_seconds` from `from` to `to`, success apart from the rest.

        Without a start the histogram begins with the first event of the last twenty years, without an end it reaches
        to now. `exact` is False when
        time ran out: buckets before `counted_back_to` are not complete.
        """
        query = narrow(principal, query)
        since, until = await self._span(principal, query)
        width = width_for(until - since)
        ranged = Query(
            only=query.only, never=query.never, words=query.words, never_words=query.never_words,
            since=since, until=until, range=query.range, as_told=query.as_told,
        )  # fmt: skip
        found = await self._tally.histogram(principal.organization_id, ranged, width)
        back_to = found.counted_back_to
        return {
            "from": instant_text(since),
            "to": instant_text(until),
            "bucket_seconds": int(width / timedelta(seconds=1)),
            "buckets": spread(found.events, since, until, width),
            "exact": back_to is None,
            **({} if back_to is None else {"counted_back_to": instant_text(back_to)}),
        }

    async def facets(self, principal: Principal, query: Query) -> dict[str, Any]:
        """Return the most frequent values of each facet; `approximate` = counted on the newest `rows` matches only."""
        found = await self._tally.facets(principal.organization_id, narrow(principal, query))
        return {
            "facets": {
                name: [{"value": value, "count": events} for value, events in values]
                for name, values in found.values.items()
            },
            "approximate": found.approximate,
            **({"rows": found.rows} if found.approximate else {}),
        }

    async def event(self, principal: Principal, event_id: UUID) -> tuple[int, dict[str, Any]]:
        """Return the position of an event and the event; raises NotFound, also for another workspace's."""
        row = await rows.event(self._reader, principal.organization_id, event_id)
        event = None if row is None else render(row.leaf, row.opening, row.position)
        if row is None or event is None or not sight(principal)(event):
            raise NotFound("There is no event with this id in this organization.")
        return row.position, event

    async def require_position(self, principal: Principal, position: int) -> None:
        """Raise NotFound, the same for a position beyond the log, unless the event at `position` may be seen."""
        if principal.sees_all:
            return
        found = await rows.feed(self._reader, principal.organization_id, position - 1, 1)
        seen = sight(principal)
        if not any(
            seen(render(row.leaf, row.opening, row.position))
            for row in found.rows
            if row.position == position
        ):
            raise NotFound("There is no event at this position in this organization.")

    async def feed(self, principal: Principal, after: int, limit: int) -> list[dict[str, Any]]:
        """Return up to `limit` events beyond position `after`, dense: raises Tampered when one is missing.

        For a principal bound to a workspace, those of it among them; then use `feed_page`, which says how far it read.
        """
        return (await self.feed_page(principal, after, limit)).events

    async def feed_page(self, principal: Principal, after: int, limit: int) -> FeedPage:
        """Return what `feed` does, with the last position read; ask for what is beyond it next time."""
        found = await rows.feed(self._reader, principal.organization_id, after, min(limit, FEED_LIMIT_MAX))
        seen = sight(principal)
        events = [
            render(row.leaf, row.opening, row.position)
            for row in found.rows
            if reaches(principal, row.workspace)
        ]
        return FeedPage(events=[event for event in events if seen(event)], last=found.last)

    async def follow(self, principal: Principal, query: Query, after: int, limit: int) -> FeedPage:
        """Return those of the next `limit` events beyond `after` that match: the search's meaning, the feed's order."""
        found = await follow(
            self._reader,
            principal.organization_id,
            narrow(principal, query),
            after,
            min(limit, FEED_LIMIT_MAX),
        )
        return FeedPage(
            events=[render(row.leaf, row.opening, row.position) for row in found.events], last=found.last
        )

    async def wait_beyond(self, organization_id: UUID, position: int) -> int:
        """Wait until the log holds an event beyond `position` and return its size."""
        return await self._watch.wait(organization_id, position)

    def appended(self, organization_id: UUID) -> None:
        """Wake whoever waits for this log: the appender of this process calls it after each commit."""
        self._watch.announce(organization_id)

    async def _span(self, principal: Principal, query: Query) -> tuple[datetime, datetime]:
        """Return the time that a histogram of `query` shows."""
        now = self._now()
        until = query.until or max(now, query.since or now) + timedelta(microseconds=1)
        since = (
            query.since
            or await self._begins_at(principal, now - HISTOGRAM_SPAN_MAX)
            or until - timedelta(days=1)
        )
        return min(since, until), until

    async def _begins_at(self, principal: Principal, earliest: datetime) -> datetime | None:
        """Return when the first event that the principal may see occurred; claims before `earliest` do not count."""
        if principal.sees_all:
            return await self._tally.begins_at(principal.organization_id, earliest)
        first = narrow(principal, Query(since=earliest, order="oldest", limit=1))
        found = await self._search.page(Wanted(principal.organization_id, first))
        return found.events[0].occurred_at if found.events else None


def _as_it_was(query: Query, place: Place) -> Query:
    """Return the query with the start that its relative range had on the first page."""
    if not query.range:
        return query
    return Query(
        only=query.only, never=query.never, words=query.words, never_words=query.never_words,
        since=place.since, until=query.until, range=query.range, order=query.order, limit=query.limit, cursor=query.cursor,
    )  # fmt: skip


def turned(query: Query) -> Query:
    """Return the query in the opposite order, from its first page on."""
    order = "oldest" if query.order == "newest" else "newest"
    return replace(query, order=order, cursor=None, offset=0)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
