"""Tiles: their names, which nodes they hold, and reading hashes out of them."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.errors import Refused, Tampered, TooLarge
from tallystick.merkle.bundle import format_bundle, parse_bundle
from tallystick.merkle.checkpoint import open_checkpoint
from tallystick.merkle.keys import VerifierKey
from tallystick.merkle.proof import (
    Node,
    consistency_nodes,
    consistency_proof,
    inclusion_nodes,
    inclusion_proof,
    subtrees,
    verify_consistency,
    verify_inclusion,
)
from tallystick.merkle.tile import (
    TileHashReader,
    TileId,
    parse_tile_path,
    reader_over,
    tile_of,
    tile_path,
    tiles_holding,
    tiles_of_size,
)
from tallystick.merkle.tree import SIZE_MAX, leaf_hash, root_of

from . import reference

LEAVES = reference.leaves(66_000)
FULL = reference.tiles(LEAVES)


def read_tile(tile: TileId) -> bytes:
    """Serves any tile, partial ones of older sizes cut from the newer tile as a static server would have them."""
    span = 256**tile.level
    first = tile.index * 256
    newest = TileId(tile.level, tile.index, min(256, len(LEAVES) // span - first))
    return FULL[newest.path()][: tile.width * 32]


def test_published_index_paths(shared: Path) -> None:
    """A path spelled another way is a tile no C2SP client finds."""
    for index, encoded in json.loads((shared / "vectors/tile_paths.json").read_text())["index_encoding"]:
        assert TileId(0, index).path() == f"tile/0/{encoded}"
        assert TileId.parse(f"tile/63/{encoded}.p/255") == TileId(63, index, 255)
        assert TileId(0, index).entries_path() == f"tile/entries/{encoded}"


def test_published_tile_counts(shared: Path) -> None:
    """A tile too many or too few is what an auditor of the static log sees first."""
    vector = json.loads((shared / "vectors/tile_paths.json").read_text())
    for size in (70_000, 256):
        found: dict[str, int] = {}
        for tile in tiles_of_size(size):
            if tile.width == 256:
                found[f"level{tile.level}_full"] = found.get(f"level{tile.level}_full", 0) + 1
            else:
                found[f"level{tile.level}_partial"] = tile.width
        assert found == vector[f"tree_{size}"]


@given(st.integers(0, 63), st.integers(0, SIZE_MAX), st.integers(1, 256))
def test_paths_read_back(level: int, index: int, width: int) -> None:
    """A path that does not lead back to its tile serves the wrong hashes."""
    tile = TileId(level, index, width)
    assert TileId.parse(tile.path()) == tile
    assert parse_tile_path(tile.entries_path()) == ("entries", index, width)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/x000/001",
        "tile/0/001/x000",
        "tile/0/001/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/01",
        "tile/0/000.p",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/000\n",
        "tile/0/٠٠٠",
        "tile/0/" + "x999/" * 6 + "999",
        "tile/0/" + "x001/" * 30 + "000",
        "tile/data/000",
        "tile/0/../000",
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    """A second name for a tile, or a path that climbs out, must not reach the storage."""
    with pytest.raises(Refused, match="not a path of a tile"):
        TileId.parse(path)


def test_entries_are_not_hashes() -> None:
    """Entries taken for hashes would be hashed as nodes."""
    with pytest.raises(Refused, match="names entries"):
        TileId.parse("tile/entries/000")
    assert tile_path("entries", 0, 3) == "tile/entries/000.p/3"


@given(st.integers(1, 66_000), st.data())
@settings(max_examples=100)
def test_every_node_is_read_from_tiles(size: int, data: st.DataObject) -> None:
    """A node read from the wrong place makes proofs of some sizes fail, and only of those."""
    start = data.draw(st.integers(0, size - 1))
    nodes = subtrees(start, data.draw(st.integers(start + 1, size)))
    hashes = TileHashReader(size, read_tile)(nodes)
    for node, found in zip(nodes, hashes, strict=True):
        assert found == root_of(LEAVES[node.index << node.level : (node.index + 1) << node.level])


@given(st.integers(1, 66_000), st.data())
@settings(max_examples=40)
def test_proofs_from_tiles_fetched_first(size: int, data: st.DataObject) -> None:
    """A server that fetches asynchronously must be told every tile a proof needs, and none twice."""
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    groups = inclusion_nodes(index, size) + consistency_nodes(old, size)
    wanted = tiles_holding(groups, size)
    assert len(wanted) == len(set(wanted)) <= 12
    read = reader_over(size, [(tile, read_tile(tile)) for tile in wanted])
    root = root_of(LEAVES[:size])
    verify_inclusion(index, size, LEAVES[index], inclusion_proof(index, size, read), root)
    verify_consistency(old, size, consistency_proof(old, size, read), root_of(LEAVES[:old]), root)


@pytest.mark.parametrize("change", [lambda stored: stored + b"\0", lambda stored: stored[:-1], lambda _: b""])
@pytest.mark.parametrize("size", [5, 256, 300])
def test_a_tile_of_another_width_is_refused(change: Callable[[bytes], bytes], size: int) -> None:
    """Bytes appended to a stored tile change no hash that is read, so only the width gives them away."""
    with pytest.raises(Tampered, match="bytes, not"):
        inclusion_proof(0, size, TileHashReader(size, lambda tile: change(read_tile(tile))))


def test_an_edited_tile_gives_a_proof_that_fails() -> None:
    """An edited hash in a tile must never lead to a proof that verifies."""

    def edited(tile: TileId) -> bytes:
        stored = read_tile(tile)
        return stored[:32] + b"\xff" * 32 + stored[64:] if tile.level == 0 else stored

    proof = inclusion_proof(0, 300, TileHashReader(300, edited))
    with pytest.raises(Tampered):
        verify_inclusion(0, 300, LEAVES[0], proof, root_of(LEAVES[:300]))


@pytest.mark.parametrize("node", [Node(0, 5), Node(3, 0), Node(0, -1), Node(8, 0)])
def test_nodes_outside_the_log_are_refused(node: Node) -> None:
    """An incomplete node has no fixed hash, so serving one would serve a value that changes."""
    with pytest.raises(Refused):
        tile_of(node, 5)


def test_tiles_are_read_once() -> None:
    """A proof that reads the same tile again and again is a slow page for no reason."""
    seen: list[TileId] = []

    def counted(tile: TileId) -> bytes:
        seen.append(tile)
        return read_tile(tile)

    inclusion_proof(12_345, 66_000, TileHashReader(66_000, counted))
    assert len(seen) == len(set(seen)) <= 5


def test_a_published_log_of_every_size(shared: Path) -> None:
    """Checkpoints and tiles another implementation wrote must read here as they do there."""
    vector = json.loads((shared / "vectors/tessera_log_0_15.json").read_text())
    key = VerifierKey.parse(vector["vkey"])
    leaves = [leaf_hash(entry.encode()) for entry in vector["entries_utf8"]]
    roots: list[bytes] = []
    for size in range(16):
        signed = open_checkpoint(vector["checkpoints_by_size"][str(size)], [key], origin=key.name)
        assert (signed.checkpoint.size, signed.checkpoint.root) == (size, root_of(leaves[:size]))
        roots.append(signed.checkpoint.root)
    files = {path: b64decode(encoded) for path, encoded in vector["files_b64"].items()}
    for size in range(1, 16):
        read = TileHashReader(size, lambda tile: files[tile.path()])
        for index in range(size):
            verify_inclusion(index, size, leaves[index], inclusion_proof(index, size, read), roots[size])
        for old in range(1, size):
            verify_consistency(old, size, consistency_proof(old, size, read), roots[old], roots[size])


def test_a_published_mirror(shared: Path) -> None:
    """A partial tile beside full ones, written by another implementation, must lead to its cosigned root."""
    vector = json.loads((shared / "vectors/cosignature_mirror.json").read_text())
    files = {path: b64decode(encoded) for path, encoded in vector["mirror_files_b64"].items()}
    leaves = [leaf_hash(f"record {number}".encode()) for number in range(300)]
    assert {tile.path() for tile in tiles_of_size(300)} == {path for path in files if "entries" not in path}
    read = TileHashReader(300, lambda tile: files[tile.path()])
    for index in (0, 255, 256, 299):
        verify_inclusion(index, 300, leaves[index], inclusion_proof(index, 300, read), root_of(leaves))


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_bundles_read_back(entries: list[bytes]) -> None:
    """A bundle that reads back differently publishes other leaves than were logged."""
    assert parse_bundle(format_bundle(entries), len(entries)) == entries


@pytest.mark.parametrize("stored", [b"\0", b"\0\x02a", b"\0\x01ab", b"\0\x01a\0\x01b", b""])
def test_a_cut_or_padded_bundle_is_refused(stored: bytes) -> None:
    """A byte too many or too few in a bundle means somebody changed it."""
    with pytest.raises(Tampered):
        parse_bundle(stored, 1)


def test_the_longest_entry() -> None:
    """An entry over 65 535 bytes cannot be published and must be refused, not cut."""
    assert len(format_bundle([b"x" * 65_535])) == 65_537
    with pytest.raises(TooLarge):
        format_bundle([b"x" * 65_536])
