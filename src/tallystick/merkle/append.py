"""Growing a log by one batch: the new frontier, receipts for its leaves and the tiles it completes.

Everything is computed from values the caller holds already; nothing is read. Every value is immutable, so
rolling back is forgetting: the caller keeps the old frontier and tails until the commit is confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tallystick.errors import Refused, Tampered
from tallystick.merkle.proof import Node
from tallystick.merkle.tile import TILE_HEIGHT, TILE_WIDTH, TileId
from tallystick.merkle.tree import (
    EMPTY_LOG,
    HASH_BYTES,
    Frontier,
    check_hashes,
    frontier_after,
    node_hash,
    parents,
    rows_of,
    split_hashes,
)

ReadTail = Callable[[int, int, int], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Tails:
    """The hashes of the one incomplete tile at each tile level: what a full tile needs from before a batch.

    At most 255 hashes for each level, so 32 KiB for a log of four thousand million leaves. `levels[t]` is
    their concatenation at tile level t. `frontier` is the log's at that moment: tails fit a log whose
    frontier is this one and no other, not even another of the same size.
    """

    frontier: Frontier = EMPTY_LOG
    levels: tuple[bytes, ...] = ()

    @classmethod
    def read(cls, frontier: Frontier, read_tail: ReadTail) -> Tails:
        """Rebuild the tails of a stored log: at start, and after any transaction that did not commit.

        `read_tail(level, first, end)` returns hashes number first to end of tile level `level`: at level 0
        the rows' own leaf hashes, above it the `root` of the full tiles first to end of the level below. At
        most 255 hashes, one call for each level. Raises Tampered when they do not lead to `frontier`.
        """
        levels: list[bytes] = []
        for level, (first, end) in enumerate(tail_ranges(frontier.size)):
            hashes = read_tail(level, first, end) if first < end else ()
            if len(hashes) != end - first:
                raise Tampered(
                    f"the log of {frontier.size} leaves lacks hashes {first} to {end} of tile level {level}: "
                    f"{len(hashes)} are stored",
                    rule="tail",
                )
            check_hashes(hashes, f"the tail of tile level {level}")
            levels.append(b"".join(hashes))
        if _edge_of(levels) != frontier.nodes:
            raise Tampered("the stored leaf hashes or tiles do not lead to the stored frontier", rule="tail")
        return cls(frontier, tuple(levels))

    def partial_tiles(self) -> list[tuple[TileId, bytes]]:
        """Return the partial tiles a C2SP reader expects of a log of this size, lowest level first."""
        return [
            (TileId(level, self.frontier.size >> (TILE_HEIGHT * (level + 1)), len(tail) // HASH_BYTES), tail)
            for level, tail in enumerate(self.levels)
            if tail
        ]


def _edge_of(levels: Sequence[bytes]) -> tuple[bytes, ...]:
    # Each tail holds the frontier's nodes of eight levels: the row's own last hash where its count is odd.
    nodes: list[bytes] = []
    for tail in reversed(levels):
        row, found = list(split_hashes(tail)), []
        while row:
            if len(row) % 2:
                found.append(row[-1])
            row = parents(row)
        nodes += reversed(found)
    return tuple(nodes)


def tail_ranges(size: int) -> list[tuple[int, int]]:
    """Return (first, end) of the hashes in the incomplete tile of each tile level of a log of `size`."""
    counts = [size >> (TILE_HEIGHT * level) for level in range(-(-size.bit_length() // TILE_HEIGHT))]
    return [(count - count % TILE_WIDTH, count) for count in counts]


@dataclass(frozen=True, slots=True)
class FullTile:
    """A complete tile: `hashes` are its 8192 bytes, `root` is its one hash in the tile level above."""

    level: int
    index: int
    hashes: bytes
    root: bytes


@dataclass(frozen=True)
class Growth:
    """One batch appended to a log: `before`, `after`, and the rows of nodes in between.

    Make it with `grow`; keep it until the commit is confirmed, then put `after` and the tails in place.
    """

    before: Frontier
    after: Frontier
    rows: list[list[bytes]]

    @cached_property
    def root(self) -> bytes:
        """The root after the batch, 32 bytes."""
        return self.after.root()

    def inclusion_proof(self, index: int) -> list[bytes]:
        """Return the proof that leaf `index`, one of this batch, is in the log as it is after the batch.

        Raises Refused for a leaf of an earlier batch: those need `proof.inclusion_proof` and stored tiles.
        """
        if not self.before.size <= index < self.after.size:
            raise Refused(f"leaf {index} is not one of the batch just appended", rule="out_of_range")
        proof: list[bytes] = []
        for row, first in self._siblings:
            sibling = (index ^ 1) - first
            if sibling < len(row):
                proof.append(row[sibling])
            index >>= 1
        return proof

    def tiles(self, tails: Tails) -> tuple[list[FullTile], Tails]:
        """Return the tiles this batch completes, lowest level first, and the tails after it.

        Raises ValueError when `tails` are not those of the log just before the batch: compare their frontier
        with the head's first, and rebuild them with `Tails.read` when it differs.
        """
        if tails.frontier != self.before:
            raise ValueError(
                f"these tails of {tails.frontier.size} leaves are not of this log of {self.before.size}"
            )
        completed: list[FullTile] = []
        levels: list[bytes] = []
        for level, (_, end) in enumerate(tail_ranges(self.after.size)):
            joined = (tails.levels[level] if level < len(tails.levels) else b"") + b"".join(
                self._new_nodes(level)
            )
            first = end - len(joined) // HASH_BYTES
            whole = len(joined) // (TILE_WIDTH * HASH_BYTES)
            completed += (self._tile(level, first // TILE_WIDTH + at, joined, at) for at in range(whole))
            levels.append(joined[whole * TILE_WIDTH * HASH_BYTES :])
        return completed, Tails(self.after, tuple(levels))

    def _new_nodes(self, tile_level: int) -> list[bytes]:
        row, known = self.rows[TILE_HEIGHT * tile_level], self.before.size >> (TILE_HEIGHT * tile_level)
        return row[known & 1 :]

    def _tile(self, level: int, index: int, joined: bytes, at: int) -> FullTile:
        span = TILE_WIDTH * HASH_BYTES
        root = self._node(Node(TILE_HEIGHT * (level + 1), index))
        return FullTile(level, index, joined[at * span : (at + 1) * span], root)

    def _node(self, node: Node) -> bytes:
        known = self.before.size >> node.level
        return self.rows[node.level][node.index - (known - (known & 1))]

    @cached_property
    def _siblings(self) -> list[tuple[list[bytes], int]]:
        # For each level: the row, the incomplete node at its end if there is one, and its first index.
        found: list[tuple[list[bytes], int]] = []
        edge: list[bytes] = []
        for level, row in enumerate(self.rows):
            known = self.before.size >> level
            found.append((row + edge, known - (known & 1)))
            if self.after.size >> level & 1:
                edge = [node_hash(row[-1], edge[0])] if edge else [row[-1]]
        return found


def grow(frontier: Frontier, leaf_hashes: Sequence[bytes]) -> Growth:
    """Append a batch of 32-byte leaf hashes to the log that ends at `frontier`; nothing is read or written.

    Raises Tampered when a hash is not 32 bytes long or the log would outgrow its limit.
    """
    rows = rows_of(frontier, leaf_hashes)
    return Growth(frontier, frontier_after(frontier.size + len(leaf_hashes), rows), rows)
