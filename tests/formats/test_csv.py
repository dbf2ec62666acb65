"""CSV: every value is there to be read back, and no spreadsheet runs any of it."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ocsf.random_events import events
from tallystick.formats.csv import COLUMNS, LEAF_HASH, header, row, unguarded

HASH = bytes(range(32))


def read_back(lines: bytes) -> list[dict[str, str]]:
    """Read as any other program does."""
    return list(csv.DictReader(io.StringIO(lines.decode(), newline="")))


@given(event=events)
@settings(max_examples=200, deadline=None)
def test_every_value_comes_back(event: dict[str, Any]) -> None:
    """A value would be cut, mixed up with its neighbour, or turned into another."""
    (found,) = read_back(header() + row(event, HASH))
    assert list(found) == [*COLUMNS, LEAF_HASH]
    assert found[LEAF_HASH] == HASH.hex()
    for name, read in COLUMNS.items():
        value, cell = read(event), unguarded(found[name])
        if value is None:
            assert cell == ""
        else:
            assert cell == value if isinstance(value, str) else json.loads(cell) == value, name


@given(text=st.text(alphabet=st.sampled_from("=+-@\t\r'\"a,\n\0é"), min_size=1, max_size=6))
@settings(max_examples=300)
def test_nothing_runs_in_a_spreadsheet(text: str) -> None:
    """A name that an attacker chose would run as a formula on an auditor's machine."""
    event = {"action": "a", "actor": {"name": text}, "targets": [], "metadata": {"a": text}}
    (found,) = read_back(header() + row(event, HASH))
    assert found["actor_name"][0] not in "=+-@\t\r"
    assert unguarded(found["actor_name"]) == text


def test_bytes_of_a_line() -> None:
    """A column moved or a line ended otherwise would break whoever reads it by place."""
    event = {"action": "=cmd", "outcome": "success", "actor": {"type": "user", "name": 'A "B"'}, "position": 7,
             "targets": [{"type": "t", "id": "-1"}, {"type": "u", "id": "2"}], "before": None, "after": [1.5, True]}  # fmt: skip
    assert header().startswith(b"occurred_at,action,outcome,actor_type,actor_id,")
    assert row(event, b"\1" * 32) == (
        b',\'=cmd,success,user,,"A ""B""",,t,\'-1,,,,,,,,"[1.5,true]",,"[{""id"":""2"",""type"":""u""}]"'
        + b"," * 18 + b"7," + b"01" * 32 + b"\r\n"
    )  # fmt: skip
