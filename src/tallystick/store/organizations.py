"""Rows of organizations."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct, json

from tallystick.store.connect import EVERY, Connection, Pool, transaction
from tallystick.store.queries import load

if TYPE_CHECKING:
    from asyncpg import Record

_SQL = load("organizations")


class Organization(Struct, frozen=True, kw_only=True):
    """A tenant: its id, the name people see, and its switches."""

    id: UUID
    display_name: str
    config: dict[str, object]


async def first(pool: Pool) -> Organization | None:
    """Return the organization that was made first, or None in an empty database."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        return _organization(await connection.fetchrow(_SQL["first"]))


async def get(pool: Pool, organization_id: UUID) -> Organization | None:
    """Return one organization, or None."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        return _organization(await connection.fetchrow(_SQL["get"], organization_id))


async def list_all(pool: Pool) -> list[Organization]:
    """Return all organizations, oldest first."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        return [found for row in await connection.fetch(_SQL["list_all"]) if (found := _organization(row))]


async def insert(connection: Connection, organization: Organization) -> None:
    """Keep a new organization in the transaction under way."""
    config = json.encode(organization.config)
    await connection.execute(_SQL["insert"], organization.id, organization.display_name, config)


def _organization(row: Record | None) -> Organization | None:
    if row is None:
        return None
    return Organization(id=row["id"], display_name=row["display_name"], config=json.decode(row["config"]))


async def name_instance(pool: Pool, name: str) -> str:
    """Keep `name` as this installation's, unless it has one already; return the one it has."""
    async with transaction(pool) as connection:
        return str(await connection.fetchval(_SQL["name_instance"], name))


async def instance_name(pool: Pool) -> str | None:
    """Return this installation's name, None before the first start."""
    async with transaction(pool, reading=True) as connection:
        return await connection.fetchval(_SQL["instance_name"])
