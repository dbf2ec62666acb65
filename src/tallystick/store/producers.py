"""Rows about producers: how far each log was read, the account of their numbers, their signs of life."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from tallystick.event.numbering import Numbering, Range, Ranges
from tallystick.store.connect import EVERY, Connection, Pool, transaction
from tallystick.store.queries import load
from tallystick.store.read import months_of

_SQL = load("producers")
_RANGE: Final = re.compile(r"\[(\d+),(\d+)\)")


class Behind(NamedTuple):
    """A log with events that were not looked at yet: how far it was read, and its size."""

    organization_id: UUID
    position: int
    size: int


class NumberedLeaf(NamedTuple):
    """An event that has a number."""

    position: int
    received_at: datetime
    leaf: bytes


class EpochRow(NamedTuple):
    """The account of an epoch, and what of it was reported."""

    producer: str
    epoch: str
    last_event_at: datetime
    account: Numbering
    suspected: Ranges
    suspected_at: datetime | None
    reported: Ranges
    conflicts_reported: bool


class Doubt(NamedTuple):
    """An epoch about which there is something to say; `waiting` is the first number that is still to be sent."""

    organization_id: UUID
    row: EpochRow
    waiting: int | None


class ProducerRow(NamedTuple):
    """A producer as it was seen."""

    id: str
    first_seen_at: datetime
    last_event_at: datetime | None
    last_position: int | None
    beat_at: datetime | None
    beat_epoch: str | None
    beat_last: int | None
    beat_waiting: int | None
    interval_seconds: float | None
    silent_since: datetime | None


class Silence(NamedTuple):
    """A producer that fell silent or came back; `last_at` is its last sign of life before."""

    organization_id: UUID
    id: str
    last_at: datetime
    interval_seconds: float | None


class Claim(NamedTuple):
    """A sign of life by which more was sent than is accounted for."""

    id: str
    epoch: str
    last: int
    beat_at: datetime


def written(ranges: Iterable[Range]) -> str:
    """Return ranges as PostgreSQL writes an int8multirange."""
    return "{" + ",".join(f"[{first},{last + 1})" for first, last in ranges) + "}"


def _ranges(text: str) -> Ranges:
    return Ranges((int(first), int(end) - 1) for first, end in _RANGE.findall(text))


def _epoch(row: Sequence[Any]) -> EpochRow:
    producer, epoch, last_event_at, highest, events, conflicts, missing, unsent, unlisted, floor, *more = row
    account = Numbering(
        highest=highest, events=events, conflicts=conflicts, missing=_ranges(missing), unsent=_ranges(unsent),
        unlisted=unlisted, floor=floor,
    )  # fmt: skip
    suspected, suspected_at, reported, conflicts_reported = more
    return EpochRow(
        producer, epoch, last_event_at, account, _ranges(suspected), suspected_at, _ranges(reported),
        conflicts_reported,
    )  # fmt: skip


async def behind(pool: Pool, limit: int) -> list[Behind]:
    """Return up to `limit` logs that hold events nobody looked at yet."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        return [Behind(*row) for row in await connection.fetch(_SQL["behind"], limit)]


async def lock_cursor(connection: Connection, organization_id: UUID) -> int | None:
    """Return how far a log was read, and keep others from reading on; None while another server does."""
    await connection.execute(_SQL["begin_cursor"], organization_id)
    return await connection.fetchval(_SQL["lock_cursor"], organization_id)


async def move_cursor(connection: Connection, organization_id: UUID, position: int) -> None:
    """Note that a log was read up to `position`."""
    await connection.execute(_SQL["move_cursor"], organization_id, position)


async def numbered(
    connection: Connection, organization_id: UUID, first: int, limit: int
) -> tuple[list[NumberedLeaf], int]:
    """Return the numbered events of up to `limit` positions from `first` on, and the position after them."""
    size = await connection.fetchval(_SQL["size"], organization_id) or 0
    end = min(first + limit, size)
    if first >= end:
        return [], first
    months = await months_of(connection, organization_id, first, end)
    rows = await connection.fetch(_SQL["numbered"], organization_id, first, end, *months)
    return [NumberedLeaf(*row) for row in rows], end


async def known(connection: Connection, organization_id: UUID, ids: Sequence[str]) -> tuple[set[str], int]:
    """Return which of these producers are known, and how many there are altogether."""
    row = await connection.fetchrow(_SQL["known"], organization_id, ids)
    assert row is not None  # an aggregate always answers
    return set(row["known"]), row["total"]


async def epochs_of(
    connection: Connection, organization_id: UUID, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], EpochRow]:
    """Return the accounts of these (producer, epoch), as far as there are any."""
    producers, epochs = [key[0] for key in keys], [key[1] for key in keys]
    rows = [
        _epoch(row) for row in await connection.fetch(_SQL["epochs_of"], organization_id, producers, epochs)
    ]
    return {(row.producer, row.epoch): row for row in rows}


async def put_epoch(
    connection: Connection, organization_id: UUID, key: tuple[str, str], account: Numbering, at: datetime
) -> None:
    """Keep the account of an epoch whose newest event was received `at`."""
    await connection.execute(
        _SQL["put_epoch"], organization_id, *key, at, account.highest, account.events, account.conflicts,
        written(account.missing), written(account.unsent), account.unlisted, account.floor,
    )  # fmt: skip


async def put_producer(
    connection: Connection, organization_id: UUID, id: str, at: datetime, position: int
) -> None:
    """Note the newest numbered event of a producer."""
    await connection.execute(_SQL["put_producer"], organization_id, id, at, position)


async def forget_epochs(connection: Connection, organization_id: UUID, id: str, keep: int) -> None:
    """Forget the oldest complete epochs of a producer beyond `keep`."""
    await connection.execute(_SQL["forget_epochs"], organization_id, id, keep)


async def beat(
    pool: Pool,
    organization_id: UUID,
    id: str,
    at: datetime,
    said: tuple[str, int, int | None, float],
    most: int,
) -> bool:
    """Note a sign of life: epoch, last number, first that waits, interval; False where there are `most` producers."""
    async with transaction(pool, organization=organization_id) as connection:
        found, total = await known(connection, organization_id, [id])
        if not found and total >= most:
            return False
        await connection.execute(_SQL["beat"], organization_id, id, at, *said)
    return True


async def claiming(pool: Pool) -> list[UUID]:
    """Return the organizations in which a sign of life says more than is accounted for."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        return [row["organization_id"] for row in await connection.fetch(_SQL["claiming"])]


async def claims(connection: Connection, organization_id: UUID) -> list[Claim]:
    """Return the signs of life that say more than is accounted for."""
    return [Claim(*row) for row in await connection.fetch(_SQL["claims"], organization_id)]


async def in_doubt(pool: Pool, slack: int) -> list[Doubt]:
    """Return what there may be something to say about, of logs that were read up to `slack` events before their end."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        rows = await connection.fetch(_SQL["in_doubt"], slack)
    return [Doubt(row[0], _epoch(tuple(row)[1:-1]), row[-1]) for row in map(tuple, rows)]


async def suspect(
    pool: Pool, organization_id: UUID, row: EpochRow, missing: Ranges, at: datetime | None
) -> None:
    """Note what is missing, to look at it again later."""
    async with transaction(pool, organization=organization_id) as connection:
        await connection.execute(
            _SQL["suspect"], organization_id, row.producer, row.epoch, written(missing), at
        )


async def report(
    connection: Connection, organization_id: UUID, row: EpochRow, reported: Ranges, *, conflicts: bool
) -> bool:
    """Note what an event tells of; False when another server was faster."""
    values = (
        row.producer,
        row.epoch,
        written(reported),
        conflicts,
        written(row.reported),
        row.conflicts_reported,
    )
    return bool(await connection.fetchval(_SQL["report"], organization_id, *values))


async def fallen_silent(pool: Pool, now: datetime, since: datetime) -> list[Silence]:
    """Return who should have given a sign of life; silence before `since` does not count."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        return [Silence(*row) for row in await connection.fetch(_SQL["fallen_silent"], now, since)]


async def back_again(pool: Pool) -> list[Silence]:
    """Return who was reported as silent and is no longer."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        return [Silence(*row) for row in await connection.fetch(_SQL["back_again"])]


async def set_silent(
    connection: Connection, organization_id: UUID, id: str, since: datetime | None, was: datetime | None
) -> bool:
    """Note reported silence, or with None its end; False when another server was faster."""
    return bool(await connection.fetchval(_SQL["set_silent"], organization_id, id, since, was))


async def listed(
    pool: Pool, organization_id: UUID, after: str, limit: int, epochs_max: int
) -> tuple[list[ProducerRow], list[EpochRow]]:
    """Return up to `limit` producers whose names come after `after`, and their accounts."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        rows = [
            ProducerRow(*row) for row in await connection.fetch(_SQL["list"], organization_id, after, limit)
        ]
        ids = [row.id for row in rows]
        epochs = await connection.fetch(_SQL["epochs"], organization_id, ids, epochs_max)
    return rows, [_epoch(row) for row in epochs]


async def one(
    pool: Pool, organization_id: UUID, id: str, epochs_max: int
) -> tuple[ProducerRow, list[EpochRow]] | None:
    """Return a producer and its accounts, None where there is none of this name."""
    async with transaction(pool, reading=True, organization=organization_id) as connection:
        row = await connection.fetchrow(_SQL["one"], organization_id, id)
        if row is None:
            return None
        epochs = await connection.fetch(_SQL["epochs"], organization_id, [id], epochs_max)
    return ProducerRow(*row), [_epoch(found) for found in epochs]
