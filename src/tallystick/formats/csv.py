"""Writes events as CSV (RFC 4180) for spreadsheets and people; a cell holds everything, and runs nowhere."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from typing import Final

from tallystick.formats.columns import COLUMNS, texts
from tallystick.verify.beside import EventRow

# What a spreadsheet takes for the beginning of a formula; a cell that begins so gets an apostrophe in front.
FORMULA_STARTS: Final = frozenset("=+-@\t\r")
# An apostrophe before another one is kept apart from a guard.
_AFTER_APOSTROPHE: Final = FORMULA_STARTS | {"'"}


def header() -> bytes:
    """Return the first line: the names of the columns."""
    return _lines([list(COLUMNS)])


def rows(events: Sequence[EventRow]) -> bytes:
    """Return the lines of some events; each ends with the hash that ties it to its place in the log.

    Text stands as it is, anything else as JSON; a cell that a spreadsheet would run is guarded by an apostrophe.
    """
    return _lines([[_guarded(cell) if cell else "" for cell in texts(one)] for one in events])


def unguarded(cell: str) -> str:
    """Return the text that `rows` wrote into a cell."""
    return cell[1:] if len(cell) > 1 and cell[0] == "'" and cell[1] in _AFTER_APOSTROPHE else cell


def _guarded(text: str) -> str:
    first = text[0]
    if first in FORMULA_STARTS or (first == "'" and text[1:2] in _AFTER_APOSTROPHE):
        return "'" + text
    return text


def _lines(lines: Sequence[Sequence[str]]) -> bytes:
    out = StringIO(newline="")
    csv.writer(out).writerows(lines)
    return out.getvalue().encode()
