"""What members sign in with: password hashes, second factors, links that work once. Never read by the reader's role."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct

from tallystick.store.connect import EVERY, Connection, Pool, transaction
from tallystick.store.queries import load

if TYPE_CHECKING:
    from asyncpg import Record

_SQL = load("sign_in")


class Standing(Struct, frozen=True, kw_only=True):
    """A member who may sign in, with what it signs in with."""

    organization_id: UUID
    id: str
    email: str
    display_name: str
    role: str
    access_version: int
    password_hash: str | None
    totp_secret: bytes | None
    totp_enabled_at: datetime | None
    totp_last_step: int | None
    recovery_code_hashes: list[str]
    organization: str
    only_oidc: bool


class Link(Struct, frozen=True, kw_only=True):
    """A link that works once; `open` says whether its member may still sign in."""

    organization_id: UUID
    purpose: str
    member_id: str
    expires_at: datetime
    used_at: datetime | None
    email: str | None
    display_name: str | None
    open: bool
    organization: str


def _standing(row: Record) -> Standing:
    return Standing(**dict(row))


async def by_email(pool: Pool, email: str) -> list[Standing]:
    """Return the members with this folded address, at most 8, each of another organization."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        return [_standing(row) for row in await connection.fetch(_SQL["by_email"], email)]


async def member(pool: Pool, organization_id: UUID, member_id: str) -> Standing | None:
    """Return one member who may sign in, or None."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        row = await connection.fetchrow(_SQL["member"], organization_id, member_id)
    return None if row is None else _standing(row)


async def execute(connection: Connection, statement: str, *values: Any) -> bool:
    """Run a statement of sign_in.sql that changes one row; tell whether it did."""
    return (await connection.execute(_SQL[statement], *values)).endswith(" 1")


async def take(pool: Pool, statement: str, organization_id: UUID, *values: Any) -> bool:
    """Run such a statement in a transaction of its own: use_step or use_recovery, each of which succeeds once."""
    async with transaction(pool, organization=organization_id) as connection:
        return await execute(connection, statement, organization_id, *values)


async def freshen_password(pool: Pool, organization_id: UUID, member_id: str, old: str, new: str) -> None:
    """Keep the same password under another cost, unless it was changed meanwhile."""
    async with transaction(pool, organization=organization_id) as connection:
        await connection.execute(_SQL["freshen_password"], organization_id, member_id, old, new)


async def offer_totp(pool: Pool, organization_id: UUID, member_id: str, sealed: bytes) -> bool:
    """Keep a new secret that is not in force yet; False when one is in force."""
    async with transaction(pool, organization=organization_id) as connection:
        return await execute(connection, "offer_totp", organization_id, member_id, sealed)


async def has_members(pool: Pool, organization_id: UUID) -> bool:
    """Tell whether anybody of the organization can sign in."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        return bool(await connection.fetchval(_SQL["has_members"], organization_id))


async def insert_link(
    connection: Connection,
    organization_id: UUID,
    *,
    sha256: bytes,
    purpose: str,
    member_id: str,
    at: datetime,
    expires_at: datetime,
) -> None:
    """Keep a link's hash and void the member's earlier links."""
    await connection.execute(_SQL["withdraw_links"], organization_id, member_id, at)
    await connection.execute(_SQL["insert_link"], organization_id, sha256, purpose, member_id, at, expires_at)


async def find_link(pool: Pool, sha256: bytes) -> Link | None:
    """Return the link with this hash, used and expired ones included, or None."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        row = await connection.fetchrow(_SQL["find_link"], sha256)
    return None if row is None else Link(**dict(row))


async def withdraw_links(connection: Connection, organization_id: UUID, member_id: str, at: datetime) -> None:
    """Void the unused links of a member."""
    await connection.execute(_SQL["withdraw_links"], organization_id, member_id, at)
