"""Inclusion and consistency proofs."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tallystick.errors import Refused, Tampered
from tallystick.merkle.proof import (
    PROOF_HASHES_MAX,
    Node,
    ProofError,
    consistency_nodes,
    consistency_proof,
    inclusion_nodes,
    inclusion_proof,
    subtrees,
    verify_consistency,
    verify_inclusion,
)
from tallystick.merkle.tree import EMPTY_ROOT, SIZE_MAX, root_of

from . import reference

LEAVES = reference.leaves(700)
ROOTS = [root_of(LEAVES[:size]) for size in range(len(LEAVES) + 1)]


def read(nodes: Sequence[Node]) -> list[bytes]:
    return [root_of(LEAVES[node.index << node.level : (node.index + 1) << node.level]) for node in nodes]


def probes(shared: Path, kind: str) -> list[dict[str, Any]]:
    return json.loads((shared / f"vectors/rfc6962_{kind}_probes.json").read_text())["probes"]


def hashes(encoded: list[str] | None) -> list[bytes]:
    return [b64decode(one) for one in encoded or []]


def test_published_inclusion_probes(shared: Path) -> None:
    """Refusing an honest inclusion proof or taking a forged one breaks every receipt."""
    refused = 0
    for probe in probes(shared, "inclusion"):
        case = (probe["leafIdx"], probe["treeSize"], b64decode(probe["leafHash"] or ""))
        case = (*case, hashes(probe["proof"]), b64decode(probe["root"] or ""))
        if probe["wantErr"]:
            refused += 1
            with pytest.raises(Tampered):
                verify_inclusion(*case)
        else:
            verify_inclusion(*case)
    assert refused > 50


def test_published_consistency_probes(shared: Path) -> None:
    """Refusing an honest consistency proof or taking a forged one hides a rewritten history."""
    refused = 0
    for probe in probes(shared, "consistency"):
        case = (probe["size1"], probe["size2"], hashes(probe["proof"]))
        case = (*case, b64decode(probe["root1"] or ""), b64decode(probe["root2"] or ""))
        if probe["wantErr"]:
            refused += 1
            with pytest.raises(Tampered):
                verify_consistency(*case)
        else:
            verify_consistency(*case)
    assert refused > 50


def test_the_rfc_example_tree(shared: Path) -> None:
    """Proofs with the right hashes in another order would verify nowhere else."""
    example = json.loads((shared / "vectors/rfc6962_section_2_1_3.json").read_text())
    node = {name: reference.tree_hash(LEAVES[low:high]) for name, (low, high) in example["nodes"].items()}
    for case in example["inclusion"]:
        assert inclusion_proof(case["index"], case["size"], read) == [node[name] for name in case["path"]]
    for case in example["consistency"]:
        assert consistency_proof(case["m"], case["n"], read) == [node[name] for name in case["path"]]


@pytest.mark.parametrize("size", range(1, 35))
def test_every_proof_of_every_small_log(size: int) -> None:
    """A proof that differs from RFC 6962's at one size breaks that size for every stranger's verifier."""
    leaves = LEAVES[:size]
    for index in range(size):
        proof = inclusion_proof(index, size, read)
        assert proof == reference.path(index, leaves)
        verify_inclusion(index, size, leaves[index], proof, ROOTS[size])
    for old in range(size + 1):
        proof = consistency_proof(old, size, read)
        assert proof == reference.consistency(old, leaves)
        if old:
            verify_consistency(old, size, proof, ROOTS[old], ROOTS[size])


@given(st.integers(1, 700), st.data())
@settings(max_examples=150)
def test_inclusion_fails_when_anything_changes(size: int, data: st.DataObject) -> None:
    """A receipt that still verifies after any change proves nothing."""
    index = data.draw(st.integers(0, size - 1))
    proof, root, leaf = inclusion_proof(index, size, read), ROOTS[size], LEAVES[index]
    verify_inclusion(index, size, leaf, proof, root)

    parts = [leaf, root, *proof]
    which, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    parts[which] = flip(parts[which], bit)
    refused(verify_inclusion, index, size, parts[0], parts[2:], parts[1])
    other = data.draw(st.integers(0, 700).filter(lambda value: value != index))
    refused(verify_inclusion, other, size, leaf, proof, root)
    refused(verify_inclusion, index, size, leaf, proof[:-1] if proof else [leaf], root)
    refused(verify_inclusion, index, size, leaf, [*proof, root], root)


@given(st.integers(2, 700), st.data())
@settings(max_examples=150)
def test_consistency_fails_when_anything_changes(new: int, data: st.DataObject) -> None:
    """A rewritten prefix must not pass as the same history."""
    old = data.draw(st.integers(1, new - 1))
    proof = consistency_proof(old, new, read)
    verify_consistency(old, new, proof, ROOTS[old], ROOTS[new])

    parts = [ROOTS[old], ROOTS[new], *proof]
    which, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    parts[which] = flip(parts[which], bit)
    refused(verify_consistency, old, new, parts[2:], parts[0], parts[1])
    refused(verify_consistency, old, new, proof[1:], ROOTS[old], ROOTS[new])
    refused(verify_consistency, old, new, [*proof, ROOTS[1]], ROOTS[old], ROOTS[new])
    refused(verify_consistency, new, old, proof, ROOTS[new], ROOTS[old])


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 200))
@settings(max_examples=100)
def test_another_old_size_does_not_pass(old: int, wrong: int, new: int) -> None:
    """An old root claimed for another size would let a truncated log pass for the whole."""
    assume(old != wrong and max(old, wrong) <= new)
    proof = consistency_proof(old, new, read)
    refused(verify_consistency, wrong, new, proof, ROOTS[old], ROOTS[new])


def test_a_shape_the_proof_shares_still_needs_the_size() -> None:
    """The proof alone fits several sizes; only a size taken from a signed checkpoint settles which."""
    proof = inclusion_proof(0, 3, read)
    verify_inclusion(0, 4, LEAVES[0], proof, ROOTS[3])  # same shape: this is why sizes are signed
    refused(verify_inclusion, 0, 5, LEAVES[0], proof, ROOTS[3])


def test_a_fork_of_equal_size_is_named() -> None:
    """Two logs of one size with other roots are the clearest sign of a fork there is."""
    with pytest.raises(ProofError, match="forked"):
        verify_consistency(5, 5, [], ROOTS[5], ROOTS[6])
    verify_consistency(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)
    with pytest.raises(ProofError, match="empty log says nothing"):
        verify_consistency(0, 5, [], EMPTY_ROOT, ROOTS[5])


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0), (0, SIZE_MAX + 1)])
def test_leaves_outside_the_log_are_refused(index: int, size: int) -> None:
    """A reader asking beyond the log must get an answer, not a wrong proof."""
    with pytest.raises(Refused):
        inclusion_nodes(index, size)
    refused(verify_inclusion, index, size, LEAVES[0], [], ROOTS[1])


@pytest.mark.parametrize(("old", "new"), [(-1, 5), (6, 5), (0, SIZE_MAX + 1)])
def test_states_that_never_were_are_refused(old: int, new: int) -> None:
    """A larger old size asks for a proof that time ran backwards."""
    with pytest.raises(Refused):
        consistency_nodes(old, new)
    refused(verify_consistency, old, new, [], ROOTS[1], ROOTS[1])


def test_the_longest_proofs() -> None:
    """Proofs of the largest log stay within the limit that the text format enforces."""
    longest = max(len(inclusion_nodes(index, SIZE_MAX)) for index in (0, 1 << 62, SIZE_MAX - 1))
    assert longest == 63 <= PROOF_HASHES_MAX
    assert len(consistency_nodes(SIZE_MAX - (1 << 61), SIZE_MAX)) <= PROOF_HASHES_MAX
    assert len(consistency_nodes(1, SIZE_MAX)) <= PROOF_HASHES_MAX
    assert max(map(len, inclusion_nodes(0, SIZE_MAX))) <= 63


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_subtrees_cover_a_range_once(start: int, end: int) -> None:
    """A leaf covered twice or not at all would break range proofs silently."""
    covered = [
        leaf
        for node in subtrees(start, end)
        for leaf in range(node.index << node.level, (node.index + 1) << node.level)
    ]
    assert covered == list(range(start, end))
    assert len(subtrees(start, end)) <= 2 * 13


def flip(one: bytes, bit: int) -> bytes:
    return (int.from_bytes(one, "big") ^ (1 << bit)).to_bytes(32, "big")


def refused(verify: Any, *values: Any) -> None:
    with pytest.raises(Tampered):
        verify(*values)
