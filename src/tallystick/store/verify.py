"""Reading everything the database holds of one log, for a verifier that trusts none of it.

The small tables are read in one short snapshot, which fixes the size of the log; rows, ids and tiles after that in
chunks of their own, up to that size, so that a long check holds nothing back and appends may go on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

from tallystick.errors import Tampered
from tallystick.store.connect import EVERY, Connection, Pool, transaction
from tallystick.store.keeping import removed_within, tiles_with
from tallystick.store.queries import load
from tallystick.verify.stored import StoredRow
from tallystick.verify.tables import LogTables, label_key

CHUNK_ROWS = 500
CHUNK_BYTES = 8 << 20
IDS_AT_ONCE = 5_000
TILES_AT_ONCE = 256
CURSOR_ROWS = 2_000
_FIRST_POSITION = -(2**63)

_SQL = load("verify")


async def organizations(pool: Pool) -> list[UUID]:
    """Return every organization that anything is stored of, those without a log included."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        return [row["id"] for row in await connection.fetch(_SQL["organizations"])]


async def read_tables(pool: Pool, organization_id: UUID) -> LogTables:
    """Return everything but rows, ids and tiles, in one snapshot."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        head = await connection.fetchrow(_SQL["head"], organization_id)
        tables = (
            LogTables()
            if head is None
            else LogTables(
                size=head["size"],
                frontier=head["frontier"],
                last_received_at=head["last_received_at"],
                note=head["note"],
            )
        )
        tables.checkpoints = [tuple(row) async for row in _each(connection, "checkpoints", organization_id)]
        tables.months = {month: first async for month, first in _each(connection, "months", organization_id)}
        tables.terms = {
            (kind, value): n async for kind, value, n in _each(connection, "terms", organization_id)
        }
        tables.hours = {
            (hour, outcome): n async for hour, outcome, n in _each(connection, "hours", organization_id)
        }
        tables.subjects = {
            ref: (kind, id) async for ref, kind, id in _each(connection, "subjects", organization_id)
        }
        tables.labels = {
            label_key(ref, label) async for ref, label in _each(connection, "labels", organization_id)
        }
        tables.removed = await removed_within(connection, organization_id, 0, tables.size)
        tables.tile_hashes = await tiles_with(connection, organization_id, tables.removed)
    return tables


async def _each(connection: Connection, statement: str, organization_id: UUID) -> AsyncIterator[Any]:
    async for row in connection.cursor(_SQL[statement], organization_id, prefetch=CURSOR_ROWS):
        yield row


async def read_rows(pool: Pool, organization_id: UUID, size: int) -> AsyncIterator[list[StoredRow]]:
    """Yield the rows of a log up to `size` in order of position, whatever positions they say; holes stay holes."""
    first = _FIRST_POSITION
    while first < size:
        end = min(size, max(first, 0) + CHUNK_ROWS)
        async with transaction(pool, reading=True, organization=organization_id) as connection:
            rows = await connection.fetch(_SQL["rows"], organization_id, first, end, CHUNK_BYTES)
        if rows:
            yield [StoredRow(*row[:-1])._replace(more_targets=tuple(row["more_targets"])) for row in rows]
        # A chunk that was cut for its bytes goes on behind its last row.
        is_cut = rows and rows[-1]["position"] < rows[-1]["last_position"]
        first = rows[-1]["position"] + 1 if is_cut else end


async def read_ids(
    pool: Pool, organization_id: UUID, size: int
) -> AsyncIterator[list[tuple[UUID, int, datetime]]]:
    """Yield the table of ids up to `size`; raises Tampered for an entry beyond the log's end as it is then."""
    last: UUID | None = None
    while True:
        async with transaction(pool, reading=True, organization=organization_id) as connection:
            rows = await connection.fetch(_SQL["ids"], organization_id, last, IDS_AT_ONCE)
        if not rows:
            return
        yield [(row["id"], row["position"], row["received_at"]) for row in rows if row["position"] < size]
        if beyond := [row["position"] for row in rows if row["position"] >= row["size"]]:
            raise Tampered(
                f"the table of ids has an entry for position {beyond[0]}, beyond the log", rule="idempotency"
            )
        last = rows[-1]["id"]


async def read_tiles(pool: Pool, organization_id: UUID, size: int) -> AsyncIterator[tuple[int, int, bytes]]:
    """Yield level, index and hashes of every tile but those completed since the log had `size` events."""
    level, index = -1, -1
    while True:
        async with transaction(pool, reading=True, organization=organization_id) as connection:
            rows = await connection.fetch(_SQL["tiles"], organization_id, level, index, TILES_AT_ONCE)
        if not rows:
            return
        for row in rows:
            level, index = row["level"], row["index"]
            end = (index + 1) << 8 * (level + 1)
            if not size < end <= row["size"]:
                yield level, index, row["hashes"]


async def removals(pool: Pool, organization_id: UUID) -> int:
    """Return how many removals and erasures of one log there have been."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        return await connection.fetchval(_SQL["removals"], organization_id) or 0


async def rows_beyond(pool: Pool, organization_id: UUID) -> int:
    """Return how many rows lie outside their log."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        return await connection.fetchval(_SQL["beyond"], organization_id) or 0
