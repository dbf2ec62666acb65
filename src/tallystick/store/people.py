"""Rows of teams, workspaces, members and roles: who is who in an organization, and who may do what."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from tallystick.store.connect import Connection, Pool, transaction
from tallystick.store.queries import load

_SQL = load("people")
Many = Literal["teams", "workspaces", "members", "roles"]
One = Literal["team", "workspace", "member", "role", "workspace_role"]


async def read_all(pool: Pool, organization_id: UUID, what: Many, *values: Any) -> list[dict[str, Any]]:
    """Return what a statement of people.sql finds in an organization."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        return [dict(row) for row in await connection.fetch(_SQL[what], organization_id, *values)]


async def read_one(pool: Pool, organization_id: UUID, what: One, *values: Any) -> dict[str, Any] | None:
    """Return the one row a statement of people.sql finds in an organization, or None."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        row = await connection.fetchrow(_SQL[what], organization_id, *values)
    return None if row is None else dict(row)


async def change(connection: Connection, organization_id: UUID, statement: str, *values: Any) -> int:
    """Run a changing statement of people.sql in the transaction under way; return how many rows it changed."""
    tag = await connection.execute(_SQL[statement], organization_id, *values)
    return int(tag.rpartition(" ")[2])


async def count(connection: Connection, organization_id: UUID, statement: str, *values: Any) -> int:
    """Return a number in the transaction under way: `owners`, `holders` of a role, rows of a table."""
    return int(await connection.fetchval(_SQL[statement], organization_id, *values) or 0)
