"""The account of numbers says what a set of numbers would say, in any order, in bounded memory."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.event.leaf import LeafProducer, LeafSpan
from tallystick.event.numbering import Numbering, Range, Ranges, sentence

numbers = st.integers(1, 40)
spans = st.tuples(numbers, st.integers(0, 8)).map(lambda at: LeafSpan(at[0], at[0] + at[1]))
events = st.builds(
    LeafProducer,
    epoch=st.just("e"),
    id=st.just("p"),
    sequence=numbers,
    unsent=st.lists(spans, max_size=2).map(tuple),
)


def numbers_of(ranges: Ranges | list[Range]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


def reference(taken: list[LeafProducer], given: int) -> tuple[set[int], set[int], int, int]:
    """Return missing, unsent, conflicts and the highest number, by sets."""
    came = {one.sequence for one in taken}
    told = {number for one in taken for span in one.unsent for number in range(span.first, span.last + 1)}
    highest = max([0, given, *came, *told])
    return set(range(1, highest + 1)) - came - told, told - came, len(taken) - len(came), highest


@given(
    taken=st.lists(events, max_size=25), given_out=st.integers(0, 50), order=st.randoms(use_true_random=False)
)
@settings(max_examples=200)
def test_any_order_gives_the_account_of_a_set(
    taken: list[LeafProducer], given_out: int, order: object
) -> None:
    """A late event, a repeated number or an early account must not change what is missing in the end."""
    steps: list[LeafProducer | int] = [*taken, given_out]
    order.shuffle(steps)  # type: ignore[attr-defined]
    account = Numbering()
    for step in steps:
        if isinstance(step, int):
            account.given_out(step)
        else:
            account.take(step)
    missing, unsent, conflicts, highest = reference(taken, given_out)
    assert (numbers_of(account.missing), numbers_of(account.unsent)) == (missing, unsent)
    assert (account.conflicts, account.highest, account.events) == (conflicts, highest, len(taken))
    assert account.missing_count == len(missing)


@given(taken=st.lists(events, max_size=25), cut=st.integers(0, 25))
@settings(max_examples=100)
def test_an_account_goes_on_from_what_was_kept(taken: list[LeafProducer], cut: int) -> None:
    """A server that restarts between two events must come to the same account."""
    whole, half = Numbering(), Numbering()
    for one in taken:
        whole.take(one)
    for one in taken[:cut]:
        half.take(one)
    kept = Numbering(
        highest=half.highest, events=half.events, conflicts=half.conflicts, missing=list(half.missing),
        unsent=list(half.unsent),
    )  # fmt: skip
    for one in taken[cut:]:
        kept.take(one)
    assert (kept.missing, kept.unsent, kept.conflicts) == (whole.missing, whole.unsent, whole.conflicts)


@given(
    steps=st.lists(st.tuples(st.booleans(), numbers, st.integers(0, 9)), max_size=30),
    other=st.lists(st.tuples(numbers, st.integers(0, 9)), max_size=6),
)
@settings(max_examples=200)
def test_ranges_are_sets(steps: list[tuple[bool, int, int]], other: list[tuple[int, int]]) -> None:
    """Ranges that touch, nest or are cut in two must hold exactly the numbers a set holds, in the fewest ranges."""
    ranges, known = Ranges(), set[int]()
    for add, first, more in steps:
        span = set(range(first, first + more + 1))
        if add:
            ranges.add(first, first + more)
            known |= span
        else:
            assert numbers_of(ranges.take(first, first + more)) == known & span
            known -= span
        assert numbers_of(ranges) == known
        found = list(ranges)
        assert all(one[1] + 1 < following[0] for one, following in itertools.pairwise(found))
    theirs = Ranges((first, first + more) for first, more in other)
    assert numbers_of(ranges.both(theirs)) == known & numbers_of(theirs)
    assert numbers_of(ranges.without(theirs)) == known - numbers_of(theirs)
    assert ranges.count() == len(known)


def test_more_gaps_than_are_listed_are_still_counted() -> None:
    """A producer that sends every second number must neither fill the memory nor be told short."""
    account = Numbering(ranges_max=10)
    for number in range(2, 101, 2):
        assert account.came(number)
    assert (len(account.missing), account.unlisted, account.missing_count) == (10, 40, 50)
    assert next(iter(account.missing)) == (81, 81)
    assert account.floor == 79
    assert account.came(1), "a late one of those that are only counted is no conflict"
    assert account.missing_count == 49
    assert not account.came(100)
    account.account(81, 99)
    assert (account.missing_count, account.unsent.count()) == (39, 10)


def test_a_gap_is_told_by_the_numbers_around_it() -> None:
    """Whoever reads the sentence must know where to look."""
    account = Numbering()
    for number in (*range(1, 121), *range(138, 150)):
        account.came(number)
    told = sentence("X", account.missing, account.missing_count)
    assert told == "producer X: 17 events missing between 120 and 138"
    many = Ranges((at, at) for at in range(1, 20, 2))
    assert sentence("X", many, 10).endswith("between 4 and 6 and in 7 more gaps")
    assert sentence("X", [(3, 3)], 1) == "producer X: 1 event missing between 2 and 4"
    assert sentence("X", [], 5) == "producer X: 5 events missing"
