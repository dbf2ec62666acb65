"""Sets of positions of a log, kept as ranges: what was removed, held, covered by a record."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

Range = tuple[int, int]  # first, and the one after the last


class Positions:
    """An immutable set of positions; `ranges` are sorted, not empty, and neither touch nor overlap."""

    __slots__ = ("_firsts", "ranges")

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        merged: list[Range] = []
        for first, end in sorted(ranges):
            if end <= first:
                continue
            if merged and first <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((first, end))
        self.ranges: tuple[Range, ...] = tuple(merged)
        self._firsts = [first for first, _ in merged]

    @classmethod
    def of(cls, positions: Iterable[int]) -> Positions:
        """Return the set of single positions."""
        return cls((position, position + 1) for position in positions)

    @classmethod
    def read(cls, pairs: Iterable[Sequence[int]]) -> Positions:
        """Return the set written as [first, count] pairs; raises ValueError unless written as `written` writes it."""
        found = cls((first, first + count) for first, count in pairs)
        if found.written() != [list(pair) for pair in pairs] or (found and found.ranges[0][0] < 0):
            raise ValueError("positions are not ranges in order, each as first and count")
        return found

    def written(self) -> list[list[int]]:
        """Return [first, count] of each range, as records in the log hold it."""
        return [[first, end - first] for first, end in self.ranges]

    def __len__(self) -> int:
        return sum(end - first for first, end in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Positions) and self.ranges == other.ranges

    def __hash__(self) -> int:
        return hash(self.ranges)

    def __repr__(self) -> str:
        return f"Positions({self.ranges!r})"

    def __iter__(self) -> Iterator[int]:
        for first, end in self.ranges:
            yield from range(first, end)

    def __contains__(self, position: int) -> bool:
        at = bisect_right(self._firsts, position) - 1
        return at >= 0 and position < self.ranges[at][1]

    @property
    def end(self) -> int:
        """The position after the last one, 0 of the empty set."""
        return self.ranges[-1][1] if self.ranges else 0

    def within(self, first: int, end: int) -> Positions:
        """Return the part of the set in [first, end)."""
        at = max(0, bisect_right(self._firsts, first) - 1)
        found: list[Range] = []
        while at < len(self.ranges) and self.ranges[at][0] < end:
            found.append((max(first, self.ranges[at][0]), min(end, self.ranges[at][1])))
            at += 1
        return Positions(found)

    def __or__(self, other: Positions) -> Positions:
        return Positions((*self.ranges, *other.ranges))

    def __and__(self, other: Positions) -> Positions:
        few, many = sorted((self, other), key=lambda one: len(one.ranges))
        return Positions(piece for one in few.ranges for piece in many.within(*one).ranges)

    def __sub__(self, other: Positions) -> Positions:
        found: list[Range] = []
        for first, end in self.ranges:
            for gone_first, gone_end in other.within(first, end).ranges:
                found.append((first, gone_first))
                first = gone_end
            found.append((first, end))
        return Positions(found)


def union(sets: Iterable[Positions]) -> Positions:
    """Return the union of many sets, in one sorting."""
    return Positions(one for each in sets for one in each.ranges)
