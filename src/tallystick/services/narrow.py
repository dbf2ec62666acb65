"""What a principal may see of a log: every reading service asks here, so that no surface can forget it.

A search, a count or an export is narrowed before it runs. What is read by id or by position is looked at afterwards,
and what may not be seen answers exactly like what does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from tallystick.catalogue.describe import verb_of
from tallystick.errors import Forbidden
from tallystick.event.moment import read_instant
from tallystick.query.filters import FILTERS, ORGANIZATION_LEVEL
from tallystick.query.meaning import matches
from tallystick.query.model import Clause, Query
from tallystick.services.principal import Principal

# Filters that can be locked: those that compare whole values, so that two of them together are their common values.
LOCKABLE = tuple(filter.name for filter in FILTERS if filter.kind in ("exact", "word", "address"))
LOCKABLE_TIMES = ("from", "to")


def narrow(principal: Principal, query: Query) -> Query:
    """Return `query` as far as `principal` may see: for each locked filter only values that both allow.

    Of an event with several targets one must be of a locked type or id and asked for at once. A person is known by what
    the events that may be seen say: a name told in another workspace must not be found, or guessed, in this one.
    """
    if principal.sees_all:
        return query
    query = replace(query, as_told=True)
    for clause in _bounds(principal):
        match clause.key:
            case "from":
                query = replace(query, since=_later(query.since, read_instant(clause.values[0])[0]))
            case "to":
                query = replace(query, until=_earlier(query.until, read_instant(clause.values[0])[0]))
            case _:
                query = _within(query, clause)
    return query


def reaches(principal: Principal, workspace: str) -> bool:
    """Tell whether an event of `workspace` ("" = the organization's level) may be seen as far as that decides."""
    return principal.workspaces is None or (workspace != "" and workspace in principal.workspaces)


def sight(principal: Principal) -> Callable[[Mapping[str, Any]], bool]:
    """Return the test whether `principal` may see an event, as `event.render` gives it."""
    if principal.sees_all:
        return lambda _: True
    bounds = narrow(principal, Query())
    return lambda event: matches(bounds, event, verb_of=verb_of)


def scope_of(principal: Principal) -> str:
    """Return what a cursor is bound to: the organization, and what of it may be seen."""
    if principal.sees_all:
        return f"{principal.organization_id}/all"
    return f"{principal.organization_id}/{[(c.key, c.values) for c in _bounds(principal)]}"


def require_whole_log(principal: Principal) -> None:
    """Raise Forbidden unless `principal` sees the whole log: tiles and proofs over it say something of every event."""
    if not principal.sees_all:
        raise Forbidden(
            "This credential sees a part of the log, and this concerns all of it. Use one of the whole organization.",
            rule="workspace",
        )


def _bounds(principal: Principal) -> tuple[Clause, ...]:
    if principal.workspaces is None:
        return principal.locked
    # The organization's own level has no name that a workspace could take.
    named = principal.workspaces - {"", ORGANIZATION_LEVEL}
    return (Clause("workspace", tuple(sorted(named))), *principal.locked)


def _within(query: Query, bound: Clause) -> Query:
    """Return the query within one bound. Where no value is left it asks for a value and refuses it.

    So a query that finds nothing still says so when it is written down, in an export for instance.
    """
    asked = [clause for clause in query.only if clause.key == bound.key]
    allowed = set(bound.values)
    for clause in asked:
        allowed &= set(clause.values)
    if not allowed:
        wanted = {value for clause in asked for value in clause.values} or {ORGANIZATION_LEVEL}
        refused = tuple(sorted({*wanted, *query.never_values(bound.key)}))
        query = replace(query, never=_with(query.never, Clause(bound.key, refused)))
        allowed = wanted
    return replace(query, only=_with(query.only, Clause(bound.key, tuple(sorted(allowed)))))


def _with(clauses: tuple[Clause, ...], new: Clause) -> tuple[Clause, ...]:
    return tuple(sorted([*(one for one in clauses if one.key != new.key), new]))


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)


def _earlier(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else min(one, other)
