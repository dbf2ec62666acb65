"""What one event was sealed from, and the names of the places events belong to."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from tallystick.store.connect import Pool, transaction
from tallystick.store.queries import load

_SQL = load("evidence")
PROJECTS_MAX = 2_000


class Sealed(NamedTuple):
    """A row as it is stored, with the seed its sealed values are salted from."""

    position: int
    leaf: bytes
    opening: bytes
    seed: bytes


class ProjectRow(NamedTuple):
    """A workspace with its team's name, None without one."""

    id: str
    name: str
    team: str | None
    deleted: bool


async def sealed(pool: Pool, organization_id: UUID, event_id: UUID) -> Sealed | None:
    """Return the event with this id, None when the log holds none."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        row = await connection.fetchrow(_SQL["sealed"], organization_id, event_id)
    return None if row is None else Sealed(*row)


async def projects(pool: Pool, organization_id: UUID) -> list[ProjectRow]:
    """Return the organization's workspaces, deleted ones too, at most PROJECTS_MAX."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        return [
            ProjectRow(*row)
            for row in await connection.fetch(_SQL["projects"], organization_id, PROJECTS_MAX)
        ]
