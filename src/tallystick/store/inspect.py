"""What an operator or an intruder may have changed in the database besides rows: guards, rights, partitions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tallystick.store.connect import Pool, transaction
from tallystick.store.queries import load

_SQL = load("inspect")


@dataclass(frozen=True)
class Inspection:
    """What was found; empty lists and true are as it must be."""

    unguarded: list[str]
    unchecked: list[str]
    rewriters: list[str]
    unfenced: list[str]
    month_is_there: bool
    oldest_transaction_seconds: float
    size_bytes: int


async def inspect(pool: Pool, now: datetime) -> Inspection:
    """Look at guards, rights, partitions and size of a database."""
    async with transaction(pool, reading=True) as connection:
        return Inspection(
            unguarded=[row["name"] for row in await connection.fetch(_SQL["guards"])],
            unchecked=[row["name"] for row in await connection.fetch(_SQL["leaf_checks"])],
            rewriters=[row["name"] for row in await connection.fetch(_SQL["rewriters"])],
            unfenced=[row["name"] for row in await connection.fetch(_SQL["fences"])],
            month_is_there=bool(await connection.fetchval(_SQL["month_is_there"], now)),
            oldest_transaction_seconds=float(await connection.fetchval(_SQL["oldest_transaction"]) or 0),
            size_bytes=int(await connection.fetchval(_SQL["size_bytes"]) or 0),
        )
