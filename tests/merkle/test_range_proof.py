"""Range proofs: partial exports that prove nothing inside them is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.errors import Refused, Tampered
from tallystick.merkle.proof import Node, ProofError
from tallystick.merkle.range_proof import RangeProof, range_nodes, range_proof, root_from_range, verify_range
from tallystick.merkle.tree import SIZE_MAX, root_of

from . import reference

LEAVES = reference.leaves(600)


def read(nodes: Sequence[Node]) -> list[bytes]:
    return [root_of(LEAVES[node.index << node.level : (node.index + 1) << node.level]) for node in nodes]


@st.composite
def ranges(draw: st.DrawFn) -> tuple[int, int, int]:
    size = draw(st.integers(0, 600))
    end = draw(st.integers(0, size))
    return draw(st.integers(0, end)), end, size


@given(ranges())
@settings(max_examples=150)
def test_every_range_leads_to_the_root(span: tuple[int, int, int]) -> None:
    """A partial export nobody can tie to the signed root proves nothing."""
    start, end, size = span
    root = root_of(LEAVES[:size])
    proof = range_proof(start, end, size, read)
    verify_range(proof, iter(LEAVES[start:end]), root)
    assert root_from_range(start, LEAVES[start:end], proof.left, proof.right, size) == root
    assert len(proof.left) + len(proof.right) <= 3 * size.bit_length()


@given(ranges().filter(lambda span: span[0] < span[1]), st.data())
@settings(max_examples=150)
def test_no_changed_range_leads_to_the_root(span: tuple[int, int, int], data: st.DataObject) -> None:
    """A row dropped, doubled, swapped, moved or edited inside a partial export must be noticed."""
    start, end, size = span
    root, inside = root_of(LEAVES[:size]), LEAVES[start:end]
    proof = range_proof(start, end, size, read)
    at = data.draw(st.integers(0, len(inside) - 1))
    edited = [*inside[:at], reference.leaf(-1), *inside[at + 1 :]]
    dropped = [*inside[:at], *inside[at + 1 :]]
    doubled = [*inside[:at], inside[at], *inside[at:]]
    for wrong in (edited, dropped, doubled, inside[1:] + inside[:1] if len(inside) > 1 else edited):
        with pytest.raises(Tampered):
            verify_range(proof, wrong, root)
        if len(wrong) != len(inside):  # and neither when the claimed end is moved to fit
            with pytest.raises(Tampered):
                verify_range(replace(proof, end=start + len(wrong)), wrong, root)


@given(ranges(), st.data())
@settings(max_examples=150)
def test_changed_neighbours_do_not_lead_to_the_root(span: tuple[int, int, int], data: st.DataObject) -> None:
    """Nodes beside the range are given by the exporter: an edited, missing or further one must be noticed."""
    start, end, size = span
    root, inside = root_of(LEAVES[:size]), LEAVES[start:end]
    proof = range_proof(start, end, size, read)
    extra = reference.leaf(-2)
    wrong = [replace(proof, left=(*proof.left, extra)), replace(proof, right=(*proof.right, extra))]
    if proof.left:
        at = data.draw(st.integers(0, len(proof.left) - 1))
        wrong.append(replace(proof, left=(*proof.left[:at], extra, *proof.left[at + 1 :])))
        wrong.append(replace(proof, left=proof.left[1:]))
    if proof.right:
        at = data.draw(st.integers(0, len(proof.right) - 1))
        wrong.append(replace(proof, right=(*proof.right[:at], extra, *proof.right[at + 1 :])))
        wrong.append(replace(proof, right=proof.right[:-1]))
    for one in wrong:
        with pytest.raises(Tampered):
            verify_range(one, inside, root)


def test_a_range_proof_that_ends_after_its_log() -> None:
    """A range longer than the log it claims to be part of is named, not crashed over."""
    with pytest.raises(ProofError, match="after the log's end"):
        root_from_range(0, LEAVES[:5], (), (), 4)
    with pytest.raises(ProofError):
        verify_range(RangeProof(0, 5, SIZE_MAX + 1, (), ()), LEAVES[:5], LEAVES[0])


def test_a_range_that_claims_another_end() -> None:
    """An export that says it reaches further than its rows do would hide the rows it left out."""
    proof, root = range_proof(3, 8, 11, read), root_of(LEAVES[:11])
    verify_range(proof, LEAVES[3:8], root)
    for end in (7, 9, 11):
        with pytest.raises(ProofError, match="ends at leaf 8"):
            verify_range(replace(proof, end=end), LEAVES[3:8], root)


def test_neighbours_of_another_length() -> None:
    """A neighbour that is not a hash is named as such before anything is computed with it."""
    proof = range_proof(3, 8, 11, read)
    for bad in (b"", b"x" * 31, b"x" * 33):
        for wrong in (
            replace(proof, left=(bad, *proof.left[1:])),
            replace(proof, right=(bad, *proof.right[1:])),
        ):
            with pytest.raises(Tampered, match="not 32 bytes long"):
                verify_range(wrong, LEAVES[3:8], LEAVES[0])


@pytest.mark.parametrize("span", [(-1, 1, 2), (2, 1, 3), (0, 4, 3), (0, 0, SIZE_MAX + 1)])
def test_ranges_outside_the_log_are_refused(span: tuple[int, int, int]) -> None:
    """An export of rows that are not there must be refused before it starts."""
    with pytest.raises(Refused):
        range_nodes(*span)
