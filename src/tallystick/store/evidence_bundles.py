"""Reading what an evidence bundle holds beside its export."""

from __future__ import annotations

from uuid import UUID

from tallystick.store.connect import Pool, transaction
from tallystick.store.queries import load

_SQL = load("evidence_bundles")


async def checkpoints_between(
    pool: Pool, organization_id: UUID, first_size: int, last_size: int, limit: int
) -> tuple[list[str], int]:
    """Return up to `limit` retained checkpoints of these sizes, spread evenly, and how many there are."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = await connection.fetch(
            _SQL["checkpoints_between"], organization_id, first_size, last_size, limit
        )
    return [row["note"] for row in rows], rows[0]["total"] if rows else 0
