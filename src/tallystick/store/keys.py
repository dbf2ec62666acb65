"""Rows of API keys."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tallystick.store.connect import EVERY, Pool, transaction
from tallystick.store.queries import load

if TYPE_CHECKING:
    from asyncpg import Record

_SQL = load("keys")


async def find(pool: Pool, sha256: bytes) -> Record | None:
    """Return the key with this hash, revoked and expired ones included, or None."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        return await connection.fetchrow(_SQL["find"], sha256)


async def insert(
    pool: Pool,
    *,
    organization_id: UUID,
    id: str,
    name: str,
    prefix: str,
    sha256: bytes,
    permissions: list[str],
    workspace: str | None,
    expires_at: datetime | None,
) -> None:
    """Keep a new key's hash and what it may do."""
    async with transaction(pool, organization=organization_id) as connection:
        await connection.execute(
            _SQL["insert"], organization_id, id, name, prefix, sha256, permissions, workspace, expires_at
        )


async def list_all(pool: Pool, organization_id: UUID) -> list[dict[str, Any]]:
    """Return every key of an organization, newest first, without hashes."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        return [dict(row) for row in await connection.fetch(_SQL["list_all"], organization_id)]


async def revoke(pool: Pool, organization_id: UUID, key_id: str, at: datetime) -> bool:
    """Revoke a key; False when the organization has no such key."""
    async with transaction(pool, organization=organization_id) as connection:
        return await connection.execute(_SQL["revoke"], organization_id, key_id, at) == "UPDATE 1"


async def touch(pool: Pool, organization_id: UUID, key_id: str, at: datetime, ip: str | None) -> None:
    """Note when and from where a key was last used."""
    async with transaction(pool, organization=organization_id) as connection:
        await connection.execute(_SQL["touch"], organization_id, key_id, at, ip)
