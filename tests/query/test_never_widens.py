"""Whatever is added to a query, it never finds more; whatever is not understood, it is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import Refused
from tallystick.query import FILTERS, PAGE_ALIASES, Query, matches, parse
from tallystick.query.filters import BY_NAME, PAGE_KEYS

NOW = datetime(2026, 11, 21, 15, 30, tzinfo=UTC)
VALUES = {
    "from": ["2026-11-20", "2026-11-22"], "to": ["2026-11-20", "2026-11-22"], "action": ["key", "^a", "zzz"],
    "user": ["ada", "x"], "actor_type": ["user", "agent"], "actor_id": ["u1", "u2"], "workspace": ["-", "w1"],
    "stream": ["platform", "s2"], "outcome": ["success", "denied"], "target_type": ["key", "t2"],
    "target_id": ["k1", "k2"], "verb": ["create", "read"], "ip": ["192.0.2.1", "192.0.2.2"],
    "request_id": ["r1", "r2"],
    "q": ["ada", "-ada", "key -x", "created:>2026-11-20", "-verb:read -ip:192.0.2.2", "k1", '"a.key"'],
}  # fmt: skip
events = st.fixed_dictionaries(
    {
        "action": st.sampled_from(["a.key", "b.key", "other"]),
        "outcome": st.sampled_from(["success", "denied"]),
        "stream": st.sampled_from(["platform", "s2"]),
        "workspace": st.sampled_from([None, "w1"]),
        "occurred_at": st.sampled_from(["2026-11-20T00:00:00.000000Z", "2026-11-21T10:00:00.000000Z"]),
        "actor": st.sampled_from(
            [
                {"type": "user", "id": "u1", "name": "Ada"},
                {"type": "agent", "id": "u2"},
                {"type": "system", "name": "x"},
            ]
        ),
        "targets": st.lists(
            st.fixed_dictionaries(
                {"type": st.sampled_from(["key", "t2"]), "id": st.sampled_from(["k1", "k2"])}
            ),
            max_size=2,
        ),
        "context": st.sampled_from([{}, {"ip": "192.0.2.1", "request_id": "r1"}, {"ip": "192.0.2.2"}]),
    }
)


@st.composite
def asked(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Parameters, each key with all of its values."""
    keys = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=5))
    return [
        (key, value)
        for key in keys
        for value in draw(st.lists(st.sampled_from(VALUES[key]), min_size=1, max_size=1 if key in ("from", "to", "q") else 2))
    ]  # fmt: skip


def fits(query: Query, event: dict[str, Any]) -> bool:
    """Tell whether the event matches."""
    return matches(query, event, verb_of=lambda action: "read" if action == "other" else "create")


@given(asked(), events, st.data())
def test_a_filter_more_never_finds_more(
    parameters: list[tuple[str, str]], event: dict[str, Any], data: st.DataObject
) -> None:
    """A filter that is ignored beside another one, or that lets in what the others keep out."""
    try:
        query = parse(parameters, now=NOW)
    except Refused:
        return
    kept = set(
        data.draw(st.lists(st.sampled_from(sorted({key for key, _ in parameters} or {"q"})), unique=True))
    )
    fewer = parse([(key, value) for key, value in parameters if key in kept], now=NOW)
    assert not fits(query, event) or fits(fewer, event)


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_name_that_is_none_is_refused(name: str, value: str) -> None:
    """A misspelt filter that is passed over."""
    if name in BY_NAME or name in PAGE_KEYS or name in PAGE_ALIASES:
        return
    with pytest.raises(Refused):
        parse([(name, value)], now=NOW)


@given(
    st.sampled_from([name for filter in FILTERS for name in (filter.name, *filter.aliases)]),
    st.text(max_size=30),
)
def test_a_value_is_refused_or_it_filters(name: str, value: str) -> None:
    """A value that is read as no filter at all."""
    try:
        query = parse([(name, value)], now=NOW)
    except Refused:
        return
    assert query != Query()
