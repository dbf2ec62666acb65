"""Rows of sessions: who is signed in."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct

from tallystick.store.connect import EVERY, Connection, Pool, transaction
from tallystick.store.queries import load

if TYPE_CHECKING:
    from asyncpg import Record

_SQL = load("sessions")


class SessionRow(Struct, frozen=True, kw_only=True):
    """A new session as it is kept."""

    organization_id: UUID
    id: str
    sha256: bytes
    member_id: str
    method: str
    access_version: int
    created_at: datetime
    expires_at: datetime
    ip: str | None
    user_agent: str | None


async def find(pool: Pool, sha256: bytes) -> Record | None:
    """Return the session with this hash and its member, ended and removed ones included, or None."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        return await connection.fetchrow(_SQL["find"], sha256)


async def insert(connection: Connection, row: SessionRow) -> None:
    """Begin a session."""
    await connection.execute(
        _SQL["insert"], row.organization_id, row.id, row.sha256, row.member_id, row.method, row.access_version,
        row.created_at, row.expires_at, row.ip, row.user_agent,
    )  # fmt: skip


async def succeed(
    pool: Pool,
    organization_id: UUID,
    session_id: str,
    *,
    version: tuple[int, int],
    heir: tuple[str, bytes],
    at: datetime,
    grace_until: datetime,
    ip: str | None,
    user_agent: str | None,
) -> bool:
    """Give a session's place to another id and hash, once; `version` is the one it was made under and the one now.

    The old one works until `grace_until`, for what the browser has asked at the same moment.
    """
    async with transaction(pool, organization=organization_id) as connection:
        kept = await connection.fetchrow(
            _SQL["retire"], organization_id, session_id, version[0], version[1], grace_until
        )
        if kept is None:
            return False
        await connection.execute(
            _SQL["succeed"], organization_id, session_id, heir[0], heir[1], at, kept["until"], ip, user_agent
        )
        return True


async def touch(pool: Pool, organization_id: UUID, session_id: str, at: datetime) -> None:
    """Note when a session was last used."""
    async with transaction(pool, organization=organization_id) as connection:
        await connection.execute(_SQL["touch"], organization_id, session_id, at)


async def of_member(
    pool: Pool, organization_id: UUID, member_id: str, *, now: datetime, idle_since: datetime
) -> list[dict[str, Any]]:
    """Return a member's sessions that are good now, at most 200."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = await connection.fetch(_SQL["of_member"], organization_id, member_id, now, idle_since)
    return [dict(row) for row in rows]


async def of_organization(
    pool: Pool, organization_id: UUID, *, now: datetime, idle_since: datetime
) -> list[dict[str, Any]]:
    """Return everybody's sessions that are good now, at most 1,000."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = await connection.fetch(_SQL["of_organization"], organization_id, now, idle_since)
    return [dict(row) for row in rows]


async def member_of(pool: Pool, organization_id: UUID, session_id: str) -> str | None:
    """Return whose session it is, None when there is no such one."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        return await connection.fetchval(_SQL["member_of"], organization_id, session_id)


async def revoke(connection: Connection, organization_id: UUID, session_id: str, at: datetime) -> bool:
    """End one session; tell whether it was good until now."""
    return await connection.execute(_SQL["revoke"], organization_id, session_id, at) == "UPDATE 1"


async def revoke_others(
    connection: Connection, organization_id: UUID, member_id: str, at: datetime, *, keep: str = ""
) -> int:
    """End all of a member's sessions but `keep`; return how many there were."""
    tag = await connection.execute(_SQL["revoke_others"], organization_id, member_id, at, keep)
    return int(tag.removeprefix("UPDATE "))


async def grantors(pool: Pool, organization_id: UUID) -> list[dict[str, Any]]:
    """Return names and e-mail addresses of up to five people who can give access, owners first."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        return [dict(row) for row in await connection.fetch(_SQL["grantors"], organization_id)]


async def holdings(
    pool: Pool, organization_id: UUID, member_id: str
) -> list[tuple[str, str, list[str] | None]]:
    """Return every role a member has: workspace or "", role, and the permissions of a role of the organization's own."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        return [tuple(row) for row in await connection.fetch(_SQL["holdings"], organization_id, member_id)]
