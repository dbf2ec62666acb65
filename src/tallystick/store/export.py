"""Reading a range of a log for an export: every position, in full where it matches and as a hash where not.

Each chunk is a short transaction of its own and can be read again: rows never change, and the range was fixed at the
start. No long snapshot holds back the vacuum of the heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from tallystick.query.model import Query
from tallystick.store.conditions import (
    Conditions,
    conditions_of,
    person_texts,
    read_dictionary,
    read_people,
)
from tallystick.store.connect import Connection, Pool, transaction
from tallystick.store.keeping import fetch, hashes_within, missing, removed_within
from tallystick.store.months import FOREVER, NEVER, next_month
from tallystick.store.queries import load
from tallystick.store.rows import SETTINGS, plan_mode
from tallystick.store.statement import assemble

CHUNK_ROWS = 2_000
CHUNK_ROWS_FIRST = 250  # before it is known how large the rows are
CHUNK_ROWS_LEAST = 16
CHUNK_BYTES = 1 << 20

_SQL = load("export")
_CHUNK = assemble({**load("search"), **_SQL}, "chunk")


class Position(NamedTuple):
    """One position of a log; leaf, opening and seed are None where the row does not match, or was `removed`."""

    position: int
    leaf_hash: bytes
    leaf: bytes | None
    opening: bytes | None
    seed: bytes | None
    removed: bool = False


@dataclass(frozen=True)
class Selection:
    """Which rows of a log an export has in full."""

    organization_id: UUID
    query: Query
    conditions: Conditions


async def select(connection: Connection, organization_id: UUID, query: Query) -> Selection:
    """Look the words of a query up in the dictionaries."""
    dictionary = await read_dictionary(connection, organization_id, query)
    people = await read_people(connection, organization_id, person_texts(query))
    conditions = conditions_of(query, dictionary, people=people)
    return Selection(organization_id, query, conditions)


async def span(
    connection: Connection, organization_id: UUID, since: datetime | None, until: datetime | None, size: int
) -> tuple[int, int]:
    """Return the shortest range of positions below `size` that holds every event of a time range.

    What was removed of its months belongs to it too: whoever asks for a time learns that something is gone of it.
    Month by month, so that no statement reads more than one partition's index.
    """
    if since is None and until is None:
        return 0, size
    first, end = size, 0
    months = await connection.fetch(_SQL["months"], organization_id)
    for at, (month, first_position) in enumerate(months):
        after = min(size, months[at + 1][1]) if at + 1 < len(months) else size
        if (since is None or next_month(month) > since) and (until is None or month < until):
            removed = await removed_within(connection, organization_id, first_position, after)
            if removed:
                first, end = min(first, removed.ranges[0][0]), max(end, removed.end)
        if first_position < size:
            found = await connection.fetchrow(
                _SQL["span"],
                organization_id,
                month,
                next_month(month),
                since or NEVER,
                until or FOREVER,
                size,
            )
            if found is not None and found["first"] is not None:
                first, end = min(first, found["first"]), max(end, found["last"] + 1)
    return (first, end) if first < end else (size, size)


async def chunk(
    pool: Pool, selection: Selection, first: int, end: int, rows_max: int = CHUNK_ROWS
) -> list[Position]:
    """Return rows from position `first` on in order, below `end`: at most `rows_max`, and 1 MiB of full rows.

    One row comes always, however large. In place of removed rows come their hashes; raises Tampered at a hole.
    """
    conditions, query = selection.conditions, selection.query
    arguments = {
        **conditions.values,
        "organization": selection.organization_id,
        "nothing": conditions.impossible,
        "since": query.since or NEVER,
        "until": query.until or FOREVER,
        "first": first,
        "end": min(end, first + min(rows_max, CHUNK_ROWS)),
        "bytes_max": CHUNK_BYTES,
    }
    async with transaction(pool, reading=True, organization=selection.organization_id) as connection:
        await connection.execute(f"{SETTINGS}; SET LOCAL plan_cache_mode = {plan_mode(conditions)}")
        found = await connection.fetch(_CHUNK.text, *_CHUNK.arguments(arguments))
        rows = [Position(*row) for row in found]
        reached = rows[-1].position + 1 if rows else arguments["end"]
        return await _with_removed(connection, selection.organization_id, rows, first, reached)


async def _with_removed(
    connection: Connection, organization_id: UUID, rows: list[Position], first: int, end: int
) -> list[Position]:
    """Return `rows` with the hashes of what was removed of [first, end) between them."""
    removed = await missing(connection, organization_id, [row.position for row in rows], first, end)
    if not removed:
        return rows
    hashes = await hashes_within(connection, organization_id, first, end)
    gone = [Position(at, hashes[at], None, None, None, True) for at in removed]
    return sorted([*rows, *gone], key=lambda row: row.position)


async def rows_at(pool: Pool, organization_id: UUID, positions: Sequence[int]) -> list[Position]:
    """Return the rows at some positions, in order, in full."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = await fetch(connection, "rows_at", organization=organization_id, positions=list(positions))
    return [Position(*row) for row in rows]


async def records_within(pool: Pool, organization_id: UUID, first: int, end: int, size: int) -> list[int]:
    """Return where, below `size`, the records stand that account for what is gone of [first, end)."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = await fetch(connection, "records_within", organization=organization_id, first=first, end=end)
    return [row["position"] for row in rows if row["position"] < size]


async def removed_since(pool: Pool, organization_id: UUID, first: int, end: int, size: int) -> bool:
    """Tell whether anything of [first, end) was removed or erased since the log had `size` events."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = await fetch(
            connection, "removed_since", organization=organization_id, first=first, end=end, size=size
        )
    return rows[0]["found"]


def _size(row: Position) -> int:
    return 0 if row.leaf is None else len(row.leaf) + len(row.opening or b"")


def rows_that_fit(rows: Sequence[Position]) -> int:
    """Return how many rows like these to ask for next, so that few are read that a chunk has no room for."""
    held = sum(map(_size, rows))
    return min(CHUNK_ROWS, max(CHUNK_ROWS_LEAST, CHUNK_BYTES * len(rows) // max(1, held)))
