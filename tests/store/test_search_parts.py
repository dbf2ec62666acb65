"""The parts of a search that need no database: months, statements, shares and slots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tallystick.query import parse
from tallystick.store.conditions import SLOTS_MAX, Conditions, Dictionary, Slot, conditions_of
from tallystick.store.months import Month, next_month
from tallystick.store.queries import load
from tallystick.store.statement import assemble
from tallystick.store.trigrams import pieces_of_label, pieces_of_text

NOV, DEC = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


def test_a_month_is_left_out_only_when_it_cannot_hold_an_event() -> None:
    """A month that is skipped although an event in it occurred within the time asked for."""
    month = Month(NOV, DEC, 100, NOV - timedelta(days=3), NOV + timedelta(days=20))
    running = Month(NOV, DEC, 100, None, None)
    assert month.may_hold(None, None)
    assert month.may_hold(NOV + timedelta(days=20), None)
    assert not month.may_hold(NOV + timedelta(days=20, microseconds=1), None)
    assert month.may_hold(None, NOV - timedelta(days=3) + timedelta(microseconds=1))
    assert not month.may_hold(None, NOV - timedelta(days=3))
    assert running.may_hold(DEC + timedelta(days=900), None)
    assert running.may_hold(None, NOV - timedelta(days=900))


def test_rows_within_a_time_are_a_part_of_the_month() -> None:
    """A guess of more rows than there are, or of fewer than none."""
    month = Month(NOV, DEC, 300, NOV, DEC)
    assert month.rows_within(None, None) == 300
    assert month.rows_within(NOV, NOV + timedelta(days=3)) == pytest.approx(30)
    assert month.rows_within(DEC, None) == 0
    assert month.rows_within(DEC + timedelta(days=1), DEC + timedelta(days=2)) == 0


def test_every_month_has_a_next_one() -> None:
    """A month that ends in itself, or two months on."""
    at = datetime(2024, 1, 1, tzinfo=UTC)
    for _ in range(50):
        assert (next_month(at).year * 12 + next_month(at).month) == at.year * 12 + at.month + 1
        at = next_month(at)


def test_a_statement_holds_just_what_is_asked() -> None:
    """A condition nobody asked for, or one left out that somebody did."""
    pieces = load("search")
    full = assemble(pieces, "scan_newest")
    some = assemble(pieces, "scan_newest", only=frozenset({"fits_verbs", "fits_word2", "of_id_word2"}))
    assert {"verbs", "word2_actions", "word2_ids"} <= set(some.names) < set(full.names)
    assert "actions" not in some.names
    assert "word2_refs" not in some.names
    nothing = assemble(pieces, "scan_newest", only=frozenset())
    assert "AND true" in nothing.text or "WHERE true" in nothing.text
    for name, text in pieces.items():
        if "{g}" not in text and "{s}" not in text:
            made = assemble(pieces, name)
            assert "{" not in made.text.replace("'{}'", "")
            assert len(set(made.names)) == len(made.names)


def test_a_list_without_a_term_is_never_true() -> None:
    """Words of which none fits anything that keep every row."""
    found = assemble(load("search"), "count_scanned", only=frozenset({"fits_word1"}))
    assert ":word1_actions" not in found.text
    assert "IS NULL OR false" in found.text


def dictionary(size: int = 1_000, **terms: dict[str, int]) -> Dictionary:
    """A dictionary with these entries."""
    found = Dictionary([])
    found.size, found.terms = size, terms
    return found


def test_what_the_dictionary_lacks_is_impossible() -> None:
    """A name that nobody has that finds everybody's events."""
    known = dictionary(stream={"platform": 1_000}, action={"a.b": 1_000}, workspace={"w": 1})
    for parameters in (
        [("stream", "gateway")],
        [("action", "zzz")],
        [("workspace", "-")],
        [("actor_id", "x")],
        [("q", "-stream:platform")],
    ):
        query = parse(parameters, now=NOV)
        assert conditions_of(query, known, people={}).impossible, parameters
    assert conditions_of(parse([("user", "x")], now=NOV), known, people={"x": {}}).impossible
    both = parse([("workspace", "w"), ("workspace", "other")], now=NOV)
    assert conditions_of(parse([("workspace", "other")], now=NOV), known, people={}).impossible
    assert not conditions_of(both, known, people={}).impossible


def test_a_share_is_what_the_counters_say() -> None:
    """A plan made for a filter that is thought rare and keeps everything."""
    known = dictionary(outcome={"success": 900, "failure": 100}, action={"a.b": 500, "a.c": 300, "d": 200})
    failed = conditions_of(parse([("q", "-outcome:success action:a.")], now=NOV), known, people={})
    assert failed.share == pytest.approx(0.1 * 0.8)
    assert failed.exact_share
    somewhere = conditions_of(parse([("ip", "192.0.2.1")], now=NOV), known, people={})
    assert not somewhere.exact_share


def test_slots_are_chosen_by_what_they_cost() -> None:
    """The index asked for hundreds of persons at every entry when two short lists would do."""
    actions = Slot(tuple(("action", f"a{n}") for n in range(10)), 0.03)
    outcomes = Slot((("outcome", "denied"),), 0.08)
    people = Slot(tuple(("actor_ref", str(uuid4())) for _ in range(500)), 0.05)
    conditions = Conditions(2_000_000, [], slots=[actions, people, outcomes])
    chosen, cost = conditions.choose_slots(2_000_000, 7)
    assert chosen == [actions, outcomes]
    assert cost < 2_000_000 * 0.03 * 1.5
    assert len(Conditions(1, [], slots=[outcomes] * 6).choose_slots(1e9, 1)[0]) <= SLOTS_MAX
    assert Conditions(1, []).choose_slots(1e6, 1) == ([], 0.0)
    # What was seen to match cannot be rarer than that.
    assert conditions.choose_slots(2_000_000, 7, seen_share=0.5)[1] > cost


def test_pieces_of_a_part_are_among_those_of_the_whole() -> None:
    """A label that is not found by a part of it."""
    label, organization = "ada lovelace <ada@example.com>", uuid4()
    for first in range(len(label)):
        for end in range(first, len(label) + 1):
            part = pieces_of_text(organization, label[first:end])
            assert set(part) <= set(pieces_of_label(organization, label))
            assert bool(part) == (end - first > 1)
            assert all(-(2**31) <= number < 2**31 for number in part)
    assert not set(pieces_of_label(uuid4(), label)) & set(pieces_of_label(organization, label))
