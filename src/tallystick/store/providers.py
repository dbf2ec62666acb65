"""Rows of identity providers, and the members they tell of."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from msgspec import Struct

from tallystick.store.connect import EVERY, Connection, Pool, transaction
from tallystick.store.queries import load

if TYPE_CHECKING:
    from asyncpg import Record

_SQL = load("providers")


class ProviderRow(Struct, frozen=True, kw_only=True):
    """An identity provider as it is kept; its secret is sealed."""

    organization_id: UUID
    id: str
    display_name: str
    issuer: str
    client_id: str
    client_secret: bytes | None
    groups_claim: str
    group_roles: dict[str, str]
    only_oidc: bool
    trust_email: bool
    created_at: datetime


class Known(Struct, frozen=True, kw_only=True):
    """A member as far as a provider's word concerns it."""

    id: str
    email: str
    display_name: str
    role: str
    active: bool
    removed_at: datetime | None
    oidc_issuer: str | None
    oidc_subject: str | None


def _provider(row: Record) -> ProviderRow:
    return ProviderRow(
        **{**dict(row), "group_roles": msgspec.json.decode(row["group_roles"], type=dict[str, str])}
    )


async def of_organization(pool: Pool, organization_id: UUID) -> list[ProviderRow]:
    """Return the providers of an organization, at most 20."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        return [_provider(row) for row in await connection.fetch(_SQL["of_organization"], organization_id)]


async def shown(pool: Pool) -> list[ProviderRow]:
    """Return the providers to offer to a stranger: those of the only organization, none when there are several."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        return [_provider(row) for row in await connection.fetch(_SQL["shown"])]


async def organization(pool: Pool, organization_id: UUID) -> str | None:
    """Return an organization's name, None when there is no such one."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        return await connection.fetchval(_SQL["organization"], organization_id)


async def known(
    pool: Pool, organization_id: UUID, issuer: str, subject: str, email: str | None
) -> tuple[Known | None, Known | None]:
    """Return the member that is this subject, and the one that has this address."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        first = await connection.fetchrow(_SQL["by_subject"], organization_id, issuer, subject)
        second = (
            None if email is None else await connection.fetchrow(_SQL["by_email"], organization_id, email)
        )
    return (Known(**dict(first)) if first else None, Known(**dict(second)) if second else None)


async def save(connection: Connection, row: ProviderRow, *, new: bool) -> bool:
    """Keep a provider, new or changed; False when there is none to change. A secret of None leaves the old one."""
    tag = await connection.execute(
        _SQL["insert" if new else "update"], row.organization_id, row.id, row.display_name, row.issuer, row.client_id,
        row.client_secret, row.groups_claim, msgspec.json.encode(row.group_roles), row.only_oidc, row.trust_email,
    )  # fmt: skip
    return tag.endswith(" 1")


async def execute(connection: Connection, statement: str, *values: Any) -> bool:
    """Run remove, link, admit or set_role; tell whether it changed a row."""
    return (await connection.execute(_SQL[statement], *values)).endswith(" 1")
