"""Strangers: people of the directory whose last event was removed. Their names and e-mails go with it."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from tallystick.store import keeping, logs
from tallystick.store.connect import Pool, transaction

AT_ONCE: Final = 20_000
SCAN_AT_ONCE: Final = 100_000


async def forget_strangers(pool: Pool, organization_id: UUID) -> int:
    """Forget who no event that is left is by or on behalf of, and return how many that were, 20,000 at most."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = await keeping.fetch(
            connection, "lonely_subjects", organization=organization_id, rows_max=AT_ONCE
        )
        head = await logs.head(connection, organization_id)
    lonely = {row["ref"] for row in rows}
    size = head.size if head else 0
    for first in range(0, size, SCAN_AT_ONCE):
        if not lonely:
            return 0
        async with transaction(pool, reading=True, organization=organization_id) as connection:
            lonely -= await keeping.delegated_refs(
                connection, organization_id, first, min(size, first + SCAN_AT_ONCE)
            )
    if not lonely:
        return 0
    async with transaction(pool, organization=organization_id) as connection:
        await keeping.take_turn(connection, organization_id)
        (locked,) = await keeping.fetch(connection, "lock_head", organization=organization_id)
        lonely -= await keeping.delegated_refs(connection, organization_id, size, locked["size"])
        gone = await keeping.fetch(
            connection, "forget_subjects", organization=organization_id, refs=list(lonely)
        )
        refs = [row["ref"] for row in gone]
        await keeping.fetch(connection, "forget_labels", organization=organization_id, refs=refs)
        await keeping.fetch(connection, "raise_epoch", organization=organization_id)
    return len(refs)
