"""Writes the JSONL export that verifies itself, and proofs of files beside them (docs/reference/export-format.md).

Memory stays constant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tallystick.errors import Tampered
from tallystick.verify.layout import (
    BARE_MAX,
    Header,
    ProofHeader,
    Trailer,
    bare_line,
    full_line,
    header_line,
    proof_line,
    record_line,
    trailer_line,
)
from tallystick.verify.reseal import SEED_BYTES


class ExportRow(NamedTuple):
    """One position of a log: its leaf hash, and for an event in full the leaf, opening and seed as stored.

    `removed` says that the event is gone.
    """

    position: int
    leaf_hash: bytes
    leaf: bytes | None = None
    opening: bytes | None = None
    seed: bytes | None = None
    removed: bool = False


class JsonlWriter:
    """Turns the rows of one export, or with a header of that kind of one proof, into bytes to be sent next.

    Rows come in order of position, one for each position of the range. Raises Tampered at a hole: what is
    not there cannot be exported as if it were.
    """

    def __init__(self, header: Header) -> None:
        self._header = header
        self._first_line = header_line(header)
        self._position = header.start
        self._waiting: list[bytes] = []
        self._waiting_removed = False
        self.has_gaps = False  # whether something was removed or erased, for which records must account
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
                if self._waiting and (len(self._waiting) == BARE_MAX or row.removed != self._waiting_removed):
                    lines.append(self._bare_line())
                self._waiting_removed = row.removed
                self.has_gaps = self.has_gaps or row.removed
                self._waiting.append(row.leaf_hash)
            else:
                if self._waiting:
                    lines.append(self._bare_line())
                lines.append(self._event_line(row.position, row.leaf, row.opening, row.seed))
                self.has_gaps = self.has_gaps or len(row.seed) != SEED_BYTES
                self._events += 1
            self._position += 1
        return b"".join(lines)

    def record(self, row: ExportRow, proof: Sequence[bytes]) -> bytes:
        """Return the line of a record that accounts for gaps, `proof` being its way to the root of the whole log.

        Records come after the last position, in order; raises Tampered when the row is not there in full.
        """
        self._expect(self._header.end)
        if row.leaf is None or row.opening is None or row.seed is None:
            raise Tampered(f"the record at position {row.position} of the log is missing", rule="hole")
        rest = self._bare_line() if self._waiting else b""
        return rest + record_line(row.position, row.leaf, row.opening, row.seed, proof)

    def end(self) -> bytes:
        """Return what still waits and the last line; raises Tampered when positions are missing."""
        self._expect(self._header.end)
        rest = self._bare_line() if self._waiting else b""
        digest = hashlib.sha256(self._first_line).hexdigest()
        return rest + trailer_line(Trailer(events=self._events, bare=self._bare, header_sha256=digest))

    def _event_line(self, position: int, leaf: bytes, opening: bytes, seed: bytes) -> bytes:
        if isinstance(self._header, ProofHeader):
            return proof_line(position, leaf, opening, seed)
        return full_line(position, self._header.organization, leaf, opening, seed)

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
        return bare_line(self._position - len(hashes), hashes, removed=self._waiting_removed)
