"""Rows of what outsiders know of the instance log: cosignatures, time stamps, and how asking for them went."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from tallystick.store.connect import Connection, Pool, transaction
from tallystick.store.queries import load

_SQL = load("witnesses")


class WitnessRow(NamedTuple):
    """Where a witness stands; `cosigned_size` is -1 before its first cosignature."""

    name: str
    cosigned_size: int
    cosigned_at: datetime
    said_size: int
    failures: int
    failure: str
    alarm: bool
    next_at: datetime


class CosignedSize(NamedTuple):
    """A size of the instance log, the key names of the witnesses that cosigned it, and their latest time."""

    size: int
    witnesses: list[str]
    at: datetime


class StampRow(NamedTuple):
    """A time stamp over the checkpoint of a size: whose, its time, and the answer in DER."""

    size: int
    authority: str
    at: datetime
    answer: bytes


class TaskRow(NamedTuple):
    """How a task beside the log stands: its last success in words, its failures in a row."""

    name: str
    done_at: datetime
    done: str
    next_at: datetime
    failures: int
    failure: str


async def claim(pool: Pool, name: str, now: datetime, until: datetime) -> WitnessRow | None:
    """Take a witness's turn until `until`, None when it is another server's or too early."""
    async with transaction(pool) as connection:
        row = await connection.fetchrow(_SQL["claim"], name, now, until)
    return None if row is None else WitnessRow(*row)


async def standings(pool: Pool) -> list[WitnessRow]:
    """Return where every witness stands that was ever asked."""
    async with transaction(pool, reading=True) as connection:
        return [WitnessRow(*row) for row in await connection.fetch(_SQL["standings"])]


async def succeeded(
    connection: Connection,
    name: str,
    size: int,
    line: str,
    *,
    at: datetime,
    came_at: datetime,
    next_at: datetime,
) -> None:
    """Keep a witness's cosignature of a size: `at` is the witness's time, `came_at` ours."""
    await connection.execute(_SQL["keep_cosignature"], size, name, line, at)
    await connection.execute(_SQL["succeeded"], name, size, came_at, next_at)


async def failed(
    pool: Pool, name: str, said_size: int, failure: str, *, alarm: bool, next_at: datetime
) -> None:
    """Note why a witness did not cosign; `alarm` when it says that histories differ."""
    async with transaction(pool) as connection:
        await connection.execute(_SQL["failed"], name, said_size, failure, alarm, next_at)


async def cosignature_lines(connection: Connection, size: int) -> list[str]:
    """Return the witnesses' lines for a size."""
    return [row["line"] for row in await connection.fetch(_SQL["cosignatures"], size)]


async def cosigned_sizes(connection: Connection, limit: int) -> list[CosignedSize]:
    """Return the newest cosigned sizes, newest first."""
    return [CosignedSize(*row) for row in await connection.fetch(_SQL["cosigned_sizes"], limit)]


async def stamps(connection: Connection, limit: int) -> list[StampRow]:
    """Return the newest time stamps, newest first."""
    return [StampRow(*row) for row in await connection.fetch(_SQL["stamps"], limit)]


async def keep_stamp(connection: Connection, row: StampRow) -> None:
    """Keep a time stamp."""
    await connection.execute(_SQL["keep_stamp"], *row)


async def claim_task(pool: Pool, name: str, now: datetime, until: datetime) -> TaskRow | None:
    """Take a task's turn until `until`, None when it is another server's or too early."""
    async with transaction(pool) as connection:
        row = await connection.fetchrow(_SQL["claim_task"], name, now, until)
    return None if row is None else TaskRow(*row)


async def task(pool: Pool, name: str) -> TaskRow | None:
    """Return how a task stands, None when it was never due."""
    async with transaction(pool, reading=True) as connection:
        row = await connection.fetchrow(_SQL["task"], name)
    return None if row is None else TaskRow(*row)


async def task_done(pool: Pool, name: str, at: datetime, done: str, next_at: datetime) -> None:
    """Note that a task went well."""
    async with transaction(pool) as connection:
        await connection.execute(_SQL["task_done"], name, at, done, next_at)


async def task_failed(pool: Pool, name: str, failure: str, next_at: datetime) -> None:
    """Note why a task failed."""
    async with transaction(pool) as connection:
        await connection.execute(_SQL["task_failed"], name, failure, next_at)
