"""Reading events by id and by position."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from tallystick.errors import Tampered
from tallystick.store.connect import Connection, Pool, transaction
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


async def feed(pool: Pool, organization_id: UUID, after: int, limit: int) -> list[Row]:
    """Return up to `limit` rows beyond position `after`, in order and without a gap.

    Raises Tampered when a position below the log's size is missing: that is an alarm, not the end of a page.
    """
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        stands_at = await connection.fetchval(_SQL["size"], organization_id) or 0
        first, end = after + 1, min(after + 1 + limit, stands_at)
        if first >= end:
            return []
        received = await months_of(connection, organization_id, first, end)
        rows = [
            Row(*row) for row in await connection.fetch(_SQL["feed"], organization_id, first, end, *received)
        ]
    check_dense([row.position for row in rows], first, end)
    return rows


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


def check_dense(positions: Sequence[int], first: int, end: int) -> None:
    """Raise Tampered unless `positions` are exactly `first` to `end` - 1: a hole is an alarm, not an end."""
    for expected, position in enumerate(positions, first):
        if position != expected:
            raise _hole(expected)
    if first + len(positions) < end:
        raise _hole(first + len(positions))


def _hole(position: int) -> Tampered:
    return Tampered(
        f"The event at position {position} is missing from the log, though the log counts beyond it. Stop relying on "
        "this database, keep it as it is, and run: tallystick doctor"
    )
