"""Writes the JSONL export that verifies itself (docs/reference/export-format.md); memory stays constant."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from tallystick.errors import Tampered
from tallystick.verify.layout import (
    BARE_MAX,
    Header,
    Trailer,
    bare_line,
    full_line,
    header_line,
    trailer_line,
)


class ExportRow(NamedTuple):
    """One position of a log: its leaf hash, and for an event in full the leaf, opening and seed as stored."""

    position: int
    leaf_hash: bytes
    leaf: bytes | None = None
    opening: bytes | None = None
    seed: bytes | None = None


class JsonlWriter:
    """Turns the rows of one export into its bytes; every method returns what to send next.

    Rows come in order of position, one for each position of the range. Raises Tampered at a hole: what is
    not there cannot be exported as if it were.
    """

    def __init__(self, header: Header) -> None:
        self._header = header
        self._first_line = header_line(header)
        self._position = header.start
        self._waiting: list[bytes] = []
        self._events = self._bare = 0

    def begin(self) -> bytes:
        """Return the first line."""
        return self._first_line

    def rows(self, rows: Iterable[ExportRow]) -> bytes:
        """Return the lines of some rows; bare hashes wait until they fill a line or an event follows."""
        lines: list[bytes] = []
        for row in rows:
            self._expect(row.position)
            if row.leaf is None or row.opening is None or row.seed is None:
                if len(self._waiting) == BARE_MAX:
                    lines.append(self._bare_line())
                self._waiting.append(row.leaf_hash)
            else:
                if self._waiting:
                    lines.append(self._bare_line())
                lines.append(
                    full_line(row.position, self._header.organization, row.leaf, row.opening, row.seed)
                )
                self._events += 1
            self._position += 1
        return b"".join(lines)

    def end(self) -> bytes:
        """Return what still waits and the last line; raises Tampered when positions are missing."""
        self._expect(self._header.end)
        rest = self._bare_line() if self._waiting else b""
        digest = hashlib.sha256(self._first_line).hexdigest()
        return rest + trailer_line(Trailer(events=self._events, bare=self._bare, header_sha256=digest))

    def _expect(self, position: int) -> None:
        if position != self._position or position > self._header.end:
            raise Tampered(
                f"position {self._position} of the log is missing, {position} follows: nothing more is exported. "
                "Run: tallystick doctor",
                rule="hole",
            )

    def _bare_line(self) -> bytes:
        hashes, self._waiting = self._waiting, []
        self._bare += len(hashes)
        return bare_line(self._position - len(hashes), hashes)
