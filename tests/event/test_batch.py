"""Cutting a batch into events: every event found, none judged, and never more than the limit held."""

from __future__ import annotations

import json
from contextlib import suppress
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import Refused, TooLarge
from tallystick.event.batch import split
from tallystick.event.limits import BATCH_BYTES_MAX, BATCH_EVENTS_MAX

from .strategies import json_values


@given(st.lists(json_values, max_size=6), st.sampled_from([None, 1]))
def test_an_array_comes_apart(values: list[Any], indent: int | None) -> None:
    """Whatever the events hold, brackets and commas in texts included, each is found whole."""
    parts = split(json.dumps(values, indent=indent).encode(), ndjson=False)
    assert [json.loads(part) for part in parts] == values


@given(
    st.lists(st.dictionaries(st.text(max_size=3), json_values, max_size=3), max_size=6),
    st.sampled_from(["\n", "\r\n", "\n\n \t\n"]),
)
def test_lines_come_apart(values: list[Any], end: str) -> None:
    """One event a line, whatever the line ends with, blank lines left out."""
    body = "".join(json.dumps(value, ensure_ascii=False) + end for value in values)
    assert [json.loads(part) for part in split(body.encode("utf-8", "surrogatepass"), ndjson=True)] == values


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"[]", []),
        (b" [ ] \n", []),
        (b'[{"a":"\xff"},{"b":1}]', [b'{"a":"\xff"}', b'{"b":1}']),
        (b'[{"a":"\\ud800"}, {"b":"],[\\""}]', [b'{"a":"\\ud800"}', b'{"b":"],[\\""}']),
        (b"[nope, {}]", [b"nope", b"{}"]),
        (b'[{"a":1,}, {}]', [b'{"a":1,}', b"{}"]),
        (b'[{"a":"\x01"}]', [b'{"a":"\x01"}']),
        (b"[1 2]", [b"1 2"]),
        (b'["a" "b", [1,2], {"k":[3,4]}]', [b'"a" "b"', b"[1,2]", b'{"k":[3,4]}']),
        (b"[" + b"[" * 5000 + b"]" * 5000 + b", {}]", [b"[" * 5000 + b"]" * 5000, b"{}"]),
    ],
)
def test_one_bad_event_does_not_cost_the_others(body: bytes, parts: list[bytes]) -> None:
    """What is wrong inside one event is the result of that one, not of the batch."""
    assert split(body, ndjson=False) == parts


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[",
        b"[{}",
        b"[{}}",
        b"[1,]",
        b"[,1]",
        b"[1,,2]",
        b'["a]',
        b"[{}][]",
        b"[{}] x",
        b"[{]}]",
        b"x",
    ],
)
def test_a_broken_array_is_refused(body: bytes) -> None:
    """Where it is unclear what the events are, nothing may be guessed."""
    with pytest.raises(Refused) as caught:
        split(body, ndjson=False)
    assert caught.value.rule == "invalid_json"


@pytest.mark.parametrize("ndjson", [False, True])
def test_the_number_of_events(ndjson: bool) -> None:
    """A thousand events are taken, one more is too large."""
    event = b'{"a":[1,2]}'
    write = (
        (lambda n: b"\n".join([event] * n)) if ndjson else (lambda n: b"[" + b",".join([event] * n) + b"]")
    )
    assert len(split(write(BATCH_EVENTS_MAX), ndjson=ndjson)) == BATCH_EVENTS_MAX
    with pytest.raises(TooLarge) as caught:
        split(write(BATCH_EVENTS_MAX + 1), ndjson=ndjson)
    assert caught.value.rule == "too_many_events"


@pytest.mark.parametrize("ndjson", [False, True])
def test_the_size_of_a_batch(ndjson: bool) -> None:
    """Eight MiB are taken, one byte more is too large."""
    body = b'["' + b"x" * (BATCH_BYTES_MAX - 4) + b'"]'
    assert len(split(body, ndjson=ndjson)) == 1
    with pytest.raises(TooLarge):
        split(body + b" ", ndjson=ndjson)


@pytest.mark.parametrize("unit", [b"1,", b"\n", b'"",', b"{},", b'"\\"",', b"[],"])
def test_hostile_batches_are_quick(unit: bytes) -> None:
    """Millions of tiny items must not fill the memory or stop the server."""
    body = b"[" + unit * ((BATCH_BYTES_MAX - 8) // len(unit)) + b"1]"
    for ndjson in (True, False):
        start = perf_counter()
        with suppress(Refused):
            assert len(split(body, ndjson=ndjson)) <= BATCH_EVENTS_MAX
        assert perf_counter() - start < 3
