"""Rows of exports that are written into files."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from tallystick.store.connect import EVERY, Connection, Pool, transaction
from tallystick.store.queries import load

_SQL = load("exports")


class ExportRecord(NamedTuple):
    """One export as it is kept; `sha256` and `checkpoint` are there once it got that far."""

    id: str
    format: str
    filter: str
    owner_id: str
    owner_name: str
    created_at: datetime
    state: str
    seen_at: datetime
    total: int
    events: int
    bytes: int
    sha256: bytes | None
    checkpoint: str | None
    finished_at: datetime | None
    failure: str | None


class Taken(NamedTuple):
    """An export that this server works on."""

    organization_id: UUID
    id: str
    format: str
    filter: str
    owner_id: str
    owner_name: str
    total: int


async def insert(connection: Connection, organization_id: UUID, *values: Any) -> None:
    """Keep a new export: id, format, filter, owner's id and name, moment, events expected."""
    await connection.execute(_SQL["insert"], organization_id, *values)


async def open_of(connection: Connection, organization_id: UUID, owner_id: str) -> int:
    """Return how many exports of one owner wait or run."""
    return await connection.fetchval(_SQL["open"], organization_id, owner_id) or 0


async def newest(pool: Pool, organization_id: UUID, owner_id: str | None, limit: int) -> list[ExportRecord]:
    """Return the newest exports, of one owner where one is given."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = await connection.fetch(_SQL["list"], organization_id, owner_id, limit)
    return [ExportRecord(*row) for row in rows]


async def get(pool: Pool, organization_id: UUID, export_id: str) -> ExportRecord | None:
    """Return one export."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        row = await connection.fetchrow(_SQL["get"], organization_id, export_id)
    return None if row is None else ExportRecord(*row)


async def take(pool: Pool, now: datetime, left_before: datetime) -> Taken | None:
    """Take the oldest export that waits or was left behind, whoever's it is."""
    async with transaction(pool, organization=EVERY) as connection:
        row = await connection.fetchrow(_SQL["take"], now, left_before)
    return None if row is None else Taken(*row)


async def change(pool: Pool, statement: str, organization_id: UUID, *values: Any) -> bool:
    """Do what `progress`, `finish` or `cancel` says; False when the export is not what it was any more."""
    async with transaction(pool, organization=organization_id) as connection:
        return await connection.execute(_SQL[statement], organization_id, *values) == "UPDATE 1"


async def cancel(connection: Connection, organization_id: UUID, export_id: str, at: datetime) -> bool:
    """Cancel an export within a transaction; False when it had come to its end before."""
    return await connection.execute(_SQL["cancel"], organization_id, export_id, at) == "UPDATE 1"


async def expire(pool: Pool, finished_before: datetime) -> list[tuple[UUID, str, str]]:
    """Mark old exports as expired and return (organization, id, format) of each."""
    async with transaction(pool, organization=EVERY) as connection:
        return [tuple(row) for row in await connection.fetch(_SQL["expire"], finished_before)]
