"""Rows of viewers' tokens."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from msgspec import Struct

from tallystick.store.connect import EVERY, Connection, Pool, transaction
from tallystick.store.queries import load

if TYPE_CHECKING:
    from asyncpg import Record

_SQL = load("viewers")


class ViewerRow(Struct, frozen=True, kw_only=True):
    """A token as it is kept; `revoked_at` is also set when the key that made it is no longer good."""

    organization_id: UUID
    id: str
    name: str
    permissions: tuple[str, ...]
    workspaces: tuple[str, ...] | None
    filters: dict[str, tuple[str, ...]]
    origins: tuple[str, ...]
    columns: tuple[str, ...] = ()
    created_by: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    revoked_at: datetime | None = None
    session_sha256: bytes | None = None


def _row(record: Record) -> ViewerRow:
    fields = dict(record)
    fields["filters"] = msgspec.json.decode(fields["filters"])
    return msgspec.convert(fields, ViewerRow)


async def insert(connection: Connection, row: ViewerRow, sha256: bytes) -> None:
    """Keep a new token's hash and what it may show."""
    await connection.execute(
        _SQL["insert"], row.organization_id, row.id, row.name, sha256, list(row.permissions),
        None if row.workspaces is None else list(row.workspaces), msgspec.json.encode(row.filters), list(row.origins),
        list(row.columns), row.created_by, row.created_at, row.expires_at,
    )  # fmt: skip


async def find(pool: Pool, sha256: bytes) -> ViewerRow | None:
    """Return the token with this hash, or whose session has it, whatever its state."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        found = await connection.fetchrow(_SQL["find"], sha256)
    return None if found is None else _row(found)


async def exchange(
    connection: Connection, organization_id: UUID, token_id: str, at: datetime, session_sha256: bytes
) -> bool:
    """Exchange a token for a session; False when it was used, revoked or is over."""
    tag = await connection.execute(_SQL["exchange"], organization_id, token_id, at, session_sha256)
    return tag == "UPDATE 1"


async def revoke(
    connection: Connection, organization_id: UUID, token_id: str, at: datetime, created_by: str | None
) -> bool:
    """End a token and its session; False when there is no such one of `created_by` (None = anybody) or it had ended."""
    return await connection.execute(_SQL["revoke"], organization_id, token_id, at, created_by) == "UPDATE 1"


async def get(pool: Pool, organization_id: UUID, token_id: str, created_by: str | None) -> ViewerRow | None:
    """Return one token of `created_by` (None = anybody), or None."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        found = await connection.fetchrow(_SQL["get"], organization_id, token_id, created_by)
    return None if found is None else _row(found)


async def list_live(
    pool: Pool, organization_id: UUID, created_by: str | None, now: datetime
) -> list[ViewerRow]:
    """Return up to 1,000 tokens of `created_by` (None = anybody) that are not over, newest first."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = await connection.fetch(_SQL["list_live"], organization_id, created_by, now)
    return [_row(row) for row in rows]


async def live_origins(pool: Pool, now: datetime) -> frozenset[str]:
    """Return every origin, at most 10,000, that a live token names."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        return frozenset(row[0] for row in await connection.fetch(_SQL["live_origins"], now))
