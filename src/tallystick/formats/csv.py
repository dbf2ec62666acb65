"""Writes events as CSV (RFC 4180) for spreadsheets and people; a cell holds everything, and runs nowhere."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from io import StringIO
from typing import Any, Final

from msgspec import json

# What a spreadsheet takes for the beginning of a formula; a cell that begins so gets an apostrophe in front.
FORMULA_STARTS: Final = frozenset("=+-@\t\r")
_encode = json.Encoder(order="sorted").encode

Event = Mapping[str, Any]


def _at(*path: str) -> Callable[[Event], Any]:
    """Return what reads the value at a path of the event, None where there is none."""

    def read(event: Event) -> Any:
        found: Any = event
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    return read


def _target(name: str) -> Callable[[Event], Any]:
    return lambda event: event["targets"][0].get(name) if event.get("targets") else None


def _more_targets(event: Event) -> Any:
    return event["targets"][1:] or None


# In this order: what people look for first, then everything else an event has.
COLUMNS: Final[Mapping[str, Callable[[Event], Any]]] = {
    "occurred_at": _at("occurred_at"),
    "action": _at("action"),
    "outcome": _at("outcome"),
    "actor_type": _at("actor", "type"),
    "actor_id": _at("actor", "id"),
    "actor_name": _at("actor", "name"),
    "actor_email": _at("actor", "email"),
    "target_type": _target("type"),
    "target_id": _target("id"),
    "target_name": _target("name"),
    "workspace": _at("workspace"),
    "stream": _at("stream"),
    "ip": _at("context", "ip"),
    "error_code": _at("error", "code"),
    "error_message": _at("error", "message"),
    "before": _at("before"),
    "after": _at("after"),
    "metadata": _at("metadata"),
    "more_targets": _more_targets,
    "actor_roles": _at("actor", "roles"),
    "on_behalf_of": _at("actor", "on_behalf_of"),
    "credential_id": _at("actor", "credential_id"),
    "user_agent": _at("context", "user_agent"),
    "request_id": _at("context", "request_id"),
    "session_id": _at("context", "session_id"),
    "trace_id": _at("context", "trace_id"),
    "http": _at("context", "http"),
    "location": _at("context", "location"),
    "error_type": _at("error", "type"),
    "source": _at("source"),
    "received_at": _at("received_at"),
    "redacted": _at("redacted"),
    "flags": _at("flags"),
    "erased": _at("erased"),
    "id": _at("id"),
    "organization": _at("organization"),
    "position": _at("position"),
}
LEAF_HASH: Final = "leaf_hash"


def header() -> bytes:
    """Return the first line: the names of the columns."""
    return _line([*COLUMNS, LEAF_HASH])


def row(event: Event, leaf_hash: bytes) -> bytes:
    """Return the line of one event, as the API shows it, and of the hash that ties it to its place in the log.

    Text stands as it is, anything else as JSON; a cell that a spreadsheet would run is guarded by an apostrophe.
    """
    cells = [_cell(read(event)) for read in COLUMNS.values()]
    cells.append(leaf_hash.hex())
    return _line(cells)


def unguarded(cell: str) -> str:
    """Return the text that `row` wrote into a cell."""
    return cell[1:] if len(cell) > 1 and cell[0] == "'" and cell[1] in "=+-@\t\r'" else cell


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else _encode(value).decode()
    # An apostrophe before another one is kept apart from a guard.
    if text and (text[0] in FORMULA_STARTS or (text[0] == "'" and len(text) > 1 and text[1] in "=+-@\t\r'")):
        return "'" + text
    return text


def _line(cells: list[str]) -> bytes:
    out = StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue().encode()
