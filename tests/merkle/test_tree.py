"""RFC 6962 hashing and the frontier."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.errors import Tampered
from tallystick.merkle.tree import EMPTY_ROOT, SIZE_MAX, Frontier, leaf_hash, node_hash, root_of

from . import reference

LEAVES = reference.leaves(1200)


def test_published_tree(shared: Path) -> None:
    """Hashing that strays from RFC 6962 gives roots nobody else can check."""
    vector = json.loads((shared / "vectors/rfc6962_tree.json").read_text())
    hashes = [leaf_hash(bytes.fromhex(leaf)) for leaf in vector["leaf_inputs_hex"]]
    assert [one.hex() for one in hashes] == vector["leaf_hashes_hex"]
    assert bytes.fromhex(vector["empty_root"]) == EMPTY_ROOT
    roots = [root_of(hashes[:size]).hex() for size in range(len(hashes) + 1)]
    assert roots == vector["roots_by_size_hex"]
    pairs = zip(hashes[::2], hashes[1::2], strict=True)
    assert [node_hash(left, right).hex() for left, right in pairs] == vector["level1_hex"]


def test_published_hasher_cases(shared: Path) -> None:
    """A missing or swapped domain prefix would let a node pass for a leaf."""
    for case in json.loads((shared / "vectors/rfc6962_tree.json").read_text())["hasher"]:
        if case["op"] == "leaf":
            assert leaf_hash(case["data_utf8"].encode()).hex() == case["want"]
        else:
            assert node_hash(case["left_utf8"].encode(), case["right_utf8"].encode()).hex() == case["want"]


@pytest.mark.parametrize("size", [*range(70), 127, 128, 129, 255, 256, 257, 1000])
def test_root_of_every_shape(size: int) -> None:
    """A root wrong at some size would break every checkpoint of that size."""
    assert root_of(LEAVES[:size]) == reference.tree_hash(LEAVES[:size])


@given(st.lists(st.integers(0, 300), max_size=8))
@settings(max_examples=100)
def test_extending_in_any_pieces_gives_the_same_frontier(pieces: list[int]) -> None:
    """A root that depends on how events were batched could not be recomputed by anyone."""
    frontier, at = Frontier(), 0
    for piece in pieces:
        chunk = LEAVES[at : at + piece]
        frontier, at = frontier.extend(iter(chunk)), at + len(chunk)
        assert frontier.size == at
        assert frontier == Frontier.from_bytes(frontier.to_bytes())
    assert frontier == Frontier().extend(LEAVES[:at])
    assert frontier.root() == reference.tree_hash(LEAVES[:at])


def test_extend_streams_more_than_one_chunk() -> None:
    """Leaves lost at a chunk's edge would go unnoticed below the chunk size."""
    many = reference.leaves(40_000)
    whole = Frontier().extend(iter(many))
    halves = Frontier().extend(many[:16_385]).extend(many[16_385:])
    assert whole == halves
    assert whole.root() == root_of(many) == reference.tree_hash(many)


def test_frontier_nodes_are_subtree_roots() -> None:
    """Nodes in another order than documented would make a stored frontier unreadable."""
    frontier = Frontier().extend(LEAVES[:11])
    parts = [LEAVES[:8], LEAVES[8:10], LEAVES[10:11]]
    assert frontier.nodes == tuple(reference.tree_hash(part) for part in parts)
    assert [frontier.node(level) for level in (3, 1, 0)] == list(frontier.nodes)
    with pytest.raises(KeyError):
        frontier.node(2)


@given(st.integers(0, 600), st.integers(0, 5))
@settings(max_examples=60)
def test_append_subtree_equals_its_leaves(start: int, level: int) -> None:
    """A subtree appended by its root alone must count as all its leaves, or range proofs fail."""
    start -= start % (1 << level)
    before = Frontier().extend(LEAVES[:start])
    leaves = LEAVES[start : start + (1 << level)]
    assert before.append_subtree(level, root_of(leaves)) == before.extend(leaves)


def test_append_subtree_refuses_a_crooked_place() -> None:
    """A subtree at an unaligned position has no meaning in RFC 6962."""
    with pytest.raises(ValueError, match="cannot start at leaf 1"):
        Frontier().extend(LEAVES[:1]).append_subtree(1, LEAVES[0])


@pytest.mark.parametrize("bad", [b"", b"x" * 31, b"x" * 33])
def test_a_hash_of_another_length_is_refused(bad: bytes) -> None:
    """Hashes of 31 and 33 bytes side by side would hash like two honest ones."""
    with pytest.raises(Tampered, match="32 bytes"):
        root_of([LEAVES[0], bad])
    with pytest.raises(Tampered, match="32 bytes"):
        Frontier(1, (bad,))


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\0" * 7,
        b"\0" * 9,
        b"\0" * 7 + b"\x01",
        b"\0" * 8 + b"x" * 32,
        b"\0" * 7 + b"\x03" + b"x" * 32,
        b"\0" * 7 + b"\x01" + b"x" * 33,
        b"\xff" * 8 + b"x" * 32 * 64,
    ],
)
def test_a_cut_or_padded_frontier_is_refused(stored: bytes) -> None:
    """A head row somebody edited must be noticed before anything is signed on top of it."""
    with pytest.raises(Tampered):
        Frontier.from_bytes(stored)


def test_the_largest_log() -> None:
    """The frontier's limit: 63 nodes are kept, and one leaf more than SIZE_MAX is refused."""
    full = Frontier(SIZE_MAX, tuple(LEAVES[:63]))
    assert len(full.to_bytes()) == 8 + 63 * 32
    with pytest.raises(Tampered, match="over the limit"):
        full.extend(LEAVES[:1])
    with pytest.raises(Tampered):
        Frontier(-1, ())
