"""Writes events as Parquet with their proof in the file: typed columns, leaf, opening and seed beside them.

What no column can hold, the header, hashes of events that do not match, records and trailer, is in the metadata of the file,
in the words of a proof (docs/reference/export-format.md). Needs pyarrow, which is imported when a file is written or read.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from tallystick.errors import Misconfigured, TooLarge
from tallystick.formats.columns import COLUMNS, texts
from tallystick.formats.jsonl import ExportRow, JsonlWriter
from tallystick.verify.beside import EventRow
from tallystick.verify.layout import ProofHeader
from tallystick.verify.reseal import SEED_BYTES

if TYPE_CHECKING:
    import pyarrow

MISSING: Final = "Parquet needs pyarrow, which this installation lacks. Install tallystick[parquet], or take another format."
ROWS_IN_GROUP: Final = 8_192
BYTES_IN_GROUP: Final = 16 << 20  # of leaves and openings; whichever is reached first ends a row group
BARE_MAX: Final = 1_000_000  # hashes in the metadata, which is held in memory by whoever reads the file
MOMENTS: Final = ("occurred_at", "received_at")
PROOF_COLUMNS: Final = ("leaf", "opening", "seed")
# Of these alone a row group says the least and the greatest value, so that readers may skip it; a verifier checks them.
WITH_STATISTICS: Final = (*MOMENTS, "position")
HEADER_KEY: Final = b"tallystick.header"
REST_KEY: Final = b"tallystick.rest"


def available() -> bool:
    """Tell whether pyarrow is installed."""
    return find_spec("pyarrow") is not None


def require() -> None:
    """Raise Misconfigured, which says what to install, unless pyarrow is there."""
    if not available():
        raise Misconfigured(MISSING, rule="no_pyarrow")


@cache
def schema() -> pyarrow.Schema:
    """Return the columns and their types: moments in UTC, the position, and text; then those of the proof."""
    import pyarrow as pa

    kinds: dict[str, Any] = dict.fromkeys(MOMENTS, pa.timestamp("us", tz="UTC")) | {"position": pa.int64()}
    shown = [pa.field(name, kinds.get(name, pa.string())) for name in COLUMNS]
    proof = [pa.field(name, pa.string(), nullable=False) for name in PROOF_COLUMNS]
    return pa.schema([*shown, *proof])


def shown_columns(rows: Sequence[EventRow]) -> list[pyarrow.Array]:
    """Return the columns that people read, of some events; the absent is null.

    Raises Tampered when an event cannot be read, pyarrow.ArrowInvalid when a moment is none.
    """
    import pyarrow as pa

    columns: list[pyarrow.Array] = []
    kinds = schema()
    for name, cells in zip(COLUMNS, zip(*map(texts, rows), strict=True), strict=True):
        kind = kinds.field(name).type
        if name == "position":
            columns.append(pa.array(map(int, cells), kind))
        else:
            column = pa.array([cell or None for cell in cells], pa.string())
            columns.append(column.cast(kind) if name in MOMENTS else column)
    return columns


class ParquetWriter:
    """Turns the rows of one export into a Parquet file, as `JsonlWriter` turns them into lines.

    Row groups are sent as they are full; memory holds one, and the bare hashes, a million at most. Raises what
    `JsonlWriter` raises, TooLarge beyond that, and Misconfigured without pyarrow.
    """

    def __init__(self, header: ProofHeader) -> None:
        require()
        import pyarrow.parquet as pq

        statistics: Any = list(WITH_STATISTICS)
        self._lines = JsonlWriter(header)
        self._sent = _Sent()
        self._bare, self._rest = 0, [b""]
        self._waiting: list[ExportRow] = []
        self._waiting_bytes = 0
        self._file = pq.ParquetWriter(
            self._sent, schema(), compression="zstd", version="2.6", write_statistics=statistics,
            write_page_checksum=True,
        )  # fmt: skip

    @property
    def has_gaps(self) -> bool:
        """Whether something was removed or erased, for which records must account."""
        return self._lines.has_gaps

    def begin(self) -> bytes:
        """Return the first bytes."""
        self._header = self._lines.begin()
        return self._sent.take()

    def rows(self, rows: Iterable[ExportRow]) -> bytes:
        """Return the row groups that these rows complete."""
        for row in rows:
            line = self._lines.rows((row,))
            if row.leaf is None or row.opening is None or row.seed is None:
                self._rest.append(line)
                self._bare += 1
                continue
            self._rest.append(line[: line.rfind(b"\n", 0, -1) + 1])
            self._waiting.append(row)
            self._waiting_bytes += len(row.leaf) + len(row.opening)
            if len(self._waiting) >= ROWS_IN_GROUP or self._waiting_bytes >= BYTES_IN_GROUP:
                self._write_group()
        self._rest = [b"".join(self._rest)] if len(self._rest) > ROWS_IN_GROUP else self._rest
        if self._bare > BARE_MAX:
            raise too_many()
        return self._sent.take()

    def record(self, row: ExportRow, proof: Sequence[bytes]) -> bytes:
        """Take a record that accounts for gaps; see `JsonlWriter.record`."""
        self._rest.append(self._lines.record(row, proof))
        return b""

    def end(self) -> bytes:
        """Return what still waits and the end of the file; raises Tampered when positions are missing."""
        self._rest.append(self._lines.end())
        if self._waiting:
            self._write_group()
        self._file.add_key_value_metadata({HEADER_KEY: self._header, REST_KEY: b"".join(self._rest)})
        self._file.close()
        return self._sent.take()

    def _write_group(self) -> None:
        import pyarrow as pa

        rows, self._waiting, self._waiting_bytes = self._waiting, [], 0
        events = [EventRow(one.position, one.leaf or b"", one.opening or b"", one.leaf_hash) for one in rows]
        seeds = [one.seed or b"" for one in rows]
        proof = [
            [one.leaf.decode() for one in events],
            [one.opening.decode() for one in events],
            [seed.hex() if len(seed) == SEED_BYTES else seed.decode() for seed in seeds],
        ]
        columns = [*shown_columns(events), *(pa.array(one, pa.string()) for one in proof)]
        self._file.write_table(pa.Table.from_arrays(columns, schema=schema()), row_group_size=ROWS_IN_GROUP)


def too_many() -> TooLarge:
    """Return the error of an export that would show more than a million events by their hashes alone."""
    return TooLarge(
        f"A Parquet file holds the hashes of at most {BARE_MAX:,} events that do not match. Narrow the time range, or take "
        "CSV or JSONL, whose proof has no such limit.",
        rule="too_many_hashes",
    )


class _Sent(io.RawIOBase):
    """Where pyarrow writes: what came since the last look."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def take(self) -> bytes:
        joined, self._pieces = b"".join(self._pieces), []
        return joined
