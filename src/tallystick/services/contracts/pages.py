"""Pages of a log for the read contracts of other products.

A contract asks for more than a search knows: exactly this action and not its other spelling, an actor or the key he
used, a type of target in another product's words. The search narrows; `keep` decides, event by event, by what the
contract will show. So a filter keeps an event exactly when its rendering says it should.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from tallystick.errors import Refused, TryLater
from tallystick.event.model import ACTORS_WITHOUT_ID
from tallystick.event.render import render
from tallystick.merkle.tree import leaf_hash
from tallystick.query.cursor import Place, read_cursor, write_cursor
from tallystick.query.model import Clause, Query
from tallystick.query.text import fold, fold_ascii
from tallystick.services.narrow import narrow, sight
from tallystick.services.narrow import scope_of as seen_by
from tallystick.services.principal import Principal
from tallystick.services.sign import Signer
from tallystick.store import contracts as rows
from tallystick.store import read as log_rows
from tallystick.store.connect import Pool
from tallystick.store.rows import Found as FoundRow
from tallystick.store.rows import Key
from tallystick.store.search import Search, Wanted

PAGE_SECONDS = 5.0  # after this a page is answered with what was found
PAGE_BYTES_MAX = 32 << 20  # of leaves and openings: 5,000 events of the largest size would be over a gigabyte
CHUNK_ROWS = 250
_YIELD_EVERY = 64  # events rendered before other tasks get a turn: one or two milliseconds


Clauses = tuple[Clause, ...]


@dataclass(frozen=True)
class Ask:
    """What a contract asks for.

    `query` narrows, `keep` decides. `any_of` narrows further: an event must fit all clauses of one of them, and none
    at all fits nothing. `credentials` finds the acts of persons with these credentials besides those of `any_of`.
    `contract` and `more` (filters that the query does not hold) tie a cursor to this very question.
    """

    contract: str
    query: Query
    limit: int
    keep: Callable[[dict[str, Any]], bool] | None = None
    any_of: tuple[Clauses, ...] = ((),)
    credentials: tuple[str, ...] = ()
    more: str = ""
    after: Key | None = None
    size: int | None = None


@dataclass(frozen=True)
class Row:
    """One event as the log holds it: the neutral event and the hash of its leaf."""

    position: int
    key: Key
    leaf_hash: bytes
    event: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """A page: its rows in order, and where it goes on.

    `place` is None at the end of what was asked for. `stopped` says that time ran out before the page was full:
    nothing between the last row and `place` matches, beyond it something may.
    """

    rows: list[Row]
    place: Key | None
    size: int
    stopped: bool = False


class Contracts:
    """Finds pages for contracts.

    Args:
        reader: connections of the reading role.
        signer: knows the name of each organization's log.
        cursor_key: the secret that signs cursors, the same on every server of one database.
        monotonic: seconds that never go back.
    """

    def __init__(
        self,
        reader: Pool,
        signer: Signer,
        *,
        cursor_key: bytes,
        monotonic: Callable[[], float],
        page_seconds: float = PAGE_SECONDS,
    ) -> None:
        self._reader = reader
        self._signer = signer
        self._cursor_key = cursor_key
        self._monotonic = monotonic
        self._page_seconds = page_seconds
        self._search = Search(reader, monotonic=monotonic)

    def log_name(self, organization_id: UUID) -> str:
        """Return the origin of an organization's log, which its OCSF events carry."""
        return self._signer.origin(organization_id)

    async def page(self, principal: Principal, ask: Ask) -> Found:
        """Return the page `ask` wants, shorter when time ran out or it would be larger than 32 MiB."""
        deadline = self._monotonic() + self._page_seconds
        kept: list[Row] = []
        taken, place, size = 0, ask.after, ask.size
        while True:
            # What was narrowed is mostly kept; only when it is not, larger pieces are worth their while.
            few = place == ask.after or ask.keep is None
            wanted = min(CHUNK_ROWS, ask.limit + 1 - len(kept)) if few else CHUNK_ROWS
            found, next_place, size = await self._fetch(principal, ask, place, size, wanted)
            for count, row in enumerate(found):
                if count % _YIELD_EVERY == _YIELD_EVERY - 1:
                    await asyncio.sleep(0)
                event = render(row.leaf, row.opening, row.position, with_changes=False)
                if ask.keep is not None and not ask.keep(event):
                    continue
                if len(kept) == ask.limit or taken > PAGE_BYTES_MAX:
                    return Found(kept, kept[-1].key, size)
                taken += len(row.leaf) + len(row.opening)
                kept.append(Row(row.position, _key(row), leaf_hash(row.leaf), event))
            if next_place is None:
                return Found(kept, None, size)
            place = next_place
            if self._monotonic() > deadline:
                return Found(kept, place, size, stopped=True)

    async def _fetch(
        self, principal: Principal, ask: Ask, after: Key | None, size: int | None, wanted: int
    ) -> tuple[list[FoundRow], Key | None, int]:
        """Return rows beyond a place in order, where they end, and the size of the log they are from."""
        if size is None:
            size = await log_rows.size(self._reader, principal.organization_id)
        query = replace(ask.query, limit=wanted, offset=0, cursor=None)
        base = Wanted(principal.organization_id, query, size, after)
        found: dict[int, FoundRow] = {}
        ends: list[Key] = []
        for clauses in ask.any_of:
            narrowed = replace(query, only=tuple(sorted((*query.only, *clauses))))
            page = await self._search.page(dataclasses.replace(base, query=narrow(principal, narrowed)))
            found.update((row.position, row) for row in page.events)
            if page.next_key is not None:
                ends.append(page.next_key)
        if ask.credentials:
            seen = dataclasses.replace(base, query=narrow(principal, query))
            walked = await rows.walk(self._reader, seen, credentials=ask.credentials, size=size)
            found.update((row.position, row) for row in walked)
            if len(walked) == wanted:
                ends.append(_key(walked[-1]))
        newest = query.order == "newest"
        ordered = sorted(found.values(), key=_key, reverse=newest)
        if not ends:
            return ordered, None, size
        # Beyond the first end the rows of that way are not all known yet.
        end = max(ends) if newest else min(ends)
        return [row for row in ordered if (_key(row) >= end if newest else _key(row) <= end)], end, size

    async def actors_with(
        self, principal: Principal, ids: Sequence[str]
    ) -> tuple[tuple[Clauses, ...], tuple[str, ...]]:
        """Return the ways to find who has one of `ids`, and those ids that may be credentials instead."""
        known = await rows.subjects_with(self._reader, principal.organization_id, ids)
        # Whose id is a person's or a service's is not a credential; any other id may be one.
        settled = {one.id for one in known if one.type not in (*ACTORS_WITHOUT_ID, "api_key")}
        clause = Clause("actor_id", tuple(sorted({one.id for one in known})))
        return ((clause,),) if known else (), tuple(text for text in ids if text not in settled)

    async def actors_known_as(self, principal: Principal, emails: Sequence[str]) -> tuple[Clauses, ...]:
        """Return the ways to find who was seen with exactly one of `emails`, case aside."""
        labels = tuple(sorted({fold(text) for text in emails}))
        known = await rows.subjects_known_as(self._reader, principal.organization_id, labels)
        nobody = (Clause("actor_type", tuple(sorted(ACTORS_WITHOUT_ID))), Clause("user", labels))
        if not known:
            return (nobody,)
        return (Clause("actor_id", tuple(sorted({one.id for one in known}))),), nobody

    async def values_of(self, principal: Principal, kind: str) -> list[str] | None:
        """Return every value of `kind` in the principal's log; None when there are too many to list."""
        return await rows.values_of(self._reader, principal.organization_id, kind)

    def write_cursor(self, principal: Principal, ask: Ask, found: Found) -> str | None:
        """Return the cursor of the next page, None at the end; it is good for this organization and question only."""
        if found.place is None:
            return None
        return write_cursor(
            Place(*found.place, found.size),
            ask.query,
            scope=_scope(principal, ask),
            key=self._cursor_key,
        )

    def at_cursor(self, principal: Principal, ask: Ask, cursor: str) -> Ask:
        """Return `ask` as it goes on at `cursor`; raises Refused for one of another organization or question."""
        place = read_cursor(
            replace(ask.query, cursor=cursor), scope=_scope(principal, ask), key=self._cursor_key
        )
        return dataclasses.replace(ask, after=Key(place.occurred_at, place.position), size=place.size)

    async def at_event(self, principal: Principal, ask: Ask, text: str, name: str) -> Ask:
        """Return `ask` as it goes on beyond the event whose id is `text`, in the order of its query.

        Raises Refused, naming the parameter, unless that is the id of an event that the principal may see.
        """
        found = None
        if (event_id := _uuid(text)) is not None:
            found = await rows.place_of(self._reader, principal.organization_id, event_id)
        if found is None or not sight(principal)(render(found[1].leaf, found[1].opening, found[0].position)):
            raise Refused(
                f"{name}: there is no event with this id in this organization. Use an id of a page you received.",
                path=f"/{name}",
                rule="cursor",
            )
        return dataclasses.replace(ask, after=found[0])


def too_slow() -> TryLater:
    """Return the error for a page that could not be filled in time by a contract that has no way to say so."""
    return TryLater(
        "The events that match lie too far apart to be found in time. Nothing is wrong with the log: ask for a "
        "shorter range of time, or for more common values.",
        retry_after_seconds=5,
    )


def exactly(actions: Sequence[str]) -> Clause:
    """Return the clause that narrows a search to these actions; ASCII case aside, so that the rest is compared after."""
    return Clause("action", tuple(sorted({f"^{fold_ascii(action)}$" for action in actions})))


def scope_of(principal: Principal, contract: str, more: str) -> str:
    """Return what a cursor is bound to besides the filters of its query."""
    return f"{contract}\n{seen_by(principal)}\n{more}"


def _scope(principal: Principal, ask: Ask) -> str:
    return scope_of(principal, ask.contract, ask.more)


def _key(row: FoundRow) -> Key:
    return Key(row.occurred_at, row.position)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
