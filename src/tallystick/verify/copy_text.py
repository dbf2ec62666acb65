"""PostgreSQL's text forms as a plain pg_dump writes them: COPY lines, bytea, timestamps, arrays.

Source: PostgreSQL documentation, COPY (Text Format), and the output functions of the types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from tallystick.errors import Refused
from tallystick.verify.positions import Positions

LINE_BYTES_MAX: Final = 16 << 20  # a row with its leaf and opening in hexadecimal
END: Final = rb"\."

_COPY = re.compile(rb'COPY (?:"?public"?\.)?"?(\w+)"? \(([^)]*)\) FROM stdin;')
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_LETTERS: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


class Table(NamedTuple):
    """The beginning of one table's rows: its name without schema, and its columns."""

    name: str
    columns: tuple[str, ...]


class Record(NamedTuple):
    """One row: its table, and its fields as they stand, still escaped."""

    table: Table
    fields: list[bytes]


class Records:
    """Iterates over the rows of those tables of a plain dump that `is_wanted`; `tables` are those it came by.

    Iterating raises Refused when the dump ends inside a table, or a row has more or fewer fields than its table
    has columns.
    """

    def __init__(self, lines: Iterable[bytes], is_wanted: Callable[[str], bool]) -> None:
        self.tables: set[str] = set()
        self._lines, self._is_wanted = lines, is_wanted

    def __iter__(self) -> Iterator[Record]:
        lines = iter(self._lines)
        for line in lines:
            if match := _COPY.match(line):
                table = Table(match[1].decode(), tuple(_names(match[2])))
                self.tables.add(table.name)
                yield from self._rows(table, lines)

    def _rows(self, table: Table, lines: Iterator[bytes]) -> Iterator[Record]:
        is_wanted, width = self._is_wanted(table.name), len(table.columns)
        for line in lines:
            if line == END:
                return
            if is_wanted:
                fields = line.split(b"\t")
                if len(fields) != width:
                    raise Refused(f"a row of {table.name} has {len(fields)} fields, not {width}", rule="dump")
                yield Record(table, fields)
        raise Refused(f"the dump breaks off inside the table {table.name}", rule="dump")


def _names(written: bytes) -> Iterator[str]:
    for name in written.decode().split(","):
        yield name.strip().strip('"')


def unescape(field: bytes) -> bytes | None:
    r"""Return the bytes a field of a COPY line stands for, None for `\N`."""
    if b"\\" not in field:
        return field
    if field == rb"\N":
        return None
    return _ESCAPE.sub(lambda match: _LETTERS.get(match[1], match[1]), field)


def text(field: bytes) -> str:
    """Return a text; raises ValueError for a null or for bytes that are not UTF-8."""
    raw = unescape(field)
    if raw is None:
        raise ValueError("a null stands where a value must be")
    return raw.decode()


def binary(field: bytes) -> bytes:
    """Return a bytea written in hexadecimal; raises ValueError for any other form."""
    digits = field[3:].decode("ascii")
    raw = bytes.fromhex(digits) if field.startswith(rb"\\x") else b""
    if raw.hex() != digits:
        raise ValueError("a bytea is not in hexadecimal")
    return raw


def moment(field: bytes) -> datetime:
    """Return an aware time written as `2026-11-21 12:00:00.5+00`; raises ValueError for any other form."""
    if not _MOMENT.fullmatch(field):
        raise ValueError("a time is not in ISO form with a zone")
    return datetime.fromisoformat(field.decode())


def integer(field: bytes) -> int:
    """Return a whole number; raises ValueError for any other form."""
    if not _INTEGER.fullmatch(field):
        raise ValueError("a number is not a whole one")
    return int(field)


def multirange(field: bytes) -> Positions:
    """Return an int8multirange, its ranges as PostgreSQL writes them; raises ValueError for any other form."""
    if not _MULTIRANGE.fullmatch(field):
        raise ValueError("positions are not written as ranges")
    return Positions((int(first), int(end)) for first, end in _RANGE.findall(field))


def uuid(field: bytes) -> UUID:
    """Return a UUID in its usual form; raises ValueError for any other."""
    written = field.decode("ascii")
    found = UUID(written)
    if str(found) != written:
        raise ValueError("a UUID is not in its usual form")
    return found


_MOMENT = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?[+-]\d\d(?::\d\d)?")
_RANGE = re.compile(rb"\[(\d{1,19}),(\d{1,19})\)")
_MULTIRANGE = re.compile(rb"\{(?:\[\d{1,19},\d{1,19}\),?)*\}")
_INTEGER = re.compile(rb"-?\d{1,19}")


def array(field: bytes) -> tuple[str, ...]:
    """Return the texts of a one-dimensional text[]; raises ValueError for anything else."""
    written = text(field)
    if not (written.startswith("{") and written.endswith("}")):
        raise ValueError("an array has no braces")
    inner, found, at = written[1:-1], [], 0
    while at < len(inner):
        match = _ELEMENT.match(inner, at)
        if match is None or match[0] in ("", "NULL"):
            raise ValueError("an array holds something that is not a text")
        quoted = match[1]
        found.append(match[2] if quoted is None else _BACKSLASH.sub(r"\1", quoted))
        at = match.end()
        if at < len(inner):
            if inner[at] != "," or at + 1 == len(inner):
                raise ValueError("an array's texts are not parted by commas")
            at += 1
    return tuple(found)


_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^",{}\\]*)', re.DOTALL)
_BACKSLASH = re.compile(r"\\(.)", re.DOTALL)
