"""CSV: every value is there to be read back, and no spreadsheet runs any of it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.event.render import render
from tallystick.formats.columns import COLUMNS
from tallystick.formats.csv import header, rows, unguarded
from tallystick.verify.beside import EventRow
from verify.test_against_event import events, sealed

Event = Mapping[str, Any]


def at(*path: str) -> Callable[[Event], Any]:
    def read(event: Event) -> Any:
        found: Any = event
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    return read


def target(name: str) -> Callable[[Event], Any]:
    return lambda event: event["targets"][0].get(name) if event["targets"] else None


# What each column means, of an event as the API shows it; any other is the field of its own name.
MEANING: dict[str, Callable[[Event], Any]] = {name: at(name) for name in COLUMNS} | {
    **{f"actor_{name}": at("actor", name) for name in ("type", "id", "name", "email", "roles")},
    **{f"target_{name}": target(name) for name in ("type", "id", "name")},
    **{f"error_{name}": at("error", name) for name in ("type", "code", "message")},
    **{name: at("context", name) for name in ("ip", "user_agent", "request_id", "session_id", "trace_id", "http", "location")},
    "on_behalf_of": at("actor", "on_behalf_of"), "credential_id": at("actor", "credential_id"),
    "more_targets": lambda event: event["targets"][1:] or None,
}  # fmt: skip


def read_back(lines: bytes) -> list[dict[str, str]]:
    """Read as any other program does."""
    return list(csv.DictReader(io.StringIO(lines.decode(), newline="")))


def row_of(event: dict[str, Any], position: int = 7) -> EventRow:
    one = sealed(event, bytes(16))
    return EventRow(position, one.leaf, one.opening, one.leaf_hash)


@given(event=events)
@settings(max_examples=200, deadline=None)
def test_every_value_comes_back(event: dict[str, Any]) -> None:
    """A value would be cut, mixed up with its neighbour, or turned into another."""
    row = row_of(event)
    (found,) = read_back(header() + rows([row]))
    again = io.StringIO(newline="")
    csv.writer(again).writerow(found.values())
    assert again.getvalue().encode() == rows([row]), "spelled as Python's own writer does"
    shown = render(row.leaf, row.opening, row.position, with_changes=False)
    assert list(found) == list(COLUMNS)
    assert found.pop("leaf_hash") == row.leaf_hash.hex()
    for name, written in found.items():
        value, cell = MEANING[name](shown), unguarded(written)
        if value is None:
            assert cell == "", name
        else:
            assert cell == value if isinstance(value, str) else json.loads(cell) == value, name


@given(text=st.text(alphabet=st.sampled_from("=+-@\t\r'\"a,\n\0é"), min_size=1, max_size=6))
@settings(max_examples=200)
def test_nothing_runs_in_a_spreadsheet(text: str) -> None:
    """A name that an attacker chose would run as a formula on an auditor's machine, or come back as another."""
    event = {
        "action": "a",
        "actor": {"type": "user", "id": text, "name": text},
        "targets": [],
        "metadata": {"a": text},
    }
    row = row_of(event)
    kept = render(row.leaf, row.opening, 7)["actor"].get("name")
    (found,) = read_back(header() + rows([row]))
    for cell in found.values():
        assert cell[:1] not in tuple("=+-@\t\r")
    assert unguarded(found["actor_name"]) == (kept or "")


def test_bytes_of_a_line() -> None:
    """A column moved or a line ended otherwise would break whoever reads it by place."""
    event = {"action": "a.b", "outcome": "success", "actor": {"type": "user", "id": "=cmd", "name": 'A "B"'},
             "targets": [{"type": "t", "id": "-1"}, {"type": "u", "id": "2"}], "before": None, "after": [1.5, True],
             "id": "018f0000-0000-7000-8000-000000000001"}  # fmt: skip
    row = row_of(event)
    assert header().startswith(b"occurred_at,action,outcome,actor_type,actor_id,")
    assert rows([row]) == (
        b'2026-06-01T12:00:00.000000Z,a.b,success,user,\'=cmd,"A ""B""",,t,\'-1,,,platform,,,,,"[1.5,true]",,'
        b'"[{""id"":""2"",""type"":""u""}]",,,,,,,,,,,key:k,,2026-06-01T12:00:00.000000Z,,,,'
        b"018f0000-0000-7000-8000-000000000001,6f1b2c3d-0000-4000-8000-000000000001,7," + row.leaf_hash.hex().encode()
        + b"\r\n"
    )  # fmt: skip
