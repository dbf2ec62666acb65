"""Rows of members and groups as a directory (SCIM) sees and keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from tallystick.store.connect import Connection, Pool, transaction
from tallystick.store.queries import load

_SQL = load("directory")


class Named(Struct, frozen=True, kw_only=True):
    """What is wanted: one id, one name (folded), one external id; None = any."""

    id: str | None = None
    name: str | None = None
    external_id: str | None = None


class UserRow(Struct, frozen=True, kw_only=True):
    """A member as a directory sees it; `user_name` is folded, `groups` are ids and names."""

    id: str
    user_name: str
    external_id: str | None
    email: str
    display_name: str
    role: str
    active: bool
    attributes: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime
    groups: tuple[tuple[str, str], ...] = ()


class GroupRow(Struct, frozen=True, kw_only=True):
    """A group: the role it gives, on the organization or in one workspace, and who is in it (ids and names)."""

    id: str
    display_name: str
    external_id: str | None
    role: str | None
    workspace_id: str | None
    created_at: datetime
    updated_at: datetime
    members: tuple[tuple[str, str], ...] = ()


async def users(
    where: Pool | Connection, organization_id: UUID, named: Named, *, offset: int, limit: int
) -> list[UserRow]:
    """Return members in the order of their making, with their groups."""
    found = await _rows(where, organization_id, "users", named, offset, limit)
    groups = await _others(where, organization_id, "groups_of", found)
    return [
        UserRow(
            **{**row, "attributes": None if row["attributes"] is None else msgspec.json.decode(row["attributes"])},
            groups=groups.get(row["id"], ()),
        )
        for row in found
    ]  # fmt: skip


async def groups(
    where: Pool | Connection,
    organization_id: UUID,
    named: Named,
    *,
    offset: int,
    limit: int,
    with_members: bool = True,
) -> list[GroupRow]:
    """Return groups in the order of their making, with who is in them."""
    found = await _rows(where, organization_id, "groups", named, offset, limit)
    members = await _others(where, organization_id, "members_of", found) if with_members else {}
    return [GroupRow(**row, members=members.get(row["id"], ())) for row in found]


async def count(pool: Pool, organization_id: UUID, what: Literal["user", "group"], named: Named) -> int:
    """Return how many members or groups there are."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        values = (organization_id, named.id, named.name, named.external_id)
        return int(await connection.fetchval(_SQL[f"{what}_count"], *values) or 0)


async def change(connection: Connection, organization_id: UUID, statement: str, *values: Any) -> int:
    """Run a changing statement of directory.sql in the transaction under way; return how many rows it changed."""
    tag = await connection.execute(_SQL[statement], organization_id, *values)
    return int(tag.rpartition(" ")[2])


async def number(connection: Connection, organization_id: UUID, statement: str, *values: Any) -> int:
    """Return a number in the transaction under way: `clashes`, `known_members`."""
    return int(await connection.fetchval(_SQL[statement], organization_id, *values) or 0)


async def _rows(
    where: Pool | Connection, organization_id: UUID, statement: str, named: Named, offset: int, limit: int
) -> list[dict[str, Any]]:
    values = (organization_id, named.id, named.name, named.external_id, offset, limit)
    return await _fetch(where, organization_id, statement, *values)


async def _others(
    where: Pool | Connection, organization_id: UUID, statement: str, found: Sequence[dict[str, Any]]
) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return what belongs to each of the rows: ids and names."""
    others: dict[str, list[tuple[str, str]]] = {}
    if found:
        rows = await _fetch(where, organization_id, statement, organization_id, [row["id"] for row in found])
        for row in rows:
            others.setdefault(row["id"], []).append((row["other"], row["display_name"]))
    return {id: tuple(pairs) for id, pairs in others.items()}


async def _fetch(
    where: Pool | Connection, organization_id: UUID, statement: str, *values: Any
) -> list[dict[str, Any]]:
    if isinstance(where, Pool):
        async with transaction(where, reading=True, organization=organization_id) as connection:
            return [dict(row) for row in await connection.fetch(_SQL[statement], *values)]
    return [dict(row) for row in await where.fetch(_SQL[statement], *values)]
