"""Verifies every log in a plain pg_dump, offline and without a database.

Two passes over the file: the first takes the small tables, which stand behind the rows; the second the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final
from uuid import UUID

from tallystick.errors import Refused
from tallystick.event.model import OUTCOMES
from tallystick.merkle.tile import TILE_WIDTH
from tallystick.verify.copy_text import (
    LINE_BYTES_MAX,
    Records,
    array,
    binary,
    integer,
    moment,
    multirange,
    text,
    uuid,
)
from tallystick.verify.instance import InstanceCheck, Means
from tallystick.verify.lines import each_line
from tallystick.verify.report import Report, quoted
from tallystick.verify.stored import StoredRow
from tallystick.verify.tables import LogTables, label_key
from tallystick.verify.tree import tile_digest

DUMP_START: Final = b"--\n-- PostgreSQL database dump\n"
ROWS: Final = "audit_logs"
IDS: Final = "idempotency"

Open = Callable[[], Iterable[bytes]]
Row = dict[str, bytes]


def verify_dump(open_dump: Open, means: Means, *, progress: Callable[[int], None] | None = None) -> Report:
    """Verify a plain dump (`pg_dump --format=plain`); `open_dump` gives its bytes from the beginning, twice.

    `progress` is told how many bytes are done, of twice the file's size. Never raises for what the file holds.
    """
    report = Report(subject="dump")
    done = _Progress(progress)
    try:
        beside = _Beside()
        seen = beside.take_all(done.lines(open_dump()))
        if any(tables.removed for tables in beside.tables.values()):
            beside.take_removed_hashes(each_line(open_dump(), LINE_BYTES_MAX))
        if missing := sorted({*_TAKE, ROWS, IDS} - seen):
            report.unchecked = (
                f"it lacks the tables {', '.join(missing)}: dump the whole database as plain text"
            )
            return report
        check = InstanceCheck(beside.tables, means, report)
        _take_rows(done.lines(open_dump()), check)
        for organization_id, tile in beside.tiles:
            check.of(organization_id).add_tile(*tile)
        check.finish()
    except Refused as error:
        report.violate("dump", "the file", str(error))
    except (ValueError, KeyError) as error:
        report.violate("dump", "the file", f"a row of a table beside audit_logs cannot be read: {error}")
    return report


class _Progress:
    def __init__(self, tell: Callable[[int], None] | None) -> None:
        self._tell = tell
        self._bytes = 0

    def lines(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        return each_line(self._counted(chunks), LINE_BYTES_MAX)

    def _counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            self._bytes += len(chunk)
            if self._tell:
                self._tell(self._bytes)


class _Beside:
    """The tables beside the rows, by organization."""

    def __init__(self) -> None:
        self.tables: dict[UUID, LogTables] = {}
        self.tiles: list[tuple[UUID, tuple[int, int, int, bytes]]] = []

    def take_all(self, lines: Iterable[bytes]) -> set[str]:
        """Take every row of the side tables and return the names of all tables of the dump."""
        records = Records(lines, _TAKE.__contains__)
        for record in records:
            row = dict(zip(record.table.columns, record.fields, strict=True))
            _TAKE[record.table.name](self, row)
        parts = {name for name in records.tables if name.startswith(f"{ROWS}_")}
        return records.tables | ({ROWS} if parts or not self._events() else set())

    def _events(self) -> int:
        return sum(tables.size for tables in self.tables.values())

    def of(self, row: Row, column: str = "organization_id") -> LogTables:
        return self.tables.setdefault(uuid(row[column]), LogTables())

    def take_head(self, row: Row) -> None:
        tables = self.of(row)
        if tables.note or tables.size:
            raise Refused("a log has two heads", rule="dump")
        tables.size, tables.frontier = integer(row["size"]), binary(row["frontier"])
        tables.last_received_at, tables.note = moment(row["last_received_at"]), text(row["note"])

    def take_tile(self, row: Row) -> None:
        hashes = binary(row["hashes"])
        tile = (integer(row["level"]), integer(row["index"]), len(hashes), tile_digest(hashes))
        self.tiles.append((uuid(row["organization_id"]), tile))

    def take_removed_hashes(self, lines: Iterable[bytes]) -> None:
        """Take the tiles that hold the leaf hashes of events that are said to be removed."""
        for record in Records(lines, lambda name: name == "log_tiles"):
            row = dict(zip(record.table.columns, record.fields, strict=True))
            tables, index = self.of(row), integer(row["index"])
            if integer(row["level"]) == 0 and tables.removed.within(
                index * TILE_WIDTH, (index + 1) * TILE_WIDTH
            ):
                tables.tile_hashes[index] = binary(row["hashes"])

    def take_removal(self, row: Row) -> None:
        if text(row["kind"]) != "fields":
            tables = self.of(row)
            tables.removed |= multirange(row["positions"])

    def take_checkpoint(self, row: Row) -> None:
        self.of(row).checkpoints.append((integer(row["size"]), text(row["note"])))

    def take_month(self, row: Row) -> None:
        _once(self.of(row).months, moment(row["month"]), integer(row["first_position"]))

    def take_term(self, row: Row) -> None:
        _once(self.of(row).terms, (text(row["kind"]), text(row["value"])), integer(row["events"]))

    def take_hour(self, row: Row) -> None:
        for outcome in OUTCOMES:
            if events := integer(row[outcome]):
                _once(self.of(row).hours, (moment(row["hour"]), outcome), events)

    def take_subject(self, row: Row) -> None:
        _once(self.of(row).subjects, uuid(row["ref"]), (text(row["type"]), text(row["id"])))

    def take_label(self, row: Row) -> None:
        self.of(row).labels.add(label_key(uuid(row["ref"]), text(row["label"])))


def _once(entries: dict[Any, Any], key: Any, value: Any) -> None:
    if key in entries:
        raise Refused(f"the entry {quoted(key)} stands twice", rule="dump")
    entries[key] = value


_TAKE: Final[dict[str, Callable[[_Beside, Row], Any]]] = {
    "organizations": partial(_Beside.of, column="id"),
    "log_head": _Beside.take_head,
    "log_tiles": _Beside.take_tile,
    "log_checkpoints": _Beside.take_checkpoint,
    "log_months": _Beside.take_month,
    "terms": _Beside.take_term,
    "event_counts": _Beside.take_hour,
    "subjects": _Beside.take_subject,
    "subject_labels": _Beside.take_label,
    "removals": _Beside.take_removal,
}


def _take_rows(lines: Iterable[bytes], check: InstanceCheck) -> None:
    wanted = Records(lines, lambda name: name in (IDS, ROWS) or name.startswith(f"{ROWS}_"))
    for record in wanted:
        row = dict(zip(record.table.columns, record.fields, strict=True))
        log = check.of(uuid(row["organization_id"]))
        if record.table.name == IDS:
            log.add_ids([(uuid(row["id"]), integer(row["position"]), moment(row["received_at"]))])
            continue
        try:
            log.add_rows([_stored(row)])
        except (ValueError, KeyError) as error:
            where = f"position {row.get('position', b'?')[:20].decode(errors='replace')}"
            log.report.violate("row", where, f"the row cannot be read: {error}")


def _stored(row: Row) -> StoredRow:
    return StoredRow(**{name: read(row[name]) for name, read in _COLUMNS.items()})


_READ: Final[dict[str, Callable[[bytes], Any]]] = {
    "position": integer, "received_at": moment, "occurred_at": moment, "id": uuid, "actor_ref": uuid,
    "more_targets": array, "leaf_hash": binary, "seed": binary, "leaf": binary, "opening": binary,
}  # fmt: skip
_COLUMNS: Final = {name: _READ.get(name, text) for name in StoredRow._fields}
