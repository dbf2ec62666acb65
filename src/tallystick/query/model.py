"""A query: which events are asked for, in which order, and which page of them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

Order = Literal["newest", "oldest"]

LIMIT_DEFAULT = 50
LIMIT_MAX = 1000
OFFSET_MAX = 10_000


class Clause(Struct, frozen=True, order=True):
    """One filter with its values, sorted and each once; an event fits when it fits any of them."""

    key: str
    values: tuple[str, ...]


class Query(Struct, frozen=True, kw_only=True):
    """What is asked for. An event matches when it fits every clause of `only` and every one of `words`, none of
    `never` and none of `never_words`, and lies in the time range.

    `since` is inclusive, `until` exclusive, both UTC. `range` is the preset `since` was made from, or "".
    `offset` counts matching events to skip; `cursor` continues an earlier page instead. With `as_told` a person is
    known by what each event itself says, not by what other events say: for whoever may not see those.
    """

    only: tuple[Clause, ...] = ()
    never: tuple[Clause, ...] = ()
    words: tuple[str, ...] = ()
    never_words: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    range: str = ""
    order: Order = "newest"
    limit: int = LIMIT_DEFAULT
    offset: int = 0
    cursor: str | None = None
    as_told: bool = False

    def values(self, key: str) -> tuple[str, ...] | None:
        """Return the values one of which must fit for `key`, or None when the key is not filtered."""
        return next((clause.values for clause in self.only if clause.key == key), None)

    def never_values(self, key: str) -> tuple[str, ...]:
        """Return the values none of which may fit for `key`."""
        return next((clause.values for clause in self.never if clause.key == key), ())


def filters_of(query: Query) -> Query:
    """Return the query without its page: no order, limit, offset or cursor."""
    return Query(
        only=query.only,
        never=query.never,
        words=query.words,
        never_words=query.never_words,
        since=query.since,
        until=query.until,
        range=query.range,
        as_told=query.as_told,
    )
