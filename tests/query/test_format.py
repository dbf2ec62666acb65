"""The canonical text of a query says what the query says, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tallystick.query import Query, filters_of, format, parse
from tallystick.query.filters import BY_NAME, CLAUSE_KEYS, FILTERS
from tallystick.query.language import Term, read_terms, write_term

NOW = datetime(2026, 11, 21, 15, 30, tzinfo=UTC)
texts = st.text(
    st.one_of(st.sampled_from('abA "\\-:^$.%_'), st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    min_size=1, max_size=12,
)  # fmt: skip


def values_of(key: str) -> st.SearchStrategy[str]:
    """Values that one filter takes."""
    filter = BY_NAME[key]
    if filter.words:
        return st.sampled_from(filter.words)
    if filter.kind == "address":
        return st.ip_addresses().map(str)
    if filter.kind == "pattern":
        return st.from_regex(r"\A\^?[A-Za-z0-9._:/ -]{1,8}\$?\Z")
    return texts


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """Any query, by its parameters."""
    parameters = [
        (key, value)
        for key in draw(st.lists(st.sampled_from(CLAUSE_KEYS), unique=True, max_size=4))
        for value in draw(st.lists(values_of(key), min_size=1, max_size=3))
    ]
    terms = [
        Term(True, key, draw(values_of(key)))
        for key in draw(st.lists(st.sampled_from(CLAUSE_KEYS), max_size=3))
    ]
    terms += [Term(draw(st.booleans()), "", word) for word in draw(st.lists(texts, max_size=4))]
    moments = st.datetimes(datetime(1000, 1, 1), datetime(9000, 1, 1)).map(
        lambda m: m.replace(tzinfo=UTC).isoformat()
    )
    if draw(st.booleans()):
        parameters.append(("range", draw(st.sampled_from(["7d", "today", "1y"]))))
    elif draw(st.booleans()):
        parameters.append(("from", draw(moments)))
    if draw(st.booleans()):
        parameters.append(("to", draw(moments)))
    if terms:
        parameters.append(("q", " ".join(map(write_term, terms))))
    return parse(parameters, now=NOW)


@given(queries())
def test_the_text_of_a_query_is_read_back_as_the_query(query: Query) -> None:
    """A saved or copied query that means something else when it is opened again."""
    text = format(query)
    again = parse([("q", text)] if text else [], now=NOW)
    assert again == filters_of(query)
    assert format(again) == text


@given(st.lists(st.builds(Term, st.booleans(), st.sampled_from(["", "user", "a"]), texts), max_size=5))
def test_terms_are_read_back_as_they_were_written(terms: list[Term]) -> None:
    """A quote, backslash, minus or colon in a value that changes the terms around it."""
    assert read_terms(" ".join(map(write_term, terms))) == terms


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """A text that makes the parser fail in a way no caller expects."""
    from tallystick.errors import Refused

    try:
        terms = read_terms(text)
    except Refused:
        return
    assert read_terms(" ".join(map(write_term, terms))) == terms


def test_a_range_keeps_its_name() -> None:
    """A saved view of the last week that shows the same week for ever."""
    week = parse([("range", "7d")], now=NOW)
    later = parse([("q", format(week))], now=NOW + timedelta(days=1))
    assert format(week) == "range:7d"
    assert later.since == NOW - timedelta(days=6)


def test_every_filter_is_declared_once() -> None:
    """Two filters that answer to one name."""
    names = [name for filter in FILTERS for name in (filter.name, *filter.aliases)]
    assert len(names) == len(set(names)) == len(BY_NAME)
    for filter in FILTERS:
        assert parse([(filter.name, filter.example)], now=NOW) != Query()
