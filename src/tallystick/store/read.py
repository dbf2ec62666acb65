"""Reading events by id and by position."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from tallystick.store.connect import Connection, Pool, transaction
from tallystick.store.keeping import first_present, missing
from tallystick.store.months import FOREVER, NEVER
from tallystick.store.queries import load

_SQL = load("read")


class Row(NamedTuple):
    """One event as it is stored; `workspace` is "" at the level of the organization."""

    position: int
    workspace: str
    leaf: bytes
    opening: bytes


async def size(pool: Pool, organization_id: UUID) -> int:
    """Return how many events a log holds."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        return await connection.fetchval(_SQL["size"], organization_id) or 0


async def event(pool: Pool, organization_id: UUID, event_id: UUID) -> Row | None:
    """Return the event with this id, None when the log holds none."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        row = await connection.fetchrow(_SQL["event"], organization_id, event_id)
    return None if row is None else Row(*row)


class Piece(NamedTuple):
    """The rows of a piece of the log that were not removed, and the last position of the piece."""

    rows: list[Row]
    last: int


async def feed(pool: Pool, organization_id: UUID, after: int, limit: int) -> Piece:
    """Return the next `limit` positions beyond `after`, in order; where they begin with removed events, what follows.

    Raises Tampered when a position below the log's size is missing and no record says that it was removed: that is an
    alarm, not the end of a page.
    """
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        stands_at = await connection.fetchval(_SQL["size"], organization_id) or 0
        first = after + 1
        while first < stands_at:
            end = min(first + limit, stands_at)
            received = await months_of(connection, organization_id, first, end)
            found = await connection.fetch(_SQL["feed"], organization_id, first, end, *received)
            rows = [Row(*row) for row in found]
            await missing(connection, organization_id, [row.position for row in rows], first, end)
            if rows:
                return Piece(rows, end - 1)
            first = await first_present(connection, organization_id, end, stands_at)
        return Piece([], max(after, stands_at - 1))


async def months_of(
    connection: Connection, organization_id: UUID, first: int, end: int
) -> tuple[datetime, datetime]:
    """Return from when and until when the rows of positions `first` to `end` - 1 were received, in whole months."""
    received_from, received_to = await connection.fetchrow(
        _SQL["months_of"], organization_id, first, end
    ) or (
        None,
        None,
    )
    return received_from or NEVER, received_to or FOREVER
