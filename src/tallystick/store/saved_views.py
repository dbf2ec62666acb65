"""Rows of saved views."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from tallystick.store.connect import Connection, Pool, transaction
from tallystick.store.queries import load

_SQL = load("saved_views")


class ViewRow(NamedTuple):
    """A saved view; `address` holds the parameters of the events page."""

    id: str
    owner_id: str
    name: str
    address: str
    shared: bool
    created_at: datetime


async def find(
    pool: Pool, organization_id: UUID, owner_id: str, limit: int
) -> tuple[list[ViewRow], str | None]:
    """Return up to `limit` views that `owner_id` may open, and the id of the one that opens first."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = await connection.fetch(_SQL["list"], organization_id, owner_id, limit)
        default = await connection.fetchval(_SQL["default"], organization_id, owner_id)
    return [ViewRow(*row) for row in rows], default


async def count(connection: Connection, organization_id: UUID, owner_id: str) -> int:
    """Return how many views `owner_id` keeps."""
    return await connection.fetchval(_SQL["count"], organization_id, owner_id) or 0


async def insert(connection: Connection, organization_id: UUID, row: ViewRow) -> None:
    """Keep a new view."""
    await connection.execute(_SQL["insert"], organization_id, *row)


async def delete(
    connection: Connection, organization_id: UUID, view_id: str, owner_id: str, *, shared_too: bool
) -> bool:
    """Forget a view of `owner_id`, with `shared_too` also a shared one of somebody else; tell whether there was one."""
    return (
        await connection.fetchrow(_SQL["delete"], organization_id, view_id, owner_id, shared_too) is not None
    )


async def set_default(pool: Pool, organization_id: UUID, owner_id: str, view_id: str) -> None:
    """Choose the view that opens first for `owner_id`."""
    async with transaction(pool, organization=organization_id) as connection:
        await connection.execute(_SQL["set_default"], organization_id, owner_id, view_id)
