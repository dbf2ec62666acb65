"""Reading the tree of the instance log out of its rows and tiles: its right edge, its tiles and its proofs."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.errors import Tampered
from tallystick.merkle.append import Tails, tail_ranges
from tallystick.merkle.proof import NodeGroups, consistency_nodes, fold_groups, inclusion_nodes
from tallystick.merkle.tile import TILE_WIDTH, TileId, reader_over, subtree_root, tiles_holding
from tallystick.merkle.tree import HASH_BYTES, Frontier, split_hashes
from tallystick.store import instance_log as stored
from tallystick.store.connect import Connection


async def read_tails(connection: Connection, frontier: Frontier) -> Tails:
    """Return the log's incomplete tiles; raises Tampered when rows and tiles do not lead to `frontier`."""
    found = {
        level: await _hashes(connection, level, first, end)
        for level, (first, end) in enumerate(tail_ranges(frontier.size))
    }
    return Tails.read(frontier, lambda level, first, end: found[level])


async def read_tiles(connection: Connection, tiles: Sequence[TileId]) -> list[tuple[TileId, bytes]]:
    """Return the bytes of tiles, full ones as stored, others made from what lies below them; not checked otherwise."""
    full = await stored.full_tiles(connection, [(tile.level, tile.index) for tile in tiles])
    found: list[tuple[TileId, bytes]] = []
    for tile in tiles:
        whole = full.get((tile.level, tile.index))
        if whole is None:
            first = tile.index * TILE_WIDTH
            whole = b"".join(await _hashes(connection, tile.level, first, first + tile.width))
        found.append((tile, whole[: tile.width * HASH_BYTES]))
    return found


async def inclusion_proof(connection: Connection, position: int, size: int) -> list[bytes]:
    """Return the hashes from the leaf at `position` to the root of the log of `size` leaves."""
    return await _fold(connection, inclusion_nodes(position, size), size)


async def consistency_proof(connection: Connection, old: int, new: int) -> list[bytes]:
    """Return the proof that the log of `old` leaves is a prefix of that of `new`."""
    return await _fold(connection, consistency_nodes(old, new), new)


async def _fold(connection: Connection, groups: NodeGroups, size: int) -> list[bytes]:
    tiles = await read_tiles(connection, tiles_holding(groups, size))
    return fold_groups(groups, reader_over(size, tiles))


async def _hashes(connection: Connection, level: int, first: int, end: int) -> list[bytes]:
    if level == 0:
        return await stored.leaf_hashes(connection, first, end)
    places = [(level - 1, index) for index in range(first, end)]
    tiles = await stored.full_tiles(connection, places)
    if missing := [place for place in places if place not in tiles]:
        raise Tampered(f"{TileId(*missing[0]).path()} of the instance log is missing", rule="tile")
    return [subtree_root(split_hashes(tiles[place])) for place in places]
