"""From parameters to a query: strict, by name, and never wider than what was asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tallystick.errors import Refused
from tallystick.query import FILTERS, Clause, Query, filters_of, parse
from tallystick.query.filters import CLAUSE_KEYS, LANGUAGE_CHARACTERS_MAX, VALUES_MAX, WORDS_MAX
from tallystick.query.model import LIMIT_MAX, OFFSET_MAX
from tallystick.query.period import RANGES

NOW = datetime(2026, 11, 21, 15, 30, tzinfo=UTC)


def asked(*parameters: tuple[str, str]) -> Query:
    """Parse at a fixed time."""
    return parse(list(parameters), now=NOW)


def refused(*parameters: tuple[str, str]) -> Refused:
    """Return the refusal of a query."""
    with pytest.raises(Refused) as caught:
        asked(*parameters)
    return caught.value


def test_no_parameters_ask_for_the_newest_fifty() -> None:
    """A search without parameters that is not simply the first page of everything."""
    assert asked() == Query()
    assert (asked().limit, asked().order) == (50, "newest")


def test_a_repeated_key_is_or_and_different_keys_are_and() -> None:
    """Two values of one key that narrow each other, or two keys that widen each other."""
    query = asked(("outcome", "denied"), ("outcome", "failure"), ("verb", "delete"), ("outcome", "denied"))
    assert query.only == (Clause("outcome", ("denied", "failure")), Clause("verb", ("delete",)))


@pytest.mark.parametrize(
    ("alias", "name", "value"),
    [
        ("userSearch", "user", "ada"),
        ("actionFilter", "action", "login"),
        ("projectId", "workspace", "p1"),
        ("project", "workspace", "p1"),
        ("period", "range", "7d"),
        ("startDate", "from", "2026-11-01"),
        ("endDate", "to", "2026-11-01"),
        ("targetKind", "target_type", "key"),
        ("targetId", "target_id", "k"),
        ("type", "verb", "read"),
        ("pageSize", "limit", "7"),
        ("pageOffset", "offset", "7"),
    ],
)
def test_every_alias_means_its_filter(alias: str, name: str, value: str) -> None:
    """A link made by another viewer that no longer means what it said."""
    assert asked((alias, value)) == asked((name, value))


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("colour", "red", "colour"),
        ("", "x", ""),
        ("Action", "x", "Action"),
        ("outcome", "fine", "outcome"),
        ("actor_type", "User", "actor_type"),
        ("verb", "write", "verb"),
        ("ip", "10.0.0.0/8", "ip"),
        ("ip", "192.0.2.1:80", "ip"),
        ("from", "yesterday", "from"),
        ("to", "2026-13-01", "to"),
        ("startDate", "2026-02-30", "startDate"),
        ("range", "8d", "range"),
        ("action", "", "action"),
        ("action", "^", "action"),
        ("action", "^$", "action"),
        ("user", "a\x00b", "user"),
        ("user", "\ud800", "user"),
        ("order", "up", "order"),
        ("limit", "0", "limit"),
        ("limit", str(LIMIT_MAX + 1), "limit"),
        ("limit", "-1", "limit"),
        ("limit", "٣", "limit"),
        ("pageOffset", str(OFFSET_MAX + 1), "pageOffset"),
        ("q", "colour:red", "colour"),
        ("q", "-created:2026-01-01", "created"),
        ("q", "-range:7d", "range"),
        ("q", "limit:3", "limit"),
        ("q", "from:2026-01-01", "from"),
        ("q", "outcome:", "outcome"),
        ("q", 'action:"x', "q"),
        ("q", "a -", "q"),
        ("q", "created:*..*", "created"),
        ("q", "created:>=", "created"),
        ("q", "created:2026-11-01..yesterday", "created"),
        ("q", "q:x", "q"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(name: str, value: str, key: str) -> None:
    """A slip of the hand in a filter that silently shows everything."""
    assert refused((name, value)).path == "/" + key


@pytest.mark.parametrize(
    "parameters",
    [
        [("from", "2026-01-01"), ("from", "2026-01-02")],
        [("range", "7d"), ("range", "24h")],
        [("range", "7d"), ("from", "2026-01-01")],
        [("from", "2026-01-01"), ("range", "7d")],
        [("range", "7d"), ("q", "created:>2026-01-01")],
        [("limit", "5"), ("limit", "6")],
        [("limit", "5"), ("pageSize", "6")],
        [("order", "newest"), ("order", "oldest")],
        [("cursor", "a"), ("cursor", "b")],
        [("cursor", "a"), ("pageOffset", "5")],
        [("q", "a"), ("q", "b")],
        [("outcome", "denied"), ("q", "outcome:failure")],
    ],
)
def test_contradictions_are_refused(parameters: list[tuple[str, str]]) -> None:
    """Two answers to one question, of which one would be picked in silence."""
    refused(*parameters)


def test_the_same_value_twice_is_no_contradiction() -> None:
    """A form that sends a field twice and is refused for it."""
    assert asked(("limit", "5"), ("pageSize", "5")) == asked(("limit", "5"))


def test_limits_are_reached() -> None:
    """A query without bounds: too many values, too many words, a text too long."""
    values = [("target_id", f"t{n}") for n in range(VALUES_MAX)]
    assert len(asked(*values).only[0].values) == VALUES_MAX
    assert refused(*values, ("verb", "read")).rule == "filter"
    words = " ".join(f"w{n}" for n in range(WORDS_MAX))
    assert len(asked(("q", words)).words) == WORDS_MAX
    assert refused(("q", words + " more")).path == "/q"
    assert refused(("q", "x" * (LANGUAGE_CHARACTERS_MAX + 1))).path == "/q"
    for filter in FILTERS:
        if filter.name in CLAUSE_KEYS:
            assert refused((filter.name, "1" * (filter.characters_max + 1))).path == "/" + filter.name
    assert asked(("offset", str(OFFSET_MAX))).offset == OFFSET_MAX


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-01T10:00:00Z", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("2026-11-01T10:00:00.123456+02:00", datetime(2026, 11, 1, 8, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T10:00", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("1793527200000", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("1793527200", datetime(2026, 11, 1, 10, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_documented(text: str, moment: datetime) -> None:
    """A time taken for another one."""
    assert asked(("from", text)).since == moment
    assert asked(("to", text)).until == moment


DAY = datetime(2026, 11, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("value", "since", "until"),
    [
        ("2026-11-01", DAY, DAY + timedelta(days=1)),
        (">=2026-11-01", DAY, None),
        (">2026-11-01", DAY + timedelta(days=1), None),
        ("<2026-11-01", None, DAY),
        ("<=2026-11-01", None, DAY + timedelta(days=1)),
        ("2026-11-01..2026-11-03", DAY, DAY + timedelta(days=3)),
        ("2026-11-01..*", DAY, None),
        ("*..2026-11-01", None, DAY + timedelta(days=1)),
        ("2026-11-01T00:00:00Z", DAY, DAY + TICK),
        (">2026-11-01T00:00:00Z", DAY + TICK, None),
        ("<=2026-11-01T00:00:00Z", None, DAY + TICK),
        ("2026-11-01T00:00:00Z..2026-11-01T00:00:00Z", DAY, DAY + TICK),
    ],
)
def test_created_takes_days_whole_and_instants_exactly(
    value: str, since: datetime | None, until: datetime | None
) -> None:
    """The last day of a range that is missing, or one event too many at its edge."""
    query = asked(("q", f"created:{value}"))
    assert (query.since, query.until) == (since, until)


def test_time_bounds_only_ever_narrow() -> None:
    """A second bound that widens the first."""
    query = asked(("from", "2026-01-05"), ("to", "2026-02-01"), ("q", "created:2026-01-01..2026-01-20"))
    assert (query.since, query.until) == (datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 21, tzinfo=UTC))


@pytest.mark.parametrize(
    ("name", "since"),
    [
        ("15m", NOW - timedelta(minutes=15)),
        ("today", datetime(2026, 11, 21, tzinfo=UTC)),
        ("90d", NOW - timedelta(days=90)),
        ("6mo", datetime(2026, 5, 21, 15, 30, tzinfo=UTC)),
        ("1y", datetime(2025, 11, 21, 15, 30, tzinfo=UTC)),
    ],
)
def test_ranges_begin_when_they_say(name: str, since: datetime) -> None:
    """A preset that shows another span than its name."""
    assert asked(("range", name)).since == since
    assert asked(("range", name)).until is None


def test_months_back_end_on_a_day_that_exists() -> None:
    """Six months before the 31st of August, a day that February does not have."""
    assert parse([("range", "6mo")], now=datetime(2026, 8, 31, tzinfo=UTC)).since == datetime(
        2026, 2, 28, tzinfo=UTC
    )
    for name in RANGES:
        assert parse([("range", name)], now=datetime(2028, 2, 29, tzinfo=UTC)).since is not None


def test_addresses_are_compared_in_one_spelling() -> None:
    """The same address, written otherwise, that finds nothing."""
    assert asked(("ip", "2001:DB8:0::1")) == asked(("ip", "2001:db8::1"))
    assert asked(("ip", "::ffff:192.0.2.1")) == asked(("ip", "192.0.2.1"))


def test_words_and_quotes_of_the_language() -> None:
    """A quote, a minus sign or a colon that is taken for something else."""
    query = asked(
        ("q", r'ada "-minus" "arn:aws:x" "say \"hi\\\"" -"not this" -user:"Ada L" verb:read -action:^x$')
    )
    assert query.words == tuple(sorted(["ada", "-minus", "arn:aws:x", 'say "hi\\"']))
    assert query.never_words == ("not this",)
    assert query.never == (Clause("action", ("^x$",)), Clause("user", ("ada l",)))
    assert query.only == (Clause("verb", ("read",)),)


def test_filters_of_leaves_the_page_behind() -> None:
    """Two pages of one search that are told apart as two searches."""
    query = asked(("user", "ada"), ("limit", "3"), ("order", "oldest"), ("cursor", "c"))
    assert filters_of(query) == asked(("user", "ada"))
