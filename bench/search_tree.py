"""Gives the synthetic log of `search_log` what an append needs: trees, tiles, ids and signed heads.

With them a `tallystick serve` runs on the folder of the loaded database, and appends behind its rows.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from bench.search_log import DATABASE, LARGEST, ORGANIZATIONS, SQL
from tallystick.merkle.append import FullTile, Tails, grow
from tallystick.merkle.tree import Frontier
from tallystick.services.sign import NOTHING_SIGNED, Mark, Signer
from tallystick.store.connect import Connection, Dsn, connect

INSTANCE = "audit.example"
CHUNK_ROWS = 65_536


async def sign(superuser: Dsn, folder: Path, say: Callable[[str], None]) -> None:
    """Grow and sign the tree of every log whose head has none yet; the signer's key lies in `folder`."""
    started = time.monotonic()
    (folder / "instance").write_text(INSTANCE + "\n")
    signer = Signer.open(folder, instance=INSTANCE, random=os.urandom)
    connection = await connect(superuser.with_database(DATABASE))
    await connection.execute("SET synchronous_commit = off; SET statement_timeout = 0")
    await connection.execute("INSERT INTO instance (name) VALUES ($1) ON CONFLICT DO NOTHING", INSTANCE)
    # The organization that was made first is the one whose keys a server writes down.
    await connection.execute("UPDATE organizations SET created_at = '2026-01-01' WHERE id = $1", LARGEST)
    signed = [await _sign(connection, organization_id, signer) for organization_id in ORGANIZATIONS]
    if any(signed) and not await connection.fetchval("SELECT true FROM idempotency LIMIT 1"):
        await connection.execute(SQL["fill_idempotency"])
        await connection.execute("VACUUM ANALYZE idempotency")
    await connection.close()
    signer.close()
    if any(signed):
        say(f"signed {sum(signed):,} events in {time.monotonic() - started:.0f} s")


async def _sign(connection: Connection, organization_id: UUID, signer: Signer) -> int:
    head = await connection.fetchrow(
        "SELECT size, note FROM log_head WHERE organization_id = $1", organization_id
    )
    if head is None or head["note"]:
        return 0
    frontier, tails = Frontier(), Tails()
    async for hashes in _leaf_hashes(connection, organization_id):
        growth = grow(frontier, hashes)
        tiles, tails = growth.tiles(tails)
        frontier = growth.after
        await _keep(connection, organization_id, tiles)
    origin, mark, at = signer.origin(organization_id), Mark(frontier.size, frontier.root()), datetime.now(UTC)
    note = signer.sign(origin, mark, extends=NOTHING_SIGNED, at=at)
    await connection.execute(
        "UPDATE log_head SET frontier = $2, note = $3, note_at = $4 WHERE organization_id = $1 AND size = $5",
        organization_id, b"".join(frontier.nodes), note, at, frontier.size,
    )  # fmt: skip
    signer.confirm(origin, mark, follows=NOTHING_SIGNED)
    return frontier.size


async def _leaf_hashes(connection: Connection, organization_id: UUID) -> AsyncIterator[list[bytes]]:
    """Yield the leaf hashes of a log in order, month by month so that each read opens one partition."""
    months = await connection.fetch(SQL["months"], organization_id)
    position = 0
    for month in months:
        while rows := await connection.fetch(
            SQL["leaf_hashes"],
            organization_id,
            month["start"],
            month["next"],
            position,
            position + CHUNK_ROWS,
        ):
            position += len(rows)
            yield [row["leaf_hash"] for row in rows]


async def _keep(connection: Connection, organization_id: UUID, tiles: list[FullTile]) -> None:
    await connection.copy_records_to_table(
        "log_tiles",
        records=[(organization_id, tile.level, tile.index, tile.hashes) for tile in tiles],
        columns=["organization_id", "level", "index", "hashes"],
    )
