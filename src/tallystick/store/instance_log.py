"""Rows of the instance log: its head, leaves, tiles and the checkpoints that somebody outside has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from tallystick.errors import Tampered, TryLater
from tallystick.merkle.append import FullTile
from tallystick.store.connect import Connection
from tallystick.store.queries import load

_SQL = load("instance_log")


class InstanceHead(NamedTuple):
    """Where the instance log stands: size, frontier's nodes joined, last note and when, and when it last grew."""

    size: int
    frontier: bytes
    note: str
    note_at: datetime
    grown_at: datetime


class ChangedLog(NamedTuple):
    """An organization's newest checkpoint, and its last leaf if it has one."""

    organization_id: UUID
    size: int
    note: str
    leaf: bytes | None
    leaf_size: int | None


class NewLeaf(NamedTuple):
    """A leaf to append: whose checkpoint of what size, and its bytes with their hash."""

    organization_id: UUID
    size: int
    leaf_hash: bytes
    leaf: bytes


class StoredLeaf(NamedTuple):
    """A leaf that is in the log: its position, and the size its organization's log had."""

    position: int
    size: int
    leaf: bytes


class KeptNote(NamedTuple):
    """A checkpoint of the instance log that somebody outside has."""

    size: int
    note: str
    signed_at: datetime


async def lock_head(connection: Connection) -> InstanceHead:
    """Return where the instance log stands, and keep others from appending until the transaction ends."""
    row = await connection.fetchrow(_SQL["lock_head"])
    if row is None:
        await connection.execute(_SQL["make_head"])
        row = await connection.fetchrow(_SQL["lock_head"])
    assert row is not None
    return InstanceHead(*row)


async def head(connection: Connection) -> InstanceHead | None:
    """Return where the instance log stands, None before its first append."""
    row = await connection.fetchrow(_SQL["head"])
    return None if row is None else InstanceHead(*row)


async def changed(connection: Connection, limit: int) -> list[ChangedLog]:
    """Return up to `limit` organizations whose newest checkpoint is not their last leaf, longest waiting first."""
    return [ChangedLog(*row) for row in await connection.fetch(_SQL["changed"], limit)]


async def append(
    connection: Connection,
    old: InstanceHead,
    new: InstanceHead,
    leaves: Sequence[NewLeaf],
    tiles: Sequence[FullTile],
) -> None:
    """Write the leaves, the tiles they complete and the new head; the caller holds the lock of `old`."""
    if leaves:
        columns = [list(column) for column in zip(*leaves, strict=True)]
        await connection.execute(_SQL["insert_leaves"], old.size, *columns, new.grown_at)
    if tiles:
        levels, indexes = [one.level for one in tiles], [one.index for one in tiles]
        await connection.execute(_SQL["insert_tiles"], levels, indexes, [one.hashes for one in tiles])
    moved = await connection.execute(_SQL["move_head"], old.size, *new)
    if moved != "UPDATE 1":
        raise TryLater("The head of the instance log moved meanwhile. Nothing was appended.")


async def leaf_hashes(connection: Connection, first: int, end: int) -> list[bytes]:
    """Return the leaf hashes of positions `first` to `end`; raises Tampered unless each is there."""
    return await _dense(connection, "leaf_hashes", first, end)


async def leaves(connection: Connection, first: int, end: int) -> list[bytes]:
    """Return the leaves at positions `first` to `end`; raises Tampered unless each is there."""
    return await _dense(connection, "leaves", first, end)


async def _dense(connection: Connection, statement: str, first: int, end: int) -> list[bytes]:
    if first >= end:
        return []
    rows = await connection.fetch(_SQL[statement], first, end)
    if [row[0] for row in rows] != list(range(first, end)):
        raise Tampered(f"positions {first} to {end} of the instance log are not all there", rule="hole")
    return [row[1] for row in rows]


async def full_tiles(
    connection: Connection, places: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """Return those of the tiles at `places` (level, index) that are full; the others are not stored."""
    if not places:
        return {}
    rows = await connection.fetch(_SQL["tiles"], [one[0] for one in places], [one[1] for one in places])
    return {(row["level"], row["index"]): row["hashes"] for row in rows}


async def newest_leaf(
    connection: Connection, organization_id: UUID, before: int, size_max: int
) -> StoredLeaf | None:
    """Return an organization's newest leaf before position `before` whose log had at most `size_max` events."""
    row = await connection.fetchrow(_SQL["newest_leaf"], organization_id, before, size_max)
    return None if row is None else StoredLeaf(*row)


async def keep_checkpoint(connection: Connection, size: int, note: str, signed_at: datetime) -> None:
    """Keep a checkpoint that somebody outside has; one of each size."""
    await connection.execute(_SQL["keep_checkpoint"], size, note, signed_at)


async def kept_checkpoints(connection: Connection, limit: int) -> list[KeptNote]:
    """Return up to `limit` kept checkpoints, newest first."""
    return [KeptNote(*row) for row in await connection.fetch(_SQL["kept_checkpoints"], limit)]


async def kept_checkpoint(connection: Connection, size: int) -> KeptNote | None:
    """Return the kept checkpoint of one size, or None."""
    row = await connection.fetchrow(_SQL["kept_checkpoint"], size)
    return None if row is None else KeptNote(*row)
