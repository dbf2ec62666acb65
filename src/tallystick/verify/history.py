"""The tree of one log, recomputed from its leaf hashes and compared wherever somebody else knows its root."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from tallystick.merkle.proof import subtrees
from tallystick.merkle.range_proof import close_range
from tallystick.merkle.tree import Frontier

CHUNK_HASHES: Final = 1 << 13


class Milestone(Struct, frozen=True):
    """A root that somebody else has for the log at `size` leaves; `label` says who, for the report."""

    size: int
    root: bytes
    label: str


class History:
    """Extends a log from leaf `start` on, holding one chunk of hashes, and meets its milestones on the way.

    `left` are the roots of the subtrees over leaves [0, start), as a range proof gives them. Positions in
    `wanted` have their leaf hash kept in `seen`. Milestones end up in `agreed`, `contradicted` or, where the
    leaves at hand do not reach, `unreachable`. Raises Tampered when `left` does not fit `start`.
    """

    def __init__(
        self,
        start: int = 0,
        left: Sequence[bytes] = (),
        *,
        milestones: Iterable[Milestone] = (),
        wanted: Iterable[int] = (),
    ) -> None:
        self.frontier = Frontier(start, tuple(left))
        self.agreed: list[Milestone] = []
        self.contradicted: list[Milestone] = []
        self.unreachable: list[Milestone] = []
        self.seen: dict[int, bytes] = {}
        self._milestones = sorted(milestones, key=lambda one: one.size, reverse=True)
        self._wanted = sorted(set(wanted), reverse=True)
        self._waiting: list[bytes] = []
        self._meet_left(start, left)

    @property
    def size(self) -> int:
        """How many leaves the log has so far."""
        return self.frontier.size + len(self._waiting)

    def add(self, leaf_hashes: Sequence[bytes]) -> None:
        """Append leaf hashes; raises Tampered when one is not 32 bytes long."""
        self._waiting += leaf_hashes
        if len(self._waiting) >= CHUNK_HASHES:
            self._flush()

    def close(self, right: Sequence[bytes], size: int) -> bytes:
        """Return the root at `size` leaves, `right` being the subtrees after the last leaf added.

        Raises Tampered when `right` does not fit. The history takes no more leaves after this.
        """
        self._flush()
        root = close_range(self.frontier, right, size)
        grown = self.frontier
        for node, subtree in zip(subtrees(grown.size, size), right, strict=True):
            grown = grown.append_subtree(node.level, subtree)
            self._meet(grown)
        self.unreachable += self._milestones
        return root

    def _meet_left(self, start: int, left: Sequence[bytes]) -> None:
        grown = Frontier()
        self._meet(grown)
        for node, subtree in zip(subtrees(0, start), left, strict=True):
            grown = grown.append_subtree(node.level, subtree)
            self._meet(grown)

    def _meet(self, frontier: Frontier) -> None:
        """Compare every milestone of exactly this size; smaller ones can no longer be reached."""
        while self._milestones and self._milestones[-1].size <= frontier.size:
            one = self._milestones.pop()
            if one.size < frontier.size:
                self.unreachable.append(one)
            elif one.root == frontier.root():
                self.agreed.append(one)
            else:
                self.contradicted.append(one)

    def _flush(self) -> None:
        first, waiting, self._waiting = self.frontier.size, self._waiting, []
        while self._wanted and self._wanted[-1] < first + len(waiting):
            position = self._wanted.pop()
            if position >= first:
                self.seen[position] = waiting[position - first]
        at = 0
        while self._milestones and self._milestones[-1].size <= first + len(waiting):
            reached = self._milestones[-1].size - first
            self.frontier = self.frontier.extend(waiting[at:reached])
            at = reached
            self._meet(self.frontier)
        self.frontier = self.frontier.extend(waiting[at:])
