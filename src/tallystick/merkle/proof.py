"""Inclusion and consistency proofs: which nodes they need, how they are made, how they are checked.

Making a proof takes a function that reads node hashes; checking one takes nothing but the values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tallystick.errors import Refused, Tampered
from tallystick.merkle.tree import EMPTY_ROOT, SIZE_MAX, check_hashes, fold, node_hash

PROOF_HASHES_MAX: Final = 64  # the longest honest inclusion or consistency proof of a tree up to SIZE_MAX


class ProofError(Tampered):
    """A proof does not prove what it says: trust none of the values that came with it."""

    rule = "proof"


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """The root of a complete subtree: the `index`-th run of 2**level leaves, counted from 0."""

    level: int
    index: int


ReadHashes = Callable[[Sequence[Node]], Sequence[bytes]]
NodeGroups = list[list[Node]]


def subtrees(start: int, end: int) -> list[Node]:
    """Return the fewest complete aligned subtrees that cover leaves [start, end), left to right."""
    nodes: list[Node] = []
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, trailing_zeros(start))
        nodes.append(Node(level, start >> level))
        start += 1 << level
    return nodes


def trailing_zeros(number: int) -> int:
    """Return how often 2 divides `number`, which is not 0."""
    return (number & -number).bit_length() - 1


def inclusion_nodes(index: int, size: int) -> NodeGroups:
    """Return, for each hash of the inclusion proof from leaf to root, the complete nodes it folds.

    Raises Refused unless 0 <= index < size.
    """
    if not 0 <= index < size <= SIZE_MAX:
        raise Refused(f"leaf {index} is not in a log of {size} leaves", rule="out_of_range")
    return _siblings(index, 0, size)


def consistency_nodes(old: int, new: int) -> NodeGroups:
    """Return, for each hash of the consistency proof, the complete nodes it folds (RFC 6962 section 2.1.2).

    Empty when old is 0 or equals new. Raises Refused unless 0 <= old <= new.
    """
    if not 0 <= old <= new <= SIZE_MAX:
        raise Refused(f"a log of {new} leaves has no earlier state of {old} leaves", rule="out_of_range")
    if old in (0, new):
        return []
    level = trailing_zeros(old)
    last = Node(level, (old >> level) - 1)
    siblings = _siblings(last.index, level, new)
    # When the old tree is one complete subtree the verifier knows its root already: the old root.
    return siblings if last.index == 0 else [[last], *siblings]


def _siblings(index: int, level: int, size: int) -> NodeGroups:
    groups: NodeGroups = []
    while 1 << level < size:
        start = (index ^ 1) << level
        if start < size:  # else the node has no partner yet and stands for itself one level up
            groups.append(subtrees(start, min(start + (1 << level), size)))
        index, level = index >> 1, level + 1
    return groups


def inclusion_proof(index: int, size: int, read: ReadHashes) -> list[bytes]:
    """Return the hashes that prove leaf `index` is in the log of `size` leaves, from leaf to root.

    `read` is called once with all nodes wanted. Raises Refused unless 0 <= index < size.
    """
    return fold_groups(inclusion_nodes(index, size), read)


def consistency_proof(old: int, new: int, read: ReadHashes) -> list[bytes]:
    """Return the hashes that prove the log of `old` leaves is a prefix of that of `new` leaves.

    `read` is called once with all nodes wanted. Raises Refused unless 0 <= old <= new.
    """
    return fold_groups(consistency_nodes(old, new), read)


def fold_groups(groups: NodeGroups, read: ReadHashes) -> list[bytes]:
    """Read the nodes of all `groups` at once and return one folded hash for each group."""
    hashes = iter(read([node for group in groups for node in group]))
    return [fold([next(hashes) for _ in group]) for group in groups]


def verify_inclusion(index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Raise ProofError unless `proof` shows that `leaf_hash` is leaf `index` of the tree `root` of `size` leaves.

    All hashes are 32 bytes (RFC 9162 section 2.1.3.2).
    """
    if not 0 <= index < size <= SIZE_MAX:
        raise ProofError(f"leaf {index} cannot be in a log of {size} leaves")
    check_hashes((leaf_hash, root, *proof), "the inclusion proof")
    inner, border = _proof_shape(index, size - 1)
    if len(proof) != inner + border:
        raise ProofError(f"the inclusion proof has {len(proof)} hashes, not {inner + border}")
    seed = _climb(leaf_hash, proof[:inner], index)
    if _climb_border(seed, proof[inner:]) != root:
        raise ProofError(f"leaf {index} is not in the log of {size} leaves with this root")


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Raise ProofError unless `proof` shows that the tree `old_root` is a prefix of the tree `new_root`.

    All hashes are 32 bytes (RFC 9162 section 2.1.4.2). A log of 0 leaves is a prefix of every log, so
    old = 0 < new proves nothing and is refused: compare `old_root` with EMPTY_ROOT instead.
    """
    if not 0 <= old <= new <= SIZE_MAX:
        raise ProofError(f"a log of {new} leaves cannot continue one of {old} leaves")
    if old == new:
        _same_tree(old, proof, old_root, new_root)
    elif old == 0:
        raise ProofError(f"an empty log says nothing about a log of {new} leaves")
    else:
        _prefix(old, new, proof, old_root, new_root)


def _same_tree(size: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    if proof:
        raise ProofError(f"the consistency proof of equal sizes has {len(proof)} hashes, not 0")
    if old_root != new_root:
        raise ProofError(f"two different logs of {size} leaves: the history was forked")
    if size == 0 and old_root != EMPTY_ROOT:
        raise ProofError("the root of the empty log is not SHA-256 of nothing")


def _prefix(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    check_hashes((old_root, new_root, *proof), "the consistency proof")
    level = trailing_zeros(old)
    index = (old - 1) >> level
    inner, border = _proof_shape(index, (new - 1) >> level)
    first = 0 if index == 0 else 1
    if len(proof) != first + inner + border:
        raise ProofError(f"the consistency proof has {len(proof)} hashes, not {first + inner + border}")
    seed = old_root if index == 0 else proof[0]
    rising, edge = proof[first : first + inner], proof[first + inner :]
    lefts = [sibling for height, sibling in enumerate(rising) if index >> height & 1]
    if _climb_border(_climb_border(seed, lefts), edge) != old_root:
        raise ProofError(f"the proof does not lead to the old root of {old} leaves")
    if _climb_border(_climb(seed, rising, index), edge) != new_root:
        raise ProofError(
            f"the log of {new} leaves does not continue that of {old}: the history was rewritten"
        )


def _proof_shape(index: int, last: int) -> tuple[int, int]:
    # Below the point where the ways to `index` and to the last node part every level has a sibling;
    # above it only the levels where our node is a right child have one.
    inner = (index ^ last).bit_length()
    return inner, (index >> inner).bit_count()


def _climb(seed: bytes, siblings: Sequence[bytes], index: int) -> bytes:
    for height, sibling in enumerate(siblings):
        seed = node_hash(sibling, seed) if index >> height & 1 else node_hash(seed, sibling)
    return seed


def _climb_border(seed: bytes, lefts: Sequence[bytes]) -> bytes:
    for left in lefts:
        seed = node_hash(left, seed)
    return seed
