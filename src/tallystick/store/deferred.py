"""Rows of own events that wait for a server to append them."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from tallystick.store.connect import EVERY, Connection, Pool, transaction
from tallystick.store.queries import load

_SQL = load("deferred")


class DeferredAct(NamedTuple):
    """An event that waits, as JSON, and the source it is to be recorded with."""

    organization_id: UUID
    id: UUID
    source: str
    event: bytes


async def insert(connection: Connection, act: DeferredAct, at: datetime) -> None:
    """Keep an event in the transaction under way."""
    await connection.execute(_SQL["insert"], *act, at)


async def oldest(pool: Pool, number: int) -> list[DeferredAct]:
    """Return up to `number` events that wait, the first one first."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        return [DeferredAct(*row) for row in await connection.fetch(_SQL["oldest"], number)]


async def remove(connection: Connection, organization_id: UUID, id: UUID) -> bool:
    """Let go of an event that the transaction under way appends; False when another one did."""
    return await connection.execute(_SQL["remove"], organization_id, id) == "DELETE 1"
