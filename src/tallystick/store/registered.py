"""Rows of registered actions, and of the events that broke their schemas."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from tallystick.store.connect import Connection, Pool, transaction
from tallystick.store.queries import load

_SQL = load("registered")


class Declaration(NamedTuple):
    """One version of an action as JSON, and when it was registered."""

    declaration: bytes
    created_at: datetime


class Quarantined(NamedTuple):
    """An event in quarantine; leaf and opening are None where retention removed the event."""

    position: int
    action: str
    violations: bytes
    released_by: int | None
    leaf: bytes | None
    opening: bytes | None


async def versions(pool: Pool, organization_id: UUID) -> dict[str, int]:
    """Return the newest version of each action an organization has registered."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        return dict(await connection.fetch(_SQL["versions"], organization_id))


async def declaration(pool: Pool, organization_id: UUID, name: str, version: int) -> Declaration | None:
    """Return one version of an action, or None."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        row = await connection.fetchrow(_SQL["declaration"], organization_id, name, version)
    return None if row is None else Declaration(*row)


async def newest(pool: Pool, organization_id: UUID) -> list[Declaration]:
    """Return the newest version of each action by name, without the schemas."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        return [Declaration(*row) for row in await connection.fetch(_SQL["newest"], organization_id)]


async def versions_of(pool: Pool, organization_id: UUID, name: str) -> list[Declaration]:
    """Return every version of one action, newest first."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = await connection.fetch(_SQL["versions_of"], organization_id, name)
    return [Declaration(*row) for row in rows]


async def counts(connection: Connection, organization_id: UUID, name: str) -> tuple[int, int]:
    """Return how many actions there are, and how many versions of this one."""
    row = await connection.fetchrow(_SQL["counts"], organization_id, name)
    assert row is not None
    return row["names"], row["versions"]


async def insert(
    connection: Connection, organization_id: UUID, name: str, version: int, declaration: bytes
) -> bool:
    """Keep a new version; tell whether it was new."""
    tag = await connection.execute(_SQL["insert"], organization_id, name, version, declaration)
    return tag == "INSERT 0 1"


async def quarantined(
    pool: Pool,
    organization_id: UUID,
    *,
    after: int,
    released: bool | None,
    action: str | None,
    positions: Sequence[int] | None,
    workspaces: Sequence[str] | None,
    limit: int,
) -> list[Quarantined]:
    """Return events in quarantine beyond position `after`; each condition None = any."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = await connection.fetch(
            _SQL["quarantined"], organization_id, after, released, action, positions, workspaces, limit
        )
    return [Quarantined(*row) for row in rows]


async def release(
    connection: Connection, organization_id: UUID, positions: Sequence[int], released_by: int
) -> int:
    """Mark events as released by the event at `released_by`; return how many were still in quarantine."""
    tag = await connection.execute(_SQL["release"], organization_id, positions, released_by)
    return int(tag.removeprefix("UPDATE "))
