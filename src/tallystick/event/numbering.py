"""Which numbers of a producer are there, which are missing, and which it says will not come.

Numbers come in any order: a later one may arrive before an earlier one, and what was missed may still come. Whatever
the order, the same numbers give the same account; it is kept in ranges, so that it stays small however many there are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Final

from tallystick.event.leaf import LeafProducer

RANGES_MAX: Final = 1_000  # of one epoch; beyond, the lowest are still counted but no longer told apart

Range = tuple[int, int]  # first and last, both of them included


class Ranges:
    """A set of numbers, as the ranges they form, in order and apart from each other."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def __iter__(self) -> Iterator[Range]:
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        return len(self._firsts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"

    def count(self) -> int:
        """Return how many numbers there are."""
        return sum(self._lasts) - sum(self._firsts) + len(self)

    def add(self, first: int, last: int) -> None:
        """Add the numbers from `first` to `last`; what is there already changes nothing."""
        if first > last:
            return
        low, high = bisect_left(self._lasts, first - 1), bisect_right(self._firsts, last + 1)
        if low < high:
            first, last = min(first, self._firsts[low]), max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def take(self, first: int, last: int) -> list[Range]:
        """Take out the numbers from `first` to `last`; returns those that were there."""
        low, high = bisect_left(self._lasts, first), bisect_right(self._firsts, last)
        if low >= high:
            return []
        hit = list(zip(self._firsts[low:high], self._lasts[low:high], strict=True))
        left = [(hit[0][0], first - 1), (last + 1, hit[-1][1])]
        kept = [(begin, end) for begin, end in left if begin <= end]
        self._firsts[low:high] = [begin for begin, _ in kept]
        self._lasts[low:high] = [end for _, end in kept]
        return [(max(begin, first), min(end, last)) for begin, end in hit]

    def both(self, other: Ranges) -> Ranges:
        """Return the numbers that are in this set and in the other."""
        rest = Ranges(self)
        return Ranges(piece for first, last in other for piece in rest.take(first, last))

    def without(self, other: Ranges) -> Ranges:
        """Return the numbers of this set that are not in the other."""
        rest = Ranges(self)
        for first, last in other:
            rest.take(first, last)
        return rest

    def pop_lowest(self) -> Range:
        """Take out the lowest range."""
        return self._firsts.pop(0), self._lasts.pop(0)


class Numbering:
    """The account of one epoch of one producer.

    `missing` are numbers below `highest` that neither came nor were accounted for, `unsent` those the producer says
    will not come. `conflicts` counts numbers that came more than once: each is an event of its own, as an id is in a
    log only once. Beyond `ranges_max` ranges the lowest are only counted, in `unlisted`; `floor` is the last of those.
    """

    __slots__ = ("_ranges_max", "conflicts", "events", "floor", "highest", "missing", "unlisted", "unsent")

    def __init__(
        self,
        *,
        highest: int = 0,
        events: int = 0,
        conflicts: int = 0,
        missing: Iterable[Range] = (),
        unsent: Iterable[Range] = (),
        unlisted: int = 0,
        floor: int = 0,
        ranges_max: int = RANGES_MAX,
    ) -> None:
        self.highest = highest
        self.events = events
        self.conflicts = conflicts
        self.missing = Ranges(missing)
        self.unsent = Ranges(unsent)
        self.unlisted = unlisted
        self.floor = floor
        self._ranges_max = ranges_max

    def take(self, producer: LeafProducer) -> bool:
        """Take in an event; False when its number had come before, which is a conflict."""
        fresh = self.came(producer.sequence)
        for span in producer.unsent:
            self.account(span.first, span.last)
        return fresh

    def came(self, number: int) -> bool:
        """Take in that the event with `number` is there; False when one came before."""
        self.events += 1
        if number > self.highest:
            self.missing.add(self.highest + 1, number - 1)
            self.highest = number
            self._bound()
        elif not self.missing.take(number, number) and not self.unsent.take(number, number):
            if number > self.floor or not self.unlisted:
                self.conflicts += 1
                return False
            self.unlisted -= 1
        return True

    def account(self, first: int, last: int) -> None:
        """Take in that the producer says the numbers from `first` to `last` will not come; what came stays."""
        self.given_out(last)
        for begin, end in self.missing.take(first, last):
            self.unsent.add(begin, end)
        self._bound()

    def given_out(self, last: int) -> None:
        """Take in that the producer has given out numbers up to `last`."""
        if last > self.highest:
            self.missing.add(self.highest + 1, last)
            self.highest = last
            self._bound()

    @property
    def missing_count(self) -> int:
        """How many numbers are missing, those that are only counted included."""
        return self.missing.count() + self.unlisted

    def _bound(self) -> None:
        while len(self.missing) > self._ranges_max:
            first, last = self.missing.pop_lowest()
            self.unlisted += last - first + 1
            self.floor = max(self.floor, last)
        while len(self.unsent) > self._ranges_max:
            self.floor = max(self.floor, self.unsent.pop_lowest()[1])


def sentence(producer: str, missing: Iterable[Range], count: int, *, times: int = 3) -> str:
    """Return in words what of a producer is missing, naming the first `times` gaps by the numbers around them."""
    ranges = list(missing)
    events = "event" if count == 1 else "events"
    if not ranges:
        return f"producer {producer}: {count} {events} missing"
    places = ", ".join(f"between {first - 1} and {last + 1}" for first, last in ranges[:times])
    more = f" and in {len(ranges) - times} more gaps" if len(ranges) > times else ""
    return f"producer {producer}: {count} {events} missing {places}{more}"
