"""Pulling a log from its beginning on: in the order of (millisecond, id), or in the order of positions.

The first is what LangWatch's consumers know. An event that arrives late, with a time some consumer has passed, is
missed by it, as it is there. The second misses nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from tallystick.errors import Refused
from tallystick.event.render import render
from tallystick.merkle.tree import leaf_hash
from tallystick.query.cursor import Place, read_cursor, write_cursor
from tallystick.query.model import Query
from tallystick.services.contracts.pages import scope_of
from tallystick.services.narrow import reaches, sight
from tallystick.services.principal import Principal
from tallystick.store import contracts as rows
from tallystick.store import read as log_rows
from tallystick.store.connect import Pool
from tallystick.store.months import FOREVER

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
# The milliseconds there are, of the years 1 to 9999.
SINCE_MS_MIN = -62_135_596_800_000
SINCE_MS_MAX = 253_402_300_799_999
START = "start"
PULL_BYTES_MAX = 32 << 20
CHUNK_ROWS = 250


class Pulled(Struct, frozen=True):
    """One event: the millisecond it occurred in, the hash of its leaf, and the neutral event."""

    milliseconds: int
    leaf_hash: bytes
    event: dict[str, Any]


class Pull:
    """Pulls events; `cursor_key` signs cursors, the same on every server of one database."""

    def __init__(self, reader: Pool, *, cursor_key: bytes) -> None:
        self._reader = reader
        self._cursor_key = cursor_key

    async def since(
        self, principal: Principal, since_ms: int | None, beyond: UUID | None, limit: int
    ) -> list[Pulled]:
        """Return up to `limit` events beyond (`since_ms`, `beyond`) in the order of (millisecond, id).

        Without `beyond` the events of the millisecond itself come too. Fewer come when they are very large.
        """
        found: list[Pulled] = []
        seen = sight(principal)
        taken = 0
        while len(found) < limit and taken <= PULL_BYTES_MAX:
            wanted = min(CHUNK_ROWS, limit - len(found))
            chunk = await self._chunk(principal, since_ms, beyond, wanted)
            for row in chunk:
                taken += len(row.leaf) + len(row.opening)
                pulled = _pulled(_milliseconds(row.occurred_at), row)
                if seen(pulled.event):
                    found.append(pulled)
            if len(chunk) < wanted:
                break
            since_ms, beyond = _milliseconds(chunk[-1].occurred_at), chunk[-1].id
        return found

    async def _chunk(
        self, principal: Principal, since_ms: int | None, beyond: UUID | None, wanted: int
    ) -> list[rows.Timed]:
        """Return the next events: first the rest of the millisecond, then whole milliseconds, then part of one."""
        workspaces = None if principal.workspaces is None else sorted(principal.workspaces - {""})
        where = (self._reader, principal.organization_id, workspaces)
        found: list[rows.Timed] = []
        start = None if since_ms is None else _instant(since_ms)
        if start is not None and beyond is not None:
            found = await rows.within_time(*where, start, _next(start), beyond=beyond, wanted=wanted)
            start = _next(start)
        if len(found) == wanted:
            return found
        later = await rows.from_time(*where, start, wanted=wanted - len(found))
        if not later:
            return found
        # The last millisecond may go on beyond what was read; its events are asked for anew, in the order of ids.
        last = _instant(_milliseconds(later[-1].occurred_at))
        whole = [row for row in later if row.occurred_at < last]
        found += sorted(whole, key=lambda row: (_milliseconds(row.occurred_at), row.id))
        return found + await rows.within_time(
            *where, last, _next(last), beyond=None, wanted=wanted - len(found)
        )

    async def by_position(self, principal: Principal, cursor: str, limit: int) -> tuple[list[Pulled], str]:
        """Return the next `limit` events in the order of positions, and the cursor that goes on behind them.

        `cursor` is "start" or one that was given out. For who sees a part of the log, those of it among the
        next `limit`. Raises Refused for a cursor of another organization, Tampered when a position is missing.
        """
        scope = scope_of(principal, "position", "")
        after = -1
        if cursor != START:
            asked = Query(order="oldest", cursor=cursor)
            after = read_cursor(asked, scope=scope, key=self._cursor_key).position
        read = await log_rows.feed(self._reader, principal.organization_id, after, limit)
        pulled = [_pulled_row(row) for row in read.rows if reaches(principal, row.workspace)]
        seen = sight(principal)
        place = Place(EPOCH, read.last, 0)
        return [one for one in pulled if seen(one.event)], write_cursor(
            place, Query(order="oldest"), scope=scope, key=self._cursor_key
        )


def read_event_id(text: str) -> UUID:
    """Return the event id in a compound cursor; raises Refused when it is none."""
    try:
        return UUID(text)
    except ValueError:
        raise Refused(
            "since_event_id: this is no id of an event of this server. Leave it out to begin with the whole "
            "millisecond of since_ms.", path="/since_event_id", rule="cursor",
        ) from None  # fmt: skip


def _pulled(milliseconds: int, row: rows.Timed) -> Pulled:
    event = render(row.leaf, row.opening, row.position, with_changes=False)
    return Pulled(milliseconds, leaf_hash(row.leaf), event)


def _pulled_row(row: log_rows.Row) -> Pulled:
    event = render(row.leaf, row.opening, row.position, with_changes=False)
    return Pulled(_milliseconds(datetime.fromisoformat(event["occurred_at"])), leaf_hash(row.leaf), event)


def _milliseconds(moment: datetime) -> int:
    return (moment - EPOCH) // MILLISECOND


def _instant(milliseconds: int) -> datetime:
    return EPOCH + milliseconds * MILLISECOND


def _next(start: datetime) -> datetime:
    try:
        return start + MILLISECOND
    except OverflowError:  # the last millisecond there is
        return FOREVER
