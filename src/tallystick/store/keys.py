"""Rows of API keys, of organizations and of operators."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from tallystick.store.connect import EVERY, Connection, Pool, transaction
from tallystick.store.queries import load

_SQL = load("keys")


class KeyRow(Struct, frozen=True, kw_only=True):
    """A new key as it is kept: its hash, and what it may do."""

    organization_id: UUID
    id: str
    name: str
    prefix: str
    sha256: bytes
    permissions: list[str]
    workspace: str | None
    expires_at: datetime | None
    created_by: str | None
    rotated_from: str | None


async def find(pool: Pool, sha256: bytes) -> dict[str, Any] | None:
    """Return the key with this hash, revoked and expired ones included, or None."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        row = await connection.fetchrow(_SQL["find"], sha256)
    return None if row is None else dict(row)


async def find_operator(pool: Pool, sha256: bytes) -> dict[str, Any] | None:
    """Return the operator key with this hash, revoked and expired ones included, or None."""
    async with transaction(pool, reading=True) as connection:
        row = await connection.fetchrow(_SQL["find_operator"], sha256)
    return None if row is None else dict(row)


async def insert(connection: Connection, row: KeyRow) -> None:
    """Keep a new key in the transaction under way."""
    await connection.execute(
        _SQL["insert"], row.organization_id, row.id, row.name, row.prefix, row.sha256, row.permissions, row.workspace,
        row.expires_at, row.created_by, row.rotated_from,
    )  # fmt: skip


async def insert_operator(
    connection: Connection,
    id: str,
    name: str,
    prefix: str,
    sha256: bytes,
    permissions: list[str],
    expires_at: datetime | None,
) -> None:
    """Keep a new operator key's hash and what it may do, in the transaction under way."""
    await connection.execute(_SQL["insert_operator"], id, name, prefix, sha256, permissions, expires_at)


async def get(pool: Pool, organization_id: UUID, key_id: str) -> dict[str, Any] | None:
    """Return one key without its hash, or None."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        row = await connection.fetchrow(_SQL["get"], organization_id, key_id)
    return None if row is None else dict(row)


async def list_all(pool: Pool, organization_id: UUID) -> list[dict[str, Any]]:
    """Return every key of an organization, newest first, without hashes."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        return [dict(row) for row in await connection.fetch(_SQL["list_all"], organization_id)]


async def list_operators(pool: Pool) -> list[dict[str, Any]]:
    """Return every operator key, newest first, without hashes."""
    async with transaction(pool, reading=True) as connection:
        return [dict(row) for row in await connection.fetch(_SQL["list_operators"])]


async def count_live(connection: Connection, organization_id: UUID, at: datetime) -> int:
    """Return how many keys of an organization still open something."""
    return int(await connection.fetchval(_SQL["count_live"], organization_id, at) or 0)


async def revoke(connection: Connection, organization_id: UUID, key_id: str, at: datetime) -> bool:
    """Revoke a key in the transaction under way; False when it was revoked before."""
    return await connection.execute(_SQL["revoke"], organization_id, key_id, at) == "UPDATE 1"


async def revoke_operator(connection: Connection, key_id: str, at: datetime) -> bool:
    """Revoke an operator key in the transaction under way; False when there is no such key that is not revoked."""
    return await connection.execute(_SQL["revoke_operator"], key_id, at) == "UPDATE 1"


async def retire(connection: Connection, organization_id: UUID, key_id: str, until: datetime) -> bool:
    """Have a key that is good end at `until`, or sooner as it would have; False when it is not good any more."""
    return await connection.execute(_SQL["retire"], organization_id, key_id, until) == "UPDATE 1"


async def has_heir(connection: Connection, organization_id: UUID, key_id: str) -> bool:
    """Tell whether another key has taken this one's place."""
    return bool(await connection.fetchval(_SQL["has_heir"], organization_id, key_id))


async def touch(pool: Pool, organization_id: UUID, key_id: str, at: datetime, ip: str | None) -> None:
    """Note when and from where a key was last used, whoever's it is."""
    async with transaction(pool, organization=organization_id) as connection:
        statement = "touch_operator" if key_id.startswith("opk_") else "touch"
        await connection.execute(_SQL[statement], organization_id, key_id, at, ip)
