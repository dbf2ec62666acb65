"""Writes events as CSV (RFC 4180) for spreadsheets and people; a cell holds everything, and runs nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from tallystick.formats.columns import COLUMNS, texts
from tallystick.verify.beside import EventRow

# What a spreadsheet takes for the beginning of a formula; a cell that begins so gets an apostrophe in front.
FORMULA_STARTS: Final = frozenset("=+-@\t\r")
# An apostrophe before another one is kept apart from a guard.
_AFTER_APOSTROPHE: Final = FORMULA_STARTS | {"'"}


# The columns that are JSON more often than not; each of the others is short text.
_JSON_COLUMNS: Final = frozenset(
    at
    for at, name in enumerate(COLUMNS)
    if name in {
        "before", "after", "metadata", "more_targets", "actor_roles", "on_behalf_of", "http", "location", "producer",
        "redacted", "flags", "erased",
    }
)  # fmt: skip
_TEXT_COLUMNS: Final = tuple(at for at in range(len(COLUMNS)) if at not in _JSON_COLUMNS)
_text_of: Final = itemgetter(*_TEXT_COLUMNS)
_COMMAS: Final = len(_TEXT_COLUMNS) - 1
# In a line of text without quotes: what must be quoted, and the beginnings of cells that must be guarded.
_AWKWARD: Final = ('"', "\r", "\n", ",=", ",+", ",-", ",@", ",\t", ",'")


def header() -> bytes:
    """Return the first line: the names of the columns."""
    return ",".join(COLUMNS).encode() + b"\r\n"


def rows(events: Sequence[EventRow]) -> bytes:
    """Return the lines of some events; each ends with the hash that ties it to its place in the log.

    Text stands as it is, anything else as JSON; a cell that a spreadsheet would run is guarded by an apostrophe.
    """
    return "".join([_line(texts(one)) for one in events]).encode()


def unguarded(cell: str) -> str:
    """Return the text that `rows` wrote into a cell."""
    return cell[1:] if len(cell) > 1 and cell[0] == "'" and cell[1] in _AFTER_APOSTROPHE else cell


def _line(cells: list[str]) -> str:
    # A moment comes first, so that no line begins with a formula; a look at all short texts at once is a third of the
    # price of a look at each, and nearly every line passes it.
    plain = ",".join(_text_of(cells))
    if plain.count(",") == _COMMAS and not any(map(plain.__contains__, _AWKWARD)):
        for at in _JSON_COLUMNS:
            if cells[at]:
                cells[at] = _cell(cells[at])
    else:
        cells = [_cell(cell) if cell else "" for cell in cells]
    return ",".join(cells) + "\r\n"


def _cell(text: str) -> str:
    first = text[0]
    if first in FORMULA_STARTS or (first == "'" and text[1:2] in _AFTER_APOSTROPHE):
        text = "'" + text
    if '"' in text:
        return '"' + text.replace('"', '""') + '"'
    return f'"{text}"' if "," in text or "\n" in text or "\r" in text else text
