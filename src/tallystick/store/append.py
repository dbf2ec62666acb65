"""The append: rows, tiles, dictionaries and head of one log in one transaction. store/DESIGN.md says what always holds.

An append to a log that stands where it is believed to stand is one statement; any other is BEGIN, lock, finish,
COMMIT. Both say in the same words what is to be written: `Append`. Whoever calls this decides what the rows, the
tree and the checkpoint are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from tallystick.errors import AuditError, Refused
from tallystick.store.audit_row import ROW_COLUMNS, Row
from tallystick.store.autocommit import fetch_alone
from tallystick.store.connect import Connection, Pool, transaction
from tallystick.store.queries import load
from tallystick.store.trigrams import array_of

_SQL = load("append")
_ID = ROW_COLUMNS.index("id")
# Data that no retry makes storable: a value the type cannot hold, or an index entry that is too large.
_UNSTORABLE_STATES = ("22", "54")


class NewSubject(NamedTuple):
    """A subject the directory does not have yet; `id` is "" where its type needs none."""

    ref: UUID
    type: str
    id: str


class NewLabel(NamedTuple):
    """A name, e-mail or id a subject was not seen with before, lower case, and its pieces (store/trigrams.py)."""

    ref: UUID
    label: str
    pieces: Sequence[int]


class Tile(NamedTuple):
    """A full tile of 8192 bytes at its place."""

    level: int
    number: int
    hashes: bytes


class Place(NamedTuple):
    """Where a log stands: its size, its frontier's nodes joined, its last signed note, its subjects' epoch."""

    size: int
    frontier: bytes
    note: str
    subject_epoch: int


class Start(NamedTuple):
    """What holds once the lock of a log is taken: where it stands, which ids it holds, whether subjects clash."""

    place: Place
    last_received_at: datetime
    known: frozenset[UUID]
    clash: bool


@dataclass(frozen=True, slots=True)
class Append:
    """One append to one log, from `before` to `size`.

    `received_at` is that of every row; `terms` counts events by (kind, value), `hours` by (hour, outcome);
    `month` is the first instant of the month when its first row is among these; `keep_note` retains the note.
    """

    organization_id: UUID
    before: Place
    received_at: datetime
    rows: Sequence[Row]
    size: int
    frontier: bytes
    note: str
    signed_at: datetime
    keep_note: bool
    month: datetime | None
    tiles: Sequence[Tile]
    terms: dict[tuple[str, str], int]
    hours: dict[tuple[datetime, str], int]
    subjects: Sequence[NewSubject]
    labels: Sequence[NewLabel]


class Unstorable(Refused):
    """The database cannot hold one of these rows, whatever is tried: find out which and refuse it."""

    rule = "unstorable"


async def append_at_once(pool: Pool, append: Append) -> frozenset[UUID] | None:
    """Append in one statement if the log stands exactly at `append.before`; otherwise change nothing.

    Returns None when appended; else the ids the log holds already, empty when it stands elsewhere or a subject
    clashes. Raises UnknownOutcome when the server did not say what happened, Unstorable for impossible data.
    """
    place = append.before
    arguments = (
        *(append.organization_id, place.size, place.frontier, place.note, place.subject_epoch),
        *(append.received_at, [row[_ID] for row in append.rows], append.rows),
        *_finish_arguments(append),
    )
    try:
        (row,) = await fetch_alone(pool, _SQL["append_events"], arguments, changes=True)
    except AuditError as error:
        raise unstorable(error.__cause__) or error from error.__cause__
    return None if row["appended"] else frozenset(row["known"])


def unstorable(error: BaseException | None) -> Unstorable | None:
    """Return what to raise when `error` says that a row can never be stored, None for any other error."""
    state = str(getattr(error, "sqlstate", None) or "")
    if state[:2] not in _UNSTORABLE_STATES:
        return None
    return Unstorable(
        f"The database cannot hold this event ({state}). It was not stored; do not send it again."
    )


async def begin_append(
    connection: Connection, organization_id: UUID, ids: Sequence[UUID], subjects: Sequence[NewSubject]
) -> Start:
    """Take the lock of one log until the transaction ends, and say what holds now."""
    refs, types, names = _columns(subjects, 3)
    row = await connection.fetchrow(_SQL["begin_append"], organization_id, ids, refs, types, names)
    assert row is not None
    place = Place(row["size"], row["frontier"], row["note"], row["subject_epoch"])
    return Start(place, row["last_received_at"], frozenset(row["known"]), row["clash"])


async def write(connection: Connection, append: Append) -> None:
    """Write a whole append, its lock being held; raises Unstorable for data the database cannot hold."""
    try:
        await connection.execute(
            _SQL["finish_append"],
            *(append.organization_id, append.before.size, append.received_at, append.rows),
            *_finish_arguments(append),
        )
    except Exception as error:
        if refused := unstorable(error):
            raise refused from error
        raise


def _finish_arguments(append: Append) -> tuple[Any, ...]:
    return (
        *(append.size, append.frontier, append.note, append.signed_at, append.keep_note, append.month),
        *_columns(append.tiles, 3),
        *_counted(append.terms),
        *_counted(append.hours),
        *_columns(append.subjects, 3),
        *_columns([(ref, label, array_of(pieces)) for ref, label, pieces in append.labels], 3),
    )


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [[row[at] for row in rows] for at in range(width)]


def _counted(counts: dict[tuple[Any, str], int]) -> tuple[list[Any], list[str], list[int]]:
    return [first for first, _ in counts], [second for _, second in counts], list(counts.values())


async def ensure_month(pool: Pool, at: datetime) -> None:
    """Make the partition that holds `at`, unless it is there."""
    async with transaction(pool) as connection:
        await connection.execute(_SQL["ensure_month"], at)


class StoredEvent(NamedTuple):
    """What the log holds under an id; leaf, opening and seed are None where retention removed the row."""

    id: UUID
    position: int
    received_at: datetime
    leaf: bytes | None
    opening: bytes | None
    seed: bytes | None


async def stored_events(pool: Pool, organization_id: UUID, ids: Sequence[UUID]) -> dict[UUID, StoredEvent]:
    """Return what the log holds under those of `ids` that it knows."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = await connection.fetch(_SQL["stored_events"], organization_id, ids)
    return {row["id"]: StoredEvent(*row) for row in rows}


class Quarantined(NamedTuple):
    """An event that broke its action's registered schema: where it is, and what it broke, as JSON."""

    position: int
    action: str
    violations: bytes


async def quarantine(connection: Connection, organization_id: UUID, events: Sequence[Quarantined]) -> None:
    """Keep what these events broke, in the transaction that appends them."""
    await connection.execute(_SQL["quarantine"], organization_id, *_columns(events, 3))
