"""What is kept, held and removed of each log: plans read here, removals done here, both on the keeper's connections.

A removal is one transaction: `begin_removal`, the rows or values themselves, the record appended by the caller, then
`settle`, under the log's lock, which takes what is gone off the dictionaries. docs/explanation/erasure.md says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal, NamedTuple
from uuid import UUID

from tallystick.errors import Misconfigured, Tampered
from tallystick.merkle.tree import HASH_BYTES
from tallystick.store.connect import EVERY, Connection, Pool, transaction
from tallystick.store.months import FOREVER, NEVER, next_month
from tallystick.store.queries import load
from tallystick.store.statement import Statement, assemble
from tallystick.verify.positions import Positions
from tallystick.verify.records import RECORDS

KEEPER = "tallystick_keeper"
TILE = 256
STRETCH = 1 << 20
IDS_AT_ONCE = 20_000

Kind = Literal["retention", "erasure", "fields"]

# The columns of `counted` in the order in which GROUPING numbers them.
_COUNTED = (
    *("action", "workspace", "target_type", "stream", "outcome", "verb", "actor_type", "actor_ref"),
    "hour",
)
_HOUR_BITS = (1 << len(_COUNTED)) - 1 - (1 << len(_COUNTED) - 1 - _COUNTED.index("outcome")) - 1


class Bound(NamedTuple):
    """Up to which position a rule removes; both names None = the rule of everything else."""

    rule: str
    stream: str | None
    workspace: str | None
    bound: int


class MonthSpan(NamedTuple):
    """Positions [first, end) of a log received in the month that begins at `start`."""

    start: datetime
    first: int
    end: int


@dataclass(frozen=True)
class Counts:
    """How many of the rows that are gone each dictionary entry, and each hour with its outcome, counted."""

    terms: Mapping[tuple[str, str], int]
    hours: Mapping[tuple[datetime, str], int]

    @property
    def events(self) -> int:
        """How many rows that were."""
        return sum(self.hours.values())


@cache
def _statement(name: str) -> Statement:
    return assemble(load("keeping"), name)


async def fetch(connection: Connection, named: str, /, **values: Any) -> list[Any]:
    """Run a statement of keeping.sql by its name and return its rows."""
    statement = _statement(named)
    return await connection.fetch(statement.text, *statement.arguments(values))


async def become_keeper(connection: Connection) -> None:
    """Act as the keeper's role until the transaction ends; raises Misconfigured where the login may not."""
    row = await connection.fetchrow(
        "SELECT current_user AS name, EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS exists, "
        "CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = $1) "
        "THEN pg_has_role(current_user, $1, 'SET') ELSE false END AS may"
        if connection.get_server_version().major >= 16
        else "SELECT current_user AS name, EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS exists, "
        "CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = $1) "
        "THEN pg_has_role(current_user, $1, 'MEMBER') ELSE false END AS may",
        KEEPER,
    )
    assert row is not None
    if row["name"] == KEEPER:
        return
    if not row["may"]:
        raise Misconfigured(
            f"Events can only be removed as the role {KEEPER}, which this login is not and may not become. Nothing was "
            f"removed. Let an administrator run: GRANT {KEEPER} TO {row['name']}, or set TALLYSTICK_DATABASE_KEEPER_URL."
        )
    await connection.execute(f"SET LOCAL ROLE {KEEPER}")


async def take_turn(connection: Connection, organization_id: UUID) -> None:
    """Let nobody else change what is kept, held or removed of this organization until the transaction ends."""
    await fetch(connection, "take_turn", organization=organization_id)


async def months(connection: Connection, organization_id: UUID, size: int) -> list[MonthSpan]:
    """Return the months of a log of `size` events, oldest first; the last one is still running."""
    rows = await fetch(connection, "months", organization=organization_id)
    ends = [*(row["first_position"] for row in rows[1:]), size]
    return [MonthSpan(row["month"], row["first_position"], end) for row, end in zip(rows, ends, strict=False)]


def received_within(spans: Sequence[MonthSpan], first: int, end: int) -> tuple[datetime, datetime]:
    """Return between which times positions [first, end) were received, in whole months."""
    touched = [span for span in spans if span.first < end and span.end > first]
    if not touched:
        return NEVER, FOREVER
    return touched[0].start, next_month(touched[-1].start)


async def due(
    connection: Connection,
    organization_id: UUID,
    bounds: Sequence[Bound],
    spans: Sequence[MonthSpan],
    first: int,
    end: int,
    rows_max: int,
    *,
    held: bool,
) -> dict[str, Positions]:
    """Return what of [first, end) is due under which rule, the first `rows_max` positions of it.

    `held` tells whether any hold is in force.
    """
    received_from, received_to = received_within(spans, first, end)
    rows = await fetch(
        connection,
        "due" if held or len(bounds) > 1 else "due_plainly",
        organization=organization_id,
        **_bounds(bounds),
        first=first,
        end=end,
        received_from=received_from,
        received_to=received_to,
        rows_max=rows_max,
        records=sorted(RECORDS),
    )
    found: dict[str, list[tuple[int, int]]] = {}
    for row in rows:
        found.setdefault(row["rule"], []).append((row["first"], row["first"] + row["events"]))
    return {rule: Positions(ranges) for rule, ranges in found.items()}


async def due_count(
    connection: Connection, organization_id: UUID, bounds: Sequence[Bound], first: int, end: int
) -> dict[str, tuple[int, int]]:
    """Return how many events of [first, end) are due under each rule, and how many of them are held."""
    rows = await fetch(
        connection, "due_count", organization=organization_id, **_bounds(bounds), first=first, end=end,
        records=sorted(RECORDS),
    )  # fmt: skip
    return {row["rule"]: (row["events"], row["held"]) for row in rows}


def _bounds(bounds: Sequence[Bound]) -> dict[str, Any]:
    return {
        "rules": [one.rule for one in bounds],
        "streams": [one.stream for one in bounds],
        "workspaces": [one.workspace for one in bounds],
        "bounds": [one.bound for one in bounds],
    }


async def held_among(connection: Connection, organization_id: UUID, positions: Positions) -> Positions:
    """Return which of `positions` a hold in force is for."""
    if not positions:
        return positions
    rows = await fetch(
        connection, "held_among", organization=organization_id, first=positions.ranges[0][0], end=positions.end,
        positions=multirange(positions),
    )  # fmt: skip
    return Positions((row["first"], row["first"] + row["events"]) for row in rows)


async def others_in_month(pool: Pool, organization_id: UUID, span: MonthSpan, rows_max: int) -> int:
    """Return how many rows of other organizations share a month, up to `rows_max`."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        (row,) = await fetch(
            connection, "others_in_month", organization=organization_id, received_from=span.start,
            received_to=next_month(span.start), rows_max=rows_max,
        )  # fmt: skip
    return row["count"]


async def checkpoint_before(
    connection: Connection, organization_id: UUID, moment: datetime
) -> tuple[int, str]:
    """Return size and note of the largest retained checkpoint signed before `moment`, (0, "") without one."""
    rows = await fetch(connection, "checkpoint_before", organization=organization_id, before=moment)
    return (rows[0]["size"], rows[0]["note"]) if rows else (0, "")


async def begin_removal(
    connection: Connection, organization_id: UUID, removal_id: UUID, kind: Kind, positions: Positions
) -> None:
    """Write down what this transaction is about to remove; `removal_id` is that of the event to come.

    Raises Misconfigured where the login may not remove anything.
    """
    await become_keeper(connection)
    await fetch(
        connection, "begin_removal", organization=organization_id, id=removal_id, kind=kind,
        positions=multirange(positions),
    )  # fmt: skip


async def place_removal(
    connection: Connection, organization_id: UUID, removal_id: UUID, position: int, recorded_at: datetime
) -> None:
    """Say where in the log the record of a removal stands."""
    await fetch(
        connection, "place_removal", organization=organization_id, id=removal_id, position=position,
        recorded_at=recorded_at,
    )  # fmt: skip


async def remove_rows(
    connection: Connection,
    organization_id: UUID,
    positions: Positions,
    received: tuple[datetime, datetime],
    forget_before: datetime,
) -> Counts:
    """Remove the rows at `positions`, received within these times, and return what they counted.

    Ids of rows received before `forget_before` are forgotten with them.
    """
    rows = await fetch(
        connection, "remove_rows", organization=organization_id, first=positions.ranges[0][0], end=positions.end,
        received_from=received[0], received_to=received[1], positions=multirange(positions),
        forget_before=forget_before,
    )  # fmt: skip
    return _counts(rows)


async def remove_month(
    connection: Connection, organization_id: UUID, span: MonthSpan, positions: Positions, patience: timedelta
) -> Counts:
    """Remove `positions` from one month by writing anew what stays of it, and return what they counted.

    Raises TryLater (through the driver) when the lock on the table is not granted within `patience`.
    """
    wide = multirange(positions)
    rows = await fetch(
        connection, "count_rows", organization=organization_id, received_from=span.start,
        received_to=next_month(span.start), positions=wide,
    )  # fmt: skip
    await fetch(connection, "unquarantine", organization=organization_id, positions=wide)
    await fetch(connection, "remove_month", organization=organization_id, month=span.start, patience=patience)
    return _counts(rows)


async def forget_ids(
    pool: Pool, organization_id: UUID, span: MonthSpan, positions: Positions, forget_before: datetime
) -> None:
    """Forget the ids of events that are gone with their month, as far as they are old enough."""
    while True:
        async with transaction(pool, organization=organization_id) as connection:
            statement = _statement("forget_ids")
            values = {
                "organization": organization_id, "received_from": span.start,
                "received_to": next_month(span.start), "positions": multirange(positions),
                "forget_before": forget_before, "rows_max": IDS_AT_ONCE,
            }  # fmt: skip
            tag = await connection.execute(statement.text, *statement.arguments(values))
        if tag.split()[-1] == "0":
            return


async def settle(connection: Connection, organization_id: UUID, counts: Counts) -> None:
    """Take what is gone off the dictionaries; the log's lock is held."""
    kinds, values = [kind for kind, _ in counts.terms], [value for _, value in counts.terms]
    numbers = list(counts.terms.values())
    await fetch(
        connection, "lessen_terms", organization=organization_id, kinds=kinds, values=values, numbers=numbers
    )
    await fetch(connection, "drop_terms", organization=organization_id, kinds=kinds, values=values)
    hours, outcomes = [hour for hour, _ in counts.hours], [outcome for _, outcome in counts.hours]
    numbers = list(counts.hours.values())
    await fetch(
        connection,
        "lessen_hours",
        organization=organization_id,
        hours=hours,
        outcomes=outcomes,
        numbers=numbers,
    )
    await fetch(connection, "drop_hours", organization=organization_id, hours=hours, outcomes=outcomes)


def _counts(rows: Sequence[Any]) -> Counts:
    terms: dict[tuple[str, str], int] = {}
    hours: dict[tuple[datetime, str], int] = {}
    whole = (1 << len(_COUNTED)) - 1
    for row in rows:
        if row["grouping"] == _HOUR_BITS:
            hours[row["hour"], row["outcome"]] = row["events"]
            continue
        bit = (whole ^ row["grouping"]).bit_length() - 1
        kind = _COUNTED[len(_COUNTED) - 1 - bit]
        terms[kind, row[kind]] = row["events"]
    return Counts(terms, hours)


async def removed_within(connection: Connection, organization_id: UUID, first: int, end: int) -> Positions:
    """Return which positions of [first, end) are gone by a removal on record."""
    rows = await fetch(connection, "removed_within", organization=organization_id, first=first, end=end)
    return Positions((row["first"], row["end"]) for row in rows)


async def missing(
    connection: Connection, organization_id: UUID, present: Sequence[int], first: int, end: int
) -> Positions:
    """Return what of [first, end) is not in `present`, all of it removed on record; raises Tampered otherwise."""
    if len(present) == end - first and (not present or (present[0], present[-1]) == (first, end - 1)):
        return Positions()
    lacking = Positions([(first, end)]) - Positions.of(present)
    holes = lacking - await removed_within(connection, organization_id, first, end)
    if holes:
        raise Tampered(
            f"The event at position {holes.ranges[0][0]} is missing from the log, though the log counts beyond it and no "
            "record says that it was removed. Stop relying on this database, keep it as it is, and run: tallystick doctor",
            rule="hole",
        )
    return lacking


async def first_present(connection: Connection, organization_id: UUID, first: int, end: int) -> int:
    """Return the first position of [first, end) whose event was not removed, `end` when all were."""
    while first < end:
        removed = await removed_within(connection, organization_id, first, min(end, first + STRETCH))
        if first not in removed:
            return first
        first = removed.within(first, end).ranges[0][1]
    return end


async def hashes_within(
    connection: Connection, organization_id: UUID, first: int, end: int
) -> dict[int, bytes]:
    """Return the leaf hashes of [first, end) as far as full tiles hold them."""
    found: dict[int, bytes] = {}
    for row in await fetch(connection, "tiles_within", organization=organization_id, first=first, end=end):
        base = row["index"] * TILE
        for at in range(max(first, base), min(end, base + TILE)):
            offset = (at - base) * HASH_BYTES
            found[at] = row["hashes"][offset : offset + HASH_BYTES]
    return found


async def tiles_with(connection: Connection, organization_id: UUID, positions: Positions) -> dict[int, bytes]:
    """Return the full tiles of level 0 that hold the leaf hashes of `positions`, by index."""
    found: dict[int, bytes] = {}
    for first, end in positions.ranges:
        if first // TILE in found and (end - 1) // TILE in found:
            continue
        for row in await fetch(
            connection, "tiles_within", organization=organization_id, first=first, end=end
        ):
            found[row["index"]] = row["hashes"]
    return found


def multirange(positions: Positions) -> str:
    """Return `positions` as PostgreSQL writes an int8multirange."""
    return "{" + ",".join(f"[{first},{end})" for first, end in positions.ranges) + "}"


async def delegated_refs(connection: Connection, organization_id: UUID, first: int, end: int) -> set[UUID]:
    """Return on whose behalf events of [first, end) were done, and who did those."""
    rows = await fetch(connection, "delegated_refs", organization=organization_id, first=first, end=end)
    return {UUID(row["ref"]) for row in rows}


async def take_lease(pool: Pool, name: str, holder: str, now: datetime, until: datetime) -> bool:
    """Become the one server that does `name` until then, or go on being it; False when another one is."""
    async with transaction(pool) as connection:
        return bool(await fetch(connection, "take_lease", name=name, holder=holder, now=now, until=until))


async def drop_lease(pool: Pool, name: str, holder: str, now: datetime) -> None:
    """Let another server do `name` at once."""
    async with transaction(pool) as connection:
        await fetch(connection, "drop_lease", name=name, holder=holder, now=now)
