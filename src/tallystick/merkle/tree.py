"""RFC 6962 hashing and the frontier: all that is needed to extend a log and to know its root."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Final, Self

from tallystick.errors import Tampered

HASH_BYTES: Final = 32
SIZE_MAX: Final = 2**63 - 1  # leaves; the widest bigint a database or a C2SP reader is sure to hold
CHUNK_LEAVES: Final = 1 << 14  # leaf hashes held at once while streaming; larger is not faster

EMPTY_ROOT: Final = sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Return SHA-256(0x00 || leaf), 32 bytes (RFC 6962 section 2.1)."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right), 32 bytes (RFC 6962 section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def parents(nodes: Sequence[bytes]) -> list[bytes]:
    """Return the hashes of `nodes` taken in pairs; a last node without a partner is left out."""
    # One flat comprehension with the hash inlined: a call of node_hash for each pair costs a fifth more,
    # and OpenSSL's SHA-256 beats the interpreter's own at 65 bytes wherever the CPU has SHA instructions.
    pairs = iter(nodes)
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]


def check_hashes(hashes: Iterable[bytes], what: str) -> None:
    """Raise Tampered unless every one of `hashes` is 32 bytes long.

    Without this, 31 and 33 bytes side by side would hash like two honest nodes.
    """
    if set(map(len, hashes)) - {HASH_BYTES}:
        raise Tampered(f"{what} holds a hash that is not {HASH_BYTES} bytes long", rule="hash_length")


def root_of(leaf_hashes: Iterable[bytes]) -> bytes:
    """Return the RFC 6962 root of any number of 32-byte leaf hashes; holds one chunk in memory.

    Raises Tampered when a hash is not 32 bytes long.
    """
    return Frontier().extend(leaf_hashes).root()


@dataclass(frozen=True, slots=True)
class Frontier:
    """A log's size and the roots of the complete subtrees along its right edge, the largest first.

    One 32-byte node for each 1 bit of `size`, so at most 63. This is RFC 6962's tree cut down to what
    every later root needs (a "compact range" from 0); the value is immutable, `extend` returns a new one.
    """

    size: int = 0
    nodes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= SIZE_MAX:
            raise Tampered(f"the log's size {self.size} is not between 0 and {SIZE_MAX}", rule="frontier")
        if len(self.nodes) != self.size.bit_count():
            raise Tampered(
                f"the frontier of {self.size} leaves has {len(self.nodes)} nodes, not {self.size.bit_count()}",
                rule="frontier",
            )
        check_hashes(self.nodes, "the frontier")

    def node(self, level: int) -> bytes:
        """Return the root of the frontier's complete subtree of 2**level leaves; there must be one."""
        if not self.size >> level & 1:
            raise KeyError(f"no subtree of 2**{level} leaves in the frontier of {self.size}")
        return self.nodes[(self.size >> (level + 1)).bit_count()]

    def root(self) -> bytes:
        """Return the RFC 6962 root of the whole log, 32 bytes."""
        return fold(self.nodes) if self.nodes else EMPTY_ROOT

    def extend(self, leaf_hashes: Iterable[bytes]) -> Frontier:
        """Return the frontier after appending 32-byte `leaf_hashes`; memory stays at one chunk.

        Raises Tampered when a hash is not 32 bytes long or the log would outgrow SIZE_MAX.
        """
        frontier, leaves = self, iter(leaf_hashes)
        while chunk := list(islice(leaves, CHUNK_LEAVES)):
            frontier = frontier_after(frontier.size + len(chunk), rows_of(frontier, chunk))
        return frontier

    def append_subtree(self, level: int, root: bytes) -> Frontier:
        """Return the frontier after appending a complete subtree of 2**level leaves by its root alone.

        Raises ValueError when the subtree would not be aligned: `size` must be a multiple of 2**level.
        """
        if self.size % (1 << level):
            raise ValueError(f"a subtree of 2**{level} leaves cannot start at leaf {self.size}")
        nodes, size = list(self.nodes), self.size >> level
        while size & 1:
            root, size = node_hash(nodes.pop(), root), size >> 1
        return Frontier(self.size + (1 << level), (*nodes, root))

    def to_bytes(self) -> bytes:
        """Return the stored form: the size as 8 bytes, big end first, then the nodes."""
        return self.size.to_bytes(8, "big") + b"".join(self.nodes)

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """Read what `to_bytes` wrote; raises Tampered unless every byte is accounted for."""
        if len(stored) < 8 or (len(stored) - 8) % HASH_BYTES:
            raise Tampered(
                f"the stored frontier has {len(stored)} bytes, not 8 + 32 for each node", rule="frontier"
            )
        return cls(int.from_bytes(stored[:8], "big"), split_hashes(stored[8:]))


EMPTY_LOG: Final = Frontier()


def split_hashes(joined: bytes) -> tuple[bytes, ...]:
    """Cut `joined`, a multiple of 32 bytes, into its hashes."""
    return tuple(joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES))


def fold(nodes: Sequence[bytes]) -> bytes:
    """Return the root over adjoining subtrees that shrink from left to right, the right edge of a tree."""
    root = nodes[-1]
    for left in reversed(nodes[:-1]):
        root = node_hash(left, root)
    return root


def rows_of(frontier: Frontier, leaf_hashes: Sequence[bytes]) -> list[list[bytes]]:
    """Return, level by level, the complete nodes on the right edge after appending `leaf_hashes`.

    Row L starts at node (size >> L) rounded down to even: where that number is odd, the frontier's own
    node comes first. It ends with the last complete node of its level. Raises Tampered as `extend` does.
    """
    size_after = frontier.size + len(leaf_hashes)
    if size_after > SIZE_MAX:
        raise Tampered(f"a log of {size_after} leaves is over the limit of {SIZE_MAX}", rule="log_size")
    check_hashes(leaf_hashes, "the batch")
    rows: list[list[bytes]] = []
    nodes = list(leaf_hashes)
    for level in range(size_after.bit_length()):
        if frontier.size >> level & 1:
            nodes = [frontier.node(level), *nodes]
        rows.append(nodes)
        nodes = parents(nodes)
    return rows


def frontier_after(size: int, rows: Sequence[Sequence[bytes]]) -> Frontier:
    """Return the frontier of `size` leaves out of the rows that `rows_of` gave for it."""
    return Frontier(size, tuple(rows[level][-1] for level in reversed(range(len(rows))) if size >> level & 1))
