"""The subject directory as the append needs it: which pseudonymous ref stands for whom."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from asyncpg.pgproto import pgproto

from tallystick.store.autocommit import fetch_alone
from tallystick.store.connect import Connection, Pool
from tallystick.store.queries import load

_SQL = load("subjects")


def new_ref(random_bytes: bytes) -> UUID:
    """Return 16 random bytes as a ref, in the driver's own UUID, which is sent and hashed faster."""
    return pgproto.UUID(random_bytes)


async def find_subjects(
    connection: Connection, organization_id: UUID, subjects: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], UUID]:
    """Return the refs of those of `subjects` (type, id) that the directory has."""
    rows = await connection.fetch(_SQL["find_subjects"], *_arguments(organization_id, subjects))
    return {(row["type"], row["id"]): row["ref"] for row in rows}


async def look_up_subjects(
    pool: Pool, organization_id: UUID, subjects: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], UUID]:
    """Do what `find_subjects` does, outside any transaction."""
    arguments = _arguments(organization_id, subjects)
    rows = await fetch_alone(pool, _SQL["look_up_subjects"], arguments, changes=False)
    return {(row["type"], row["id"]): row["ref"] for row in rows}


def _arguments(
    organization_id: UUID, subjects: Sequence[tuple[str, str]]
) -> tuple[UUID, list[str], list[str]]:
    return organization_id, [type for type, _ in subjects], [id for _, id in subjects]
