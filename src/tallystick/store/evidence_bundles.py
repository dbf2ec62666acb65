"""Reading what an evidence bundle holds beside its export."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from tallystick.store.connect import EVERY, Pool, transaction
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


async def outside(pool: Pool, since: datetime) -> dict[str, Any]:
    """Return how many witnesses and authorities of time signed since a moment, and when the last of each did."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        row = await connection.fetchrow(_SQL["outside"], since)
    return dict(row) if row is not None else {}
