"""An outbox by the address of its database: what the command line and a relay process of its own use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec import Struct

from tallystick.client.delivery import gap_event_of
from tallystick.client.recorder import Recorder, unix_ms
from tallystick.client.settings import Settings
from tallystick.client.spool import Gap
from tallystick.errors import Misconfigured, NotFound, TryLater
from tallystick.outbox.plain import Outbox
from tallystick.outbox.relay import Pace, relay_until, settled
from tallystick.outbox.shipping import Outcome, Shipping
from tallystick.outbox.table import Lag, Statement, Statements

LETTERS_MAX = 1_000


class Letter(Struct, frozen=True):
    """One event that the server will never take, and why."""

    seq: int
    id: str
    event: bytes
    why: str


@asynccontextmanager
async def opened(dsn: str, table: str) -> AsyncIterator[Any]:
    """Open a connection to the database of an outbox; NotFound where it has none, TryLater where it is away."""
    try:
        import asyncpg
    except ImportError:
        raise Misconfigured(
            "this needs asyncpg, which comes with: pip install 'tallystick[server]'"
        ) from None
    try:
        connection = await asyncpg.connect(dsn)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise TryLater(
            f"The database of the outbox does not answer ({type(error).__name__}: {error}). Nothing was changed."
        ) from None
    except ValueError as error:
        raise Misconfigured(f"--dsn is no address of a PostgreSQL database: {error}") from None
    try:
        yield connection
    except asyncpg.UndefinedTableError:
        raise NotFound(
            f"There is no table {table} in this database. Make it with: tallystick outbox table"
        ) from None
    finally:
        await connection.close()


async def lag(dsn: str, table: str) -> Lag:
    """Return what an outbox holds."""
    async with opened(dsn, table) as connection:
        return await Outbox(table).lag_soon(connection)


async def relay_all(dsn: str, table: str, chosen: Settings) -> Pace:
    """Send what waits now and return the numbers; TryLater when the server does not take it."""
    outbox, shipping, pace = Outbox(table), Shipping(chosen), Pace(0.0)
    async with opened(dsn, table) as connection:
        while True:
            outcome = await outbox.round_soon(connection, shipping)
            pace.after(outcome)
            if settled(outcome) == 0:
                return pace


async def relay_on(dsn: str, table: str, chosen: Settings, stop: asyncio.Event, pause_seconds: float) -> Pace:
    """Relay until `stop` is set, over as many connections as it takes."""
    outbox, shipping = Outbox(table), Shipping(chosen)
    await lag(dsn, table)  # a wrong address is best known at once
    holding: list[Any] = []

    async def round() -> Outcome:
        if not holding or holding[0].is_closed():
            holding[:] = [await _connected(dsn)]
        return await outbox.round_soon(holding[0], shipping)

    try:
        return await relay_until(stop, round, pause_seconds=pause_seconds)
    finally:
        for connection in holding:
            connection.terminate()


async def _connected(dsn: str) -> Any:
    import asyncpg

    return await asyncpg.connect(dsn)


async def dead_letters(dsn: str, table: str) -> list[Letter]:
    """Return what the server will never take, oldest first."""
    async with opened(dsn, table) as connection:
        return await _letters(connection, Statements(table, style="dollar"))


async def retry(dsn: str, table: str, wanted: Callable[[Letter], bool]) -> int:
    """Let dead letters wait again, as they are; returns how many."""
    statements = Statements(table, style="dollar")
    async with opened(dsn, table) as connection, connection.transaction():
        seqs = [one.seq for one in await _letters(connection, statements) if wanted(one)]
        if seqs:
            await _run(connection, statements.retry(seqs))
        return len(seqs)


async def discard(dsn: str, table: str, chosen: Settings, wanted: Callable[[Letter], bool]) -> int:
    """Give up dead letters for good, and have the log say how many; both or neither. Returns how many."""
    statements = Statements(table, style="dollar")
    recorder = Recorder(chosen.redaction)
    async with opened(dsn, table) as connection, connection.transaction():
        seqs = [one.seq for one in await _letters(connection, statements) if wanted(one)]
        if seqs:
            now = unix_ms()
            gap = Gap(recorder.new_id(), "discarded", len(seqs), now, now)
            await _run(connection, statements.discard(seqs))
            await _run(connection, statements.insert(gap.id, gap_event_of(recorder)(gap)))
        return len(seqs)


def action_of(letter: Letter) -> str:
    """Return the action of a dead letter, "" for a row that is no event."""
    try:
        tree = msgspec.json.decode(letter.event)
    except msgspec.MsgspecError:
        return ""
    return str(tree.get("action", "")) if isinstance(tree, dict) else ""


async def _letters(connection: Any, statements: Statements) -> list[Letter]:
    return [Letter(*row) for row in await _run(connection, statements.refused(LETTERS_MAX))]


async def _run(connection: Any, statement: Statement) -> Sequence[Any]:
    return await connection.fetch(statement.sql, *statement.values)
