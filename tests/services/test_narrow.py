"""What a principal may see is never more than what it is bound to, whatever it asks for."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.catalogue.describe import verb_of
from tallystick.errors import Forbidden
from tallystick.event.moment import read_instant
from tallystick.query.filters import ORGANIZATION_LEVEL
from tallystick.query.meaning import matches
from tallystick.query.model import Clause, Query
from tallystick.query.parse import format, parse
from tallystick.services.narrow import (
    LOCKABLE,
    LOCKABLE_TIMES,
    narrow,
    reaches,
    require_whole_log,
    scope_of,
    sight,
)
from tallystick.services.permissions import ANYONE, EXPORT, KEYS, MANAGE, READ, WRITE
from tallystick.services.principal import Principal

ORGANIZATION = UUID(int=7)
WORKSPACES = ("w1", "w2", "w3", "", ORGANIZATION_LEVEL)
NOW = read_instant("2026-11-21T12:00:00Z")[0]


def principal(**more: Any) -> Principal:
    """Return a reader of the organization; `more` binds it."""
    given = {"kind": "key", "id": "key_1", "name": "k", "permissions": frozenset({READ}), **more}
    return Principal(organization_id=ORGANIZATION, **given)


def _event(workspace: str, outcome: str, target: str, hour: int) -> dict[str, Any]:
    made = {
        "action": "thing.create", "actor": {"type": "user", "id": "u"}, "stream": "platform", "outcome": outcome,
        "occurred_at": f"2026-11-21T{hour:02}:00:00.000000Z", "targets": [{"type": "thing", "id": target}],
    }  # fmt: skip
    return {**made, "workspace": workspace} if workspace else made


EVENTS = [
    _event(workspace, outcome, target, hour)
    for workspace in ("", "w1", "w2", "w3")
    for outcome in ("success", "denied")
    for target in ("t1", "t2")
    for hour in (1, 13)
]
clauses = st.one_of(
    st.builds(Clause, st.just("workspace"), st.lists(st.sampled_from(["w1", "w2", "w3", "-"]), min_size=1, unique=True).map(lambda v: tuple(sorted(v)))),
    st.builds(Clause, st.just("outcome"), st.lists(st.sampled_from(["success", "denied"]), min_size=1, unique=True).map(lambda v: tuple(sorted(v)))),
    st.builds(Clause, st.just("target_id"), st.lists(st.sampled_from(["t1", "t2"]), min_size=1, unique=True).map(lambda v: tuple(sorted(v)))),
)  # fmt: skip
times = st.one_of(
    st.builds(Clause, st.just("from"), st.sampled_from([("2026-11-21T00:00:00Z",), ("2026-11-21T12:00:00Z",)])),
    st.builds(Clause, st.just("to"), st.sampled_from([("2026-11-21T12:00:00Z",), ("2026-11-22T00:00:00Z",)])),
)  # fmt: skip
by_key = {"unique_by": lambda one: one.key}
queries = st.builds(
    lambda only, never, since: Query(only=tuple(sorted(only)), never=tuple(sorted(never)), since=since),
    st.lists(clauses, max_size=3, **by_key), st.lists(clauses, max_size=2, **by_key), st.sampled_from([None, NOW]),
)  # fmt: skip
bound = st.builds(
    lambda workspaces, locked: principal(workspaces=workspaces, locked=tuple(sorted(locked))),
    st.one_of(st.none(), st.frozensets(st.sampled_from(WORKSPACES), max_size=3)),
    st.lists(st.one_of(clauses, times), max_size=3, **by_key),
)


def found(query: Query) -> list[dict[str, Any]]:
    """Return what a query finds among the events, by its reference meaning."""
    return [one for one in EVENTS if matches(query, one, verb_of=verb_of)]


@settings(max_examples=200)
@given(bound, queries)
def test_what_is_found_is_what_both_allow(caller: Principal, query: Query) -> None:
    """A filter of the request would widen what its caller is bound to, or hide more than both say."""
    allowed = sight(caller)
    assert found(narrow(caller, query)) == [one for one in found(query) if allowed(one)]
    assert narrow(caller, narrow(caller, query)) == narrow(caller, query) or found(
        narrow(caller, narrow(caller, query))
    ) == found(narrow(caller, query))


@settings(max_examples=100)
@given(bound)
def test_sight_agrees_with_the_bounds(caller: Principal) -> None:
    """An event by its id would be shown that no search shows, the organization's own level above all."""
    allowed = sight(caller)
    for one in EVENTS:
        workspace = one.get("workspace", "")
        if caller.workspaces is not None:
            assert not allowed(one) or (workspace != "" and workspace in caller.workspaces)
        if allowed(one):
            assert reaches(caller, workspace)


@settings(max_examples=100)
@given(bound, queries)
def test_a_narrowed_query_says_so_when_it_is_written_down(caller: Principal, query: Query) -> None:
    """An export's header would say that it holds more than it does, so that its verifier finds events missing."""
    narrowed = narrow(caller, query)
    again = parse([("q", format(narrowed))] if format(narrowed) else [], now=NOW)
    assert found(again) == found(narrowed)


def test_a_part_is_no_scope_of_another() -> None:
    """A cursor made for one part of the log would go on in another."""
    scopes = {
        scope_of(principal()), scope_of(principal(workspaces=frozenset({"w1"}))),
        scope_of(principal(workspaces=frozenset({"w1", "w2"}))), scope_of(principal(workspaces=frozenset())),
        scope_of(principal(locked=(Clause("target_id", ("t1",)),))),
        scope_of(principal(locked=(Clause("target_type", ("t1",)),))),
    }  # fmt: skip
    assert len(scopes) == 6


def test_whole_values_can_be_locked_and_nothing_else() -> None:
    """A substring would be locked, which a second substring of the request cannot be held within."""
    assert "action" not in LOCKABLE
    assert "user" not in LOCKABLE
    assert "q" not in LOCKABLE
    assert {"workspace", "target_id", "actor_id", "outcome", "stream"} <= set(LOCKABLE)
    assert LOCKABLE_TIMES == ("from", "to")


def test_the_whole_log_takes_somebody_who_sees_it() -> None:
    """Tiles and whole-log proofs would be given to who sees a part."""
    require_whole_log(principal())
    for caller in (
        principal(workspaces=frozenset({"w1"})),
        principal(locked=(Clause("outcome", ("denied",)),)),
    ):
        with pytest.raises(Forbidden):
            require_whole_log(caller)


def test_a_member_acts_where_it_holds_the_permission() -> None:
    """Who may export one workspace and read two would export both, or a right over keys would open the log."""
    member = principal(
        kind="member", permissions=frozenset({KEYS}), workspaces=frozenset({"w1", "w2"}),
        grants=(("w1", frozenset({READ, EXPORT})), ("w2", frozenset({READ})), ("w3", frozenset())),
    )  # fmt: skip
    assert member.under(READ).workspaces == {"w1", "w2"}
    assert member.under(EXPORT).workspaces == {"w1"}
    assert member.under(KEYS).workspaces is None
    assert member.under(ANYONE) == member
    for permission in (WRITE, MANAGE):
        with pytest.raises(Forbidden):
            member.under(permission)
    key = principal(workspaces=frozenset({"w1"}), permissions=frozenset({MANAGE}))
    assert key.under(READ).workspaces == {"w1"}, "a bound key stays bound, whatever it may do"
    assert not principal(kind="viewer").may(ANYONE)
