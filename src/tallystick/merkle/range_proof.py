"""Range proofs: that a run of leaf hashes is complete and in order, from O(log n) nodes beside it.

This is what makes a filtered or partial export provable: inside the range nothing is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tallystick.errors import Refused
from tallystick.merkle.proof import Node, ProofError, ReadHashes, subtrees
from tallystick.merkle.tree import SIZE_MAX, Frontier, check_hashes


@dataclass(frozen=True, slots=True)
class RangeProof:
    """The O(log n) nodes beside leaves [start, end) of a log of `size`: `left` covers [0, start), `right` the rest."""

    start: int
    end: int
    size: int
    left: tuple[bytes, ...]
    right: tuple[bytes, ...]


def range_nodes(start: int, end: int, size: int) -> tuple[list[Node], list[Node]]:
    """Return the nodes left and right of leaves [start, end); raises Refused unless 0 <= start <= end <= size."""
    if not 0 <= start <= end <= size <= SIZE_MAX:
        raise Refused(
            f"leaves {start} to {end} are not a range of a log of {size} leaves", rule="out_of_range"
        )
    return subtrees(0, start), subtrees(end, size)


def range_proof(start: int, end: int, size: int, read: ReadHashes) -> RangeProof:
    """Return what, together with the leaf hashes of [start, end), gives the root of `size` leaves."""
    left, right = range_nodes(start, end, size)
    hashes = tuple(read([*left, *right]))
    return RangeProof(start, end, size, hashes[: len(left)], hashes[len(left) :])


def open_range(start: int, left: Sequence[bytes]) -> Frontier:
    """Return the frontier to `extend` with the leaf hashes from `start` on; raises Tampered on a wrong count."""
    return Frontier(start, tuple(left))


def close_range(reached: Frontier, right: Sequence[bytes], size: int) -> bytes:
    """Return the root of `size` leaves from the frontier at the range's end and the nodes right of it.

    Raises ProofError when `right` has not exactly the nodes between the frontier and `size`.
    """
    if not reached.size <= size <= SIZE_MAX:
        raise ProofError(f"the range ends at leaf {reached.size}, after the log's end at {size}")
    wanted = subtrees(reached.size, size)
    if len(wanted) != len(right):
        raise ProofError(f"the range proof has {len(right)} hashes on its right, not {len(wanted)}")
    check_hashes(right, "the range proof")
    for node, node_root in zip(wanted, right, strict=True):
        reached = reached.append_subtree(node.level, node_root)
    return reached.root()


def root_from_range(
    start: int, leaf_hashes: Iterable[bytes], left: Sequence[bytes], right: Sequence[bytes], size: int
) -> bytes:
    """Return the root that the leaf hashes from `start` on and their neighbours lead to; streams.

    The leaves are all there, in order and unchanged, exactly when this is the root of a trusted
    checkpoint of `size` leaves. Raises Tampered when the counts cannot fit.
    """
    return close_range(open_range(start, left).extend(leaf_hashes), right, size)


def verify_range(proof: RangeProof, leaf_hashes: Iterable[bytes], root: bytes) -> None:
    """Raise ProofError unless `leaf_hashes` are all the leaves [start, end) of the tree `root`; streams."""
    reached = open_range(proof.start, proof.left).extend(leaf_hashes)
    if reached.size != proof.end:
        raise ProofError(f"the range from {proof.start} ends at leaf {reached.size}, not {proof.end}")
    if close_range(reached, proof.right, proof.size) != root:
        raise ProofError(
            f"leaves {proof.start} to {proof.end} are not those of the log of {proof.size} leaves"
        )
