"""The quick road and the careful road through `prepare` must lead to the same event, always."""

from __future__ import annotations

import json
import math
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.errors import AuditError
from tallystick.event import prepare as prepare_module
from tallystick.event.decode import decode_quick, decode_strict, keys_in
from tallystick.event.ordinary import ordinary
from tallystick.event.redact import Redaction
from tallystick.event.secret_patterns import TEXT_MIN, find_secrets, suspicious

from .making import ORDINARY, REDACTION, body, changed, prepared, sealed
from .strategies import INTEGER_MAX, events, json_values, odd_events, odd_text, text

writings = st.sampled_from(
    [
        {"separators": (",", ":")},
        {"separators": (", ", ": ")},
        {"separators": (" , ", " : ")},
        {"indent": 1},
        {"separators": (",\t", "\t:\r\n"), "ensure_ascii": False},
        {"separators": (",", ":"), "ensure_ascii": False},
    ]
)


def outcome(raw: bytes, redaction: Redaction = REDACTION) -> Any:
    """Return what `prepare` gives for `raw`: the sealed row, or the refusal in full."""
    try:
        row = sealed(prepared(raw, redaction))
    except AuditError as error:
        return type(error), error.path, error.rule, str(error)
    return row


def careful_outcome(raw: bytes, redaction: Redaction = REDACTION) -> Any:
    with mock.patch.object(prepare_module, "decode_quick", return_value=None):
        return outcome(raw, redaction)


@given(odd_events, writings)
@settings(max_examples=200)
def test_same_event_by_both_roads(event: dict[str, Any], writing: dict[str, Any]) -> None:
    """An event must not depend on the road it took, or retries and proofs would depend on luck."""
    raw = json.dumps(event, **writing).encode("utf-8", "surrogatepass")
    assert outcome(raw) == careful_outcome(raw)


@given(odd_events, st.data())
@settings(max_examples=150)
def test_same_verdict_on_broken_bytes(event: dict[str, Any], data: st.DataObject) -> None:
    """Neither road may accept a document the other refuses."""
    raw = bytearray(json.dumps(event).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        cut = data.draw(st.integers(0, 3))
        raw[at : at + cut] = data.draw(
            st.sampled_from(
                [b"", b'"', b":", b",", b"}", b"{", b"\\", b" ", b"0", b"1e9", b"\xff", b"\\ud800", b'"a":1,']
            )
        )
    assert outcome(bytes(raw)) == careful_outcome(bytes(raw))


@given(odd_events)
@settings(max_examples=60)
def test_same_event_without_redaction(event: dict[str, Any]) -> None:
    """Switching redaction off must not open a gap between the roads."""
    off = Redaction(key=REDACTION.key, enabled=False)
    assert outcome(body(event), off) == careful_outcome(body(event), off)


@given(json_values, writings)
@settings(max_examples=200)
def test_both_decoders_read_the_same(value: Any, writing: dict[str, Any]) -> None:
    """Where the quick decoder answers, its tree must be the strict one's, to the sign of a zero."""
    raw = json.dumps(value, **writing).encode()
    tree = decode_quick(raw)
    if tree is not None and keys_in(raw) == _keys(tree) and _integers_fit(tree):
        assert _exactly(tree) == _exactly(decode_strict(raw))


def _keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_keys, value.values()))
    return sum(map(_keys, value)) if isinstance(value, list) else 0


def _integers_fit(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_integers_fit, value.values()))
    if isinstance(value, list):
        return all(map(_integers_fit, value))
    return not isinstance(value, int) or -INTEGER_MAX <= value <= INTEGER_MAX


def _exactly(value: Any) -> Any:
    """Return `value` in a form in which True, 1, 1.0, -0.0 and a subclass of str all differ."""
    if isinstance(value, dict):
        return [(key, _exactly(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [_exactly(item) for item in value]
    return type(value), math.copysign(1, value) if value == 0 and not isinstance(value, str) else 0, value


@given(st.lists(st.tuples(text | odd_text, st.integers(0, 9)), max_size=4), writings)
@settings(max_examples=150)
def test_keys_are_never_counted_too_low(pairs: list[tuple[str, int]], writing: dict[str, Any]) -> None:
    """A repeated key would be lost in silence if the count of written keys could miss one."""
    colon = writing.get("separators", (",", ": "))[1]
    raw = "{" + ",".join(json.dumps(key) + colon + str(value) for key, value in pairs) + "}"
    assert keys_in(raw.encode()) >= len(pairs)


@pytest.mark.parametrize(
    "event",
    [
        ORDINARY,
        changed("/before/ratio", 0.25),
        changed("/metadata/note", "é \U0001f600 ok"),
        changed("/actor/on_behalf_of", [{"type": "user", "id": "u_2", "name": "Boss"}]),
        changed("/targets", [{"type": "t", "id": str(index)} for index in range(100)]),
        changed("/metadata/usage", {"max_tokens": 512, "prompt_tokens": 12, "temperature": 0.0}),
        changed("/metadata", {"deep": {"a": [{"b": [1, 2, [3]]}]}}),
    ],
)
@pytest.mark.parametrize("writing", [{}, {"indent": 2}, {"separators": (",", ":"), "ensure_ascii": False}])
def test_ordinary_events_take_the_quick_road(event: dict[str, Any], writing: dict[str, Any]) -> None:
    """An everyday event on the careful road would cost four times as much, unseen."""
    raw = json.dumps(event, **writing).encode()
    tree = decode_quick(raw)
    assert tree is not None
    assert ordinary(tree, raw, REDACTION) is not None


@given(st.lists(text | odd_text | st.sampled_from(["sk-", "_", "=", ": ", "\n", "ghp_", "1111"]), max_size=6))
@settings(max_examples=200)
def test_the_sieve_lets_no_secret_through(parts: list[str]) -> None:
    """A text that the cheap sieve passes would be stored with its secret."""
    whole = "".join(parts)
    with mock.patch("tallystick.event.secret_patterns.suspicious", return_value=True):
        found = find_secrets(whole)
    if found:
        assert len(whole) >= TEXT_MIN
        assert suspicious(whole)
        assert suspicious("before\n" + whole + "\nafter"), "texts are sieved together, joined by line feeds"


@given(events())
@settings(max_examples=100)
def test_repeating_a_key_is_always_seen(event: dict[str, Any]) -> None:
    """The second of two equal keys must never win in silence, at any place of the document."""
    raw = json.dumps(event)
    again = raw.replace('"action": ', '"action" : "x.y", "acti\\u006fn": ', 1).encode()
    result = outcome(again)
    assert result[1:3] == ("/action", "duplicate_key")
