"""What Hypothesis draws events from: JSON of every kind, honest events, and events with something odd in them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tallystick.event.model import ACTOR_TYPES, OUTCOMES

INTEGER_MAX = 2**53 - 1

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
clean_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
# Parts that sit next to everything careful: secrets, names of secrets, marks of JSON, astral characters.
odd_text = st.sampled_from(
    [
        "password", "api_key", "token", "sk-abcdefghij0123456789", "Bearer abcdefgh12345678", "max_tokens",
        "value", "name", "Authorization", '":', "\\u0000", "x :y", '\\":', "4111111111111111", "$redacted",
        "\U0001f600", "\ufb33", "a\0b", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "password=hunter2",
        "u:p@h://u:p@h/", "AKIAIOSFODNN7EXAMPLE", " ", "", "-----BEGIN PRIVATE KEY-----", "2026-06-01T12:00:00Z",
    ]
)  # fmt: skip
numbers = (
    st.integers(-INTEGER_MAX, INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, -0.0, 0.1, 1.5, 1e21, 1e-7, 5e-324, 4111111111111111, 2**53, 10**30])
)
scalars = st.none() | st.booleans() | numbers | text | odd_text
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text | odd_text, inner, max_size=4),
    max_leaves=12,
)
# Values no step of the room changes: what is sent is what is shown.
plain_numbers = st.integers(-(10**12), 10**12) | st.sampled_from([0.5, -2.25, 1e-7, 123456.75, 0.1])
plain_keys = st.text("abcdefghijklmno_äß\U0001f600\ufb33", min_size=1, max_size=6)
plain_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0:=>%@"), max_size=7)
plain_json = st.recursive(
    st.none() | st.booleans() | plain_numbers | plain_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain_keys, inner, max_size=4),
    max_leaves=12,
)

ids = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=7)
actions = st.from_regex(r"\A[a-z]{1,8}\.[a-z]{1,8}\Z")


def _optional(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


def _roles(words: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    return _optional({}, {"organization": words, "workspace": words})


def events(
    values: st.SearchStrategy[Any] = plain_json,
    words: st.SearchStrategy[str] = plain_text,
    keys: st.SearchStrategy[str] = plain_keys,
) -> st.SearchStrategy[dict[str, Any]]:
    """Return events every part of which may be there or not; free text from `words`, any JSON from `values`."""
    who = {"name": words, "email": words, "credential_id": ids, "roles": _roles(words)}
    person = {"type": st.sampled_from(ACTOR_TYPES), "id": ids}
    link = _optional(person, who)
    actor = _optional(person, who | {"on_behalf_of": st.lists(link, max_size=3)})
    target = _optional({"type": ids, "id": ids}, {"name": words})
    http = _optional({}, {"method": words, "path": words, "status": st.integers(0, 999)})
    place = _optional({}, {"country": words, "region": words, "city": words})
    context = _optional(
        {},
        {
            "ip": st.ip_addresses().map(str) | words,
            "user_agent": words,
            "request_id": words,
            "session_id": words,
            "trace_id": words,
            "http": http,
            "location": place,
        },
    )
    return _optional(
        {"action": actions, "actor": actor},
        {
            "targets": st.lists(target, max_size=3),
            "occurred_at": st.datetimes().map(lambda moment: moment.isoformat(timespec="microseconds") + "Z"),
            "id": st.uuids().map(str),
            "workspace": ids,
            "stream": st.sampled_from(["platform", "gateway", "okta-1"]),
            "outcome": st.sampled_from(OUTCOMES),
            "error": _optional({}, {"type": words, "code": words, "message": words}),
            "context": context,
            "before": values,
            "after": values,
            "metadata": st.dictionaries(keys, values, max_size=3),
            "producer": producers(),
        },
    )


def producers() -> st.SearchStrategy[dict[str, Any]]:
    """Return what says who numbered an event."""
    names = st.text("abcXYZ0189._:-", max_size=8).map("p".__add__)
    spans = st.tuples(st.integers(1, 50), st.integers(0, 50)).map(
        lambda at: {"first": at[0], "last": sum(at)}
    )
    numbered = {"id": names, "epoch": names, "sequence": st.integers(1, INTEGER_MAX)}
    return _optional(numbered, {"unsent": st.lists(spans, min_size=1, max_size=3)})


odd_events = events(json_values, text | odd_text, text | odd_text)
