"""Growing a log by batches: receipts, full tiles and tails without reading anything."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.errors import Refused, Tampered
from tallystick.merkle.append import FullTile, Tails, grow, tail_ranges
from tallystick.merkle.proof import verify_inclusion
from tallystick.merkle.tile import TileId
from tallystick.merkle.tree import Frontier, root_of

from . import reference

LEAVES = reference.leaves(70_000)
TILES = reference.tiles(LEAVES)
FRONTIERS: dict[int, Frontier] = {}


def frontier_at(size: int) -> Frontier:
    if size not in FRONTIERS:
        FRONTIERS[size] = Frontier().extend(LEAVES[:size])
    return FRONTIERS[size]


def stored(tiles: Sequence[FullTile], tails: Tails) -> dict[str, bytes]:
    full = {TileId(tile.level, tile.index).path(): tile.hashes for tile in tiles}
    return full | {tile.path(): hashes for tile, hashes in tails.partial_tiles()}


@given(st.integers(0, 400), st.integers(0, 400))
@settings(max_examples=100)
def test_receipts_of_a_batch_need_nothing_else(before: int, count: int) -> None:
    """A receipt computed from the frontier must be the proof the whole log gives."""
    growth = grow(frontier_at(before), LEAVES[before : before + count])
    leaves = LEAVES[: before + count]
    assert growth.after == frontier_at(len(leaves))
    assert growth.root == growth.after.root() == root_of(leaves)
    for index in range(before, before + count):
        proof = growth.inclusion_proof(index)
        verify_inclusion(index, len(leaves), LEAVES[index], proof, growth.root)
    if count:
        assert growth.inclusion_proof(before) == reference.path(before, leaves)
        assert growth.inclusion_proof(len(leaves) - 1) == reference.path(len(leaves) - 1, leaves)


def test_receipts_only_for_the_batch() -> None:
    """A proof of an older leaf cannot be made from the frontier and must not be guessed."""
    growth = grow(frontier_at(10), LEAVES[10:20])
    for index in (-1, 9, 20):
        with pytest.raises(Refused, match="not one of the batch"):
            growth.inclusion_proof(index)


@given(st.lists(st.sampled_from([0, 1, 2, 100, 255, 256, 257, 1000, 30_000]), max_size=12))
@settings(max_examples=60)
def test_tiles_built_batch_by_batch(batches: list[int]) -> None:
    """Tiles that depend on how events were batched, or miss one, break the static log."""
    frontier, tails, at = Frontier(), Tails(), 0
    full: list[FullTile] = []
    for batch in batches:
        growth = grow(frontier, LEAVES[at : at + batch])
        tiles, tails = growth.tiles(tails)
        full, frontier = full + tiles, growth.after
        at = frontier.size
    wanted = TILES if at == len(LEAVES) else reference.tiles(LEAVES[:at])
    assert stored(full, tails) == wanted
    assert len({(tile.level, tile.index) for tile in full}) == len(full)
    for tile in full:
        assert tile.root == root_of([tile.hashes[at : at + 32] for at in range(0, 8192, 32)])
    assert tails == Tails.read(frontier, read_tail)


def test_the_third_tile_level() -> None:
    """The first tile of level 1 fills at 65 536 leaves; an off-by-one there shows only on large logs."""
    tails = Tails.read(frontier_at(65_535), read_tail)
    growth = grow(frontier_at(65_535), LEAVES[65_535:65_537])
    tiles, after = growth.tiles(tails)
    assert [(tile.level, tile.index) for tile in tiles] == [(0, 255), (1, 0)]
    assert [len(tail) // 32 for tail in after.levels] == [1, 0, 1]
    assert after.levels[2] == tiles[1].root == root_of(LEAVES[:65_536])


@cache
def tile_hash(level: int, index: int) -> bytes:
    span = 256**level
    return root_of(LEAVES[index * span : (index + 1) * span])


def read_tail(level: int, first: int, end: int) -> list[bytes]:
    return [tile_hash(level, index) for index in range(first, end)]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 511, 512, 3000, 65_535, 65_536, 65_793, 70_000])
def test_tails_are_rebuilt_from_storage(size: int) -> None:
    """After a restart or a failed commit the next batch must complete the same tiles as without one."""
    grown = grow(Frontier(), LEAVES[:size]).tiles(Tails())[1]
    rebuilt = Tails.read(frontier_at(size), read_tail)
    assert rebuilt == grown
    assert rebuilt.frontier == frontier_at(size)
    assert all(end - first < 256 for first, end in tail_ranges(size))


def test_a_rebuilt_tail_that_disagrees_with_the_head() -> None:
    """An edited leaf hash, tile or head must be noticed before a batch is built on top of it."""
    frontier = frontier_at(3000)

    def edited(level: int, first: int, end: int) -> list[bytes]:
        hashes = read_tail(level, first, end)
        return [reference.leaf(-1), *hashes[1:]] if level == 1 else hashes

    with pytest.raises(Tampered, match="do not lead to the stored frontier"):
        Tails.read(frontier, edited)
    with pytest.raises(Tampered, match="lacks hashes"):
        Tails.read(frontier, lambda level, first, end: read_tail(level, first, end)[1:])
    with pytest.raises(Tampered, match="32 bytes"):
        Tails.read(frontier, lambda level, first, end: [b"short"] * (end - first))


def test_a_failed_commit_leaves_everything_as_it_was() -> None:
    """A batch that was rolled back must leave no trace in the values it was computed from."""
    frontier, tails = frontier_at(300), Tails.read(frontier_at(300), read_tail)
    kept = (frontier.to_bytes(), tails.levels)
    grow(frontier, [reference.leaf(-1)] * 700).tiles(tails)
    assert (frontier.to_bytes(), tails.levels) == kept
    tiles, _ = grow(frontier, LEAVES[300:600]).tiles(tails)
    assert [tile.hashes for tile in tiles] == [TILES["tile/0/001"]]


def test_tails_of_another_log_are_refused() -> None:
    """A stale cache, even one of the same size, must stop the append, not write a tile of the wrong leaves."""
    with pytest.raises(ValueError, match="tails of 0 leaves"):
        grow(frontier_at(5), LEAVES[5:9]).tiles(Tails())
    never_committed = grow(frontier_at(4), [reference.leaf(-1)]).tiles(Tails.read(frontier_at(4), read_tail))[
        1
    ]
    with pytest.raises(ValueError, match="tails of 5 leaves"):
        grow(frontier_at(5), LEAVES[5:9]).tiles(never_committed)
