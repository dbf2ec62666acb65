"""Reading what proves a log: heads, tiles, leaf hashes and retained checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from tallystick.errors import Tampered
from tallystick.store.connect import EVERY, Connection, Pool, transaction
from tallystick.store.queries import load

_SQL = load("logs")


class Head(NamedTuple):
    """Where a log stands: size, frontier's nodes joined, last received_at, last signed note and when, epoch."""

    size: int
    frontier: bytes
    last_received_at: datetime
    note: str
    note_at: datetime
    subject_epoch: int


class LogStanding(NamedTuple):
    """One log of the instance: whose it is, its size, its last note and when that was signed."""

    organization_id: UUID
    size: int
    note: str
    note_at: datetime


class KeptCheckpoint(NamedTuple):
    """A retained checkpoint."""

    size: int
    signed_at: datetime
    note: str


async def head(connection: Connection, organization_id: UUID) -> Head | None:
    """Return where a log stands, None when it has no event and no checkpoint yet."""
    row = await connection.fetchrow(_SQL["head"], organization_id)
    return None if row is None else Head(*row)


async def heads(pool: Pool) -> list[LogStanding]:
    """Return where every log of this database stands."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        return [LogStanding(*row) for row in await connection.fetch(_SQL["heads"])]


async def quiet_logs(pool: Pool, signed_before: datetime, limit: int) -> list[UUID]:
    """Return up to `limit` organizations whose last checkpoint is older than `signed_before`, or who have none."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        return [
            row["organization_id"] for row in await connection.fetch(_SQL["quiet_logs"], signed_before, limit)
        ]


async def kept_at(connection: Connection, organization_id: UUID) -> datetime | None:
    """Return when the newest retained checkpoint of a log was signed."""
    return await connection.fetchval(_SQL["kept_at"], organization_id)


async def kept_checkpoints(pool: Pool, organization_id: UUID, below: int, limit: int) -> list[KeptCheckpoint]:
    """Return up to `limit` retained checkpoints of sizes below `below`, newest first."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = await connection.fetch(_SQL["checkpoints"], organization_id, below, limit)
    return [KeptCheckpoint(*row) for row in rows]


async def growth(pool: Pool, organization_id: UUID, points: int) -> list[tuple[int, datetime]]:
    """Return how large a log was when, oldest first: (size, moment) at about `points` sizes between nothing and all."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        found = await head(connection, organization_id)
        rows = (
            []
            if found is None
            else await connection.fetch(_SQL["growth"], organization_id, found.size, points)
        )
    return [(row["size"], row["signed_at"]) for row in rows]


async def leaf_hashes(connection: Connection, organization_id: UUID, first: int, end: int) -> list[bytes]:
    """Return the leaf hashes of positions `first` to `end`; raises Tampered unless each is there exactly once."""
    if first >= end:
        return []
    rows = await connection.fetch(_SQL["leaf_hashes"], organization_id, first, end)
    if [row["position"] for row in rows] != list(range(first, end)):
        raise Tampered(
            f"positions {first} to {end} of the log of {organization_id} are not all there exactly once",
            rule="hole",
        )
    return [row["leaf_hash"] for row in rows]


async def has_rows_beyond(connection: Connection, organization_id: UUID, size: int) -> bool:
    """Tell whether rows lie after the end of a log of `size`: its head was set back."""
    return bool(await connection.fetchval(_SQL["has_rows_beyond"], organization_id, size))


async def full_tiles(
    connection: Connection, organization_id: UUID, places: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """Return those of the tiles at `places` (level, index) that are full; the others are not stored."""
    if not places:
        return {}
    levels, indexes = [level for level, _ in places], [index for _, index in places]
    rows = await connection.fetch(_SQL["tiles"], organization_id, levels, indexes)
    return {(row["level"], row["index"]): row["hashes"] for row in rows}
