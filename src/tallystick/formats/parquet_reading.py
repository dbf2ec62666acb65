"""Reads a Parquet export back as the proof it carries, and compares its columns with what that proof says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tallystick.errors import AuditError, Refused
from tallystick.formats.columns import COLUMNS
from tallystick.formats.parquet import (
    HEADER_KEY,
    PROOF_COLUMNS,
    REST_KEY,
    ROWS_IN_GROUP,
    WITH_STATISTICS,
    require,
    schema,
    shown_columns,
)
from tallystick.verify.beside import Difference, EventRow
from tallystick.verify.layout import ProofHeader

if TYPE_CHECKING:
    import pyarrow

MARK: Final = b"PAR1"
GROUP_BYTES_MAX: Final = 512 << 20  # of one row group, unpacked
WAITING_GROUPS_MAX: Final = 32  # more than are ever read ahead of their comparison
METADATA_BYTES_MAX: Final = 256 << 20
_BARE_START: Final = b'{"position":'
_KEYS: Final = {HEADER_KEY, REST_KEY, b"ARROW:schema"}


class ParquetSubject:
    """One file: `pieces` are the lines of the proof in it, `beside` compares its columns; both read it together."""

    def __init__(self, path: Path) -> None:
        require()
        self._path = path
        self._waiting: list[pyarrow.RecordBatch] = []

    def pieces(self) -> Iterator[bytes]:
        """Yield the lines of the proof; raises Refused where the file is none of ours or cannot be read."""
        import pyarrow.parquet as pq

        self._waiting.clear()
        with _readable(self._path):
            file = pq.ParquetFile(
                self._path, thrift_string_size_limit=METADATA_BYTES_MAX, page_checksum_verification=True
            )
            with file:
                yield from self._lines(file)

    def beside(self, header: ProofHeader) -> ParquetSubject:
        """Return what compares the columns."""
        if header.rendering.format != "parquet":
            raise Refused(f"its proof is of {header.rendering.format}", rule="rendering")
        return self

    def _lines(self, file: Any) -> Iterator[bytes]:
        metadata = file.metadata.metadata or {}
        if set(metadata) != _KEYS or not file.schema_arrow.equals(schema()):
            raise Refused("it has not the columns and the metadata of a Parquet export of Tallystick")
        yield metadata[HEADER_KEY]
        rest = metadata[REST_KEY].splitlines(keepends=True)
        at = 0
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            if group.num_rows > ROWS_IN_GROUP or group.total_byte_size > GROUP_BYTES_MAX:
                raise Refused("a row group is larger than any of ours")
            table = file.read_row_group(number)
            _check_statistics(group, table)
            if sum(batch.num_rows for batch in self._waiting) > WAITING_GROUPS_MAX * ROWS_IN_GROUP:
                self._waiting.clear()  # nobody compares any more: a violation was found
            self._waiting += table.select(list(COLUMNS)).to_batches()
            made: list[bytes] = []
            columns = (table.column(name).to_pylist() for name in ("position", *PROOF_COLUMNS))
            for position, leaf, opening, seed in zip(*columns, strict=True):
                while at < len(rest) and _position_of(rest[at]) < (position or 0):
                    made.append(rest[at])
                    at += 1
                shown = seed if seed.startswith("{") else f'"{seed}"'
                line = f'{{"position":{position},"opening":{opening},"seed":{shown},"leaf":{leaf}}}\n'
                if line.count("\n") != 1:
                    raise Refused("a column of the proof holds more than one line")
                made.append(line.encode())
            yield b"".join(made)
        yield b"".join(rest[at:])

    def take(self, rows: Sequence[EventRow]) -> Difference | None:
        """See `verify.beside.Beside`."""
        import pyarrow as pa

        shown = pa.schema([schema().field(name) for name in COLUMNS])
        found = pa.Table.from_batches(self._waiting, shown)
        mine, self._waiting = found.slice(0, len(rows)), found.slice(len(rows)).to_batches()
        try:
            expected = pa.Table.from_arrays(shown_columns(rows), schema=shown)
        except (AuditError, pa.ArrowException, ValueError, TypeError, LookupError) as error:
            return Difference("the proof", f"an event of it cannot be rendered: {error!r}")
        if expected.equals(mine):
            return None
        return _difference(rows, expected, mine)

    def finish(self) -> Difference | None:
        """See `verify.beside.Beside`."""
        if any(batch.num_rows for batch in self._waiting):
            return Difference("the end of the file", "it has more rows than its proof has events")
        return None


def _difference(rows: Sequence[EventRow], expected: Any, found: Any) -> Difference:
    for name in COLUMNS:
        wanted, is_there = expected.column(name).to_pylist(), found.column(name).to_pylist()
        for row, one, other in zip(rows, wanted, is_there, strict=False):
            if one != other:
                return Difference(
                    f"column {name}",
                    f"it does not say what is proven of the event at position {row.position}",
                )
    return Difference("the rows", "they are not as many as its proof has events")


def _position_of(line: bytes) -> int:
    """Return the position of a line of bare hashes; what is none stands behind every event."""
    digits = line[len(_BARE_START) :].partition(b",")[0] if line.startswith(_BARE_START) else b""
    return int(digits) if digits.isdigit() and len(digits) < 19 else 1 << 62


def _check_statistics(group: Any, table: Any) -> None:
    """Raise Refused unless what a row group says of its values is so: a reader that skips by it would miss rows."""
    from pyarrow import compute

    min_max: Any = compute.min_max  # pyright: ignore[reportAttributeAccessIssue]
    for number in range(group.num_columns):
        column = group.column(number)
        name, said = column.path_in_schema, column.statistics
        if said is None:
            continue
        if name not in WITH_STATISTICS:
            raise Refused(f"the file says what values column {name} has, which ours do not")
        real = min_max(table.column(name)).as_py()
        if not said.has_min_max or (said.min, said.max) != (real["min"], real["max"]):
            raise Refused(f"what the file says of the values of column {name} is not so")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (
        pa.ArrowException,
        OSError,
        UnicodeError,
        ValueError,
        TypeError,
        AttributeError,
        MemoryError,
    ) as error:
        raise Refused(f"{path.name} cannot be read as Parquet: {error}") from None
