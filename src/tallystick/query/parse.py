"""From parameters to a Query, strictly: what is not understood is refused by name and never widens a result."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, cast, get_args

from tallystick.query.filters import (
    BY_NAME,
    CLAUSE_KEYS,
    PAGE_ALIASES,
    PAGE_KEYS,
    VALUES_MAX,
    WORDS_MAX,
    Filter,
)
from tallystick.query.language import Term, read_terms, write_term
from tallystick.query.model import LIMIT_DEFAULT, LIMIT_MAX, OFFSET_MAX, Clause, Order, Query
from tallystick.query.period import Span, read_created, read_moment, start_of_range, write_created
from tallystick.query.values import check_text, read_value, refusal

CURSOR_CHARACTERS_MAX = 1_024
WORD_CHARACTERS_MAX = 512


def parse(parameters: Sequence[tuple[str, str]], *, now: datetime) -> Query:
    """Read the parameters of a search, as (name, value) in order.

    A repeated filter means OR, different filters mean AND. Raises Refused, its path naming the parameter, for
    an unknown name, a value that cannot be read, and for values that contradict each other.
    """
    reading = _Reading(now)
    for name, text in parameters:
        page_name = PAGE_ALIASES.get(name, name)
        if page_name in PAGE_KEYS:
            reading.page(page_name, name, text)
        else:
            reading.filter(name, text)
    return reading.query()


def format(query: Query) -> str:
    """Write the filters of `query`, without its page, as the one text in the language of `q` that means the same.

    `parse([("q", format(query))], now=now)` gives the filters back, with a relative range counted from that now.
    """
    terms = [Term(False, c.key, value) for c in query.only for value in c.values]
    terms += [Term(True, c.key, value) for c in query.never for value in c.values]
    terms += [Term(False, "", word) for word in query.words]
    terms += [Term(True, "", word) for word in query.never_words]
    if query.range:
        terms.append(Term(False, "range", query.range))
    since = None if query.range else query.since
    terms += [Term(False, "created", bound) for bound in write_created(since, query.until)]
    return " ".join(map(write_term, terms))


class _Reading:
    """The parameters read so far."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._only: dict[str, set[str]] = {}
        self._never: dict[str, set[str]] = {}
        self._words: set[str] = set()
        self._never_words: set[str] = set()
        self._once: dict[str, str] = {}
        self._range = ""
        self._since: datetime | None = None
        self._until: datetime | None = None
        self._in_language: set[str] = set()
        self._as_parameter: set[str] = set()

    def filter(self, name: str, text: str) -> None:
        """Read one filter given as a parameter."""
        filter = BY_NAME.get(name)
        if filter is None:
            raise refusal(name, f"there is no such filter; known are {', '.join(BY_NAME)}.")
        if filter.kind == "language":
            if self._say_once(filter.name, name, text):
                self._language(text, filter, name)
        elif filter.kind in ("moment", "range"):
            self._time(filter, text, name)
        else:
            self._clause(filter, text, name, never=False, place=self._as_parameter)

    def page(self, key: str, name: str, text: str) -> None:
        """Read one of order, limit, offset and cursor."""
        if not self._say_once(key, name, text):
            return
        if key == "order" and text not in get_args(Order):
            raise refusal(name, f"'{text[:64]}' is neither newest nor oldest.")
        if key == "cursor":
            check_text(text, name, CURSOR_CHARACTERS_MAX)
        if key == "limit":
            _number(name, text, 1, LIMIT_MAX)
        if key == "offset":
            _number(name, text, 0, OFFSET_MAX)

    def query(self) -> Query:
        """Return what was read."""
        for key in sorted(self._in_language & self._as_parameter):
            raise refusal(
                key,
                "it is given both in q and beside it. Write it in one place, so that its meaning is plain.",
            )
        if len(self._words) > WORDS_MAX:
            raise refusal("q", f"at most {WORDS_MAX} free words are searched; quote what belongs together.")
        total = sum(map(len, (*self._only.values(), *self._never.values()))) + len(self._never_words)
        if total > VALUES_MAX:
            raise refusal("q", f"there are {total} values, at most {VALUES_MAX} are allowed in one query.")
        cursor, offset = self._once.get("cursor"), int(self._once.get("offset", 0))
        if cursor and offset:
            raise refusal("cursor", "a cursor already says where the page begins; leave the offset out.")
        return Query(
            only=_clauses(self._only), never=_clauses(self._never),
            words=tuple(sorted(self._words)), never_words=tuple(sorted(self._never_words)),
            since=self._since, until=self._until, range=self._range,
            order=cast(Literal["newest", "oldest"], self._once.get("order", "newest")),
            limit=int(self._once.get("limit", LIMIT_DEFAULT)), offset=offset, cursor=cursor,
        )  # fmt: skip

    def _say_once(self, key: str, name: str, text: str) -> bool:
        """Note the value of a key that has one; True at first, Refused when it is given another one."""
        before = self._once.setdefault(key, text)
        if before != text:
            raise refusal(name, "it is given twice with different values.")
        return True

    def _clause(self, filter: Filter, text: str, name: str, *, never: bool, place: set[str]) -> None:
        clauses = self._never if never else self._only
        if not never:
            place.add(filter.name)
        clauses.setdefault(filter.name, set()).add(read_value(filter, text, name))

    def _time(self, filter: Filter, text: str, name: str) -> None:
        self._say_once(filter.name, name, text)
        check_text(text, name, filter.characters_max)
        if filter.kind == "range":
            if self._since is not None and not self._range:
                raise refusal(name, "a range and a start of its own contradict each other; give one of them.")
            self._range, self._since = text, start_of_range(text, self._now, name)
        elif filter.name == "from":
            self._narrow(Span(read_moment(text, name), None), name)
        else:
            self._narrow(Span(None, read_moment(text, name)), name)

    def _narrow(self, span: Span, name: str) -> None:
        """Keep what lies in `span` too."""
        if span.since is not None:
            if self._range:
                raise refusal(name, "a range and a start of its own contradict each other; give one of them.")
            self._since = span.since if self._since is None else max(self._since, span.since)
        if span.until is not None:
            self._until = span.until if self._until is None else min(self._until, span.until)

    def _language(self, text: str, filter: Filter, name: str) -> None:
        check_text(text, name, filter.characters_max)
        terms = read_terms(text, name)
        if not terms:
            raise refusal(name, "there is nothing in it. Leave it out, or write what to search for.")
        for term in terms:
            if not term.key:
                self._word(term, name)
            elif term.key == "created":
                if term.never:
                    raise refusal(
                        "created", "a time range cannot be excluded; write the range that is wanted."
                    )
                self._narrow(read_created(term.value, "created"), "created")
            else:
                self._term(term)

    def _term(self, term: Term) -> None:
        filter = BY_NAME.get(term.key)
        if filter is not None and filter.kind == "range" and not term.never:
            self._time(filter, term.value, term.key)
        elif filter is None or filter.name not in CLAUSE_KEYS:
            known = ", ".join((*CLAUSE_KEYS, "created", "range"))
            raise refusal(
                term.key,
                f'q knows no such key; known are {known}. To search for a text with a colon, "quote it".',
            )
        else:
            self._clause(filter, term.value, term.key, never=term.never, place=self._in_language)

    def _word(self, term: Term, name: str) -> None:
        check_text(term.value, name, WORD_CHARACTERS_MAX)
        # As it was written, since the id of a target knows case.
        (self._never_words if term.never else self._words).add(term.value)


def _clauses(values: dict[str, set[str]]) -> tuple[Clause, ...]:
    return tuple(Clause(key, tuple(sorted(values[key]))) for key in CLAUSE_KEYS if key in values)


def _number(name: str, text: str, least: int, most: int) -> None:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and least <= int(text) <= most):
        raise refusal(name, f"'{text[:64]}' is no whole number from {least} to {most}.")
