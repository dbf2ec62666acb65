"""The outbox for applications that speak to PostgreSQL themselves, with psycopg or asyncpg.

outbox = Outbox()                                          # table `audit_outbox`: outbox.create() is its DDL
with connection.transaction():                             # psycopg
    connection.execute("UPDATE budget …")
    outbox.record(connection, audit, "budget.update", target=…)
async with connection.transaction():                       # asyncpg, or psycopg's AsyncConnection
    await outbox.record_soon(connection, audit, "budget.update", target=…)

No driver is imported here: what they have in common is all this needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from os import getpid
from typing import Any, Final, Unpack

from tallystick.client.audit import AsyncAudit, Audit
from tallystick.client.recording import Fields
from tallystick.client.settings import Settings
from tallystick.errors import Misconfigured
from tallystick.outbox.relay import PAUSE_SECONDS, Background, run_round, run_round_soon
from tallystick.outbox.shipping import Outcome, Shipping
from tallystick.outbox.table import ROWS_MAX, TABLE, Lag, Statement, Statements, lag_of

AnyAudit = Audit | AsyncAudit
_IDLE: Final = 0  # psycopg's TransactionStatus.IDLE


class Outbox:
    """Records events in a table of the application's database.

    Args:
        table: its name, with a schema if it needs one.
    """

    def __init__(self, table: str = TABLE) -> None:
        self._format = Statements(table, style="format")
        self._dollar = Statements(table, style="dollar")

    def create(self) -> str:
        """Return the statement that makes the table; for a migration."""
        return self._format.create()

    def record(self, connection: Any, audit: AnyAudit, action: str, **fields: Unpack[Fields]) -> str:
        """Record an event within the transaction of a psycopg connection or cursor, and return its id.

        It is in the log if and only if that transaction commits, savepoints included. Raises Refused for a mistake
        in the call, Misconfigured where no transaction is open that it could be part of.
        """
        _psycopg_in_transaction(connection)
        id, raw = audit.compose(action, **fields)
        statement = self._format.insert(id, raw)
        connection.execute(statement.sql, statement.values)
        return id

    async def record_soon(
        self, connection: Any, audit: AnyAudit, action: str, **fields: Unpack[Fields]
    ) -> str:
        """Record an event as `record` does, on a connection of asyncpg or an async one of psycopg."""
        if is_asyncpg(connection):
            if not connection.is_in_transaction():
                raise _alone()
            id, raw = audit.compose(action, **fields)
            statement = self._dollar.insert(id, raw)
            await connection.execute(statement.sql, *statement.values)
            return id
        _psycopg_in_transaction(connection)
        id, raw = audit.compose(action, **fields)
        statement = self._format.insert(id, raw)
        await connection.execute(statement.sql, statement.values)
        return id

    def lag(self, connection: Any) -> Lag:
        """Return what waits, on a psycopg connection."""
        return lag_of(connection.execute(self._format.lag().sql).fetchone())

    async def lag_soon(self, connection: Any) -> Lag:
        """Return what waits, on an async connection of either driver."""
        return lag_of((await self._run_soon(connection, self._format.lag()))[0])

    def round(self, connection: Any, shipping: Shipping, *, rows_max: int = ROWS_MAX) -> Outcome:
        """Relay once, on a psycopg connection."""

        def run(statement: Statement) -> Sequence[Any]:
            cursor = connection.execute(statement.sql, statement.values)
            return cursor.fetchall() if cursor.description else ()

        with connection.transaction():
            return run_round(self._format, shipping, run, rows_max=rows_max)

    async def round_soon(self, connection: Any, shipping: Shipping, *, rows_max: int = ROWS_MAX) -> Outcome:
        """Relay once, on an async connection of either driver."""
        statements = self._dollar if is_asyncpg(connection) else self._format
        async with connection.transaction():
            return await run_round_soon(
                statements, shipping, lambda wanted: self._run_soon(connection, wanted), rows_max=rows_max
            )

    async def _run_soon(self, connection: Any, statement: Statement) -> Sequence[Any]:
        if is_asyncpg(connection):
            return await connection.fetch(statement.sql, *statement.values)
        cursor = await connection.execute(statement.sql, statement.values)
        return await cursor.fetchall() if cursor.description else ()


class Relay(Background):
    """Relays in a thread while the application runs, on a psycopg connection of its own.

    Args:
        connect: makes that connection, as in `lambda: psycopg.connect(dsn)`; again after it broke.
        audit: whose server and key are used.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        outbox: Outbox,
        audit: AnyAudit | Settings,
        *,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        shipping = shipping_of(audit)
        open_one: list[Any] = []

        def round() -> Outcome:
            if not open_one:
                open_one.append(connect())
                open_one[0].autocommit = True
            try:
                return outbox.round(open_one[0], shipping)
            except BaseException:
                open_one.pop().close()
                raise

        super().__init__(round, pause_seconds=pause_seconds)
        self._open = open_one

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        while self._open:
            self._open.pop().close()


def shipping_of(audit: AnyAudit | Settings) -> Shipping:
    """Return what sends to the server that `audit` records for; Misconfigured when it has none."""
    return _shipping(audit if isinstance(audit, Settings) else audit.recording.delivery.settings, getpid())


@lru_cache(maxsize=8)
def _shipping(chosen: Settings, process: int) -> Shipping:
    return Shipping(
        chosen
    )  # its connections belong to one process, and are worth keeping from round to round


def is_asyncpg(connection: Any) -> bool:
    """Tell whether a connection is asyncpg's (or its pool's), which has a way of its own to be called."""
    return hasattr(connection, "is_in_transaction")


def _psycopg_in_transaction(connection: Any) -> None:
    """Raise unless what is executed now is part of a transaction; a psycopg cursor stands for its connection."""
    found = getattr(connection, "connection", connection)
    if found.autocommit and found.info.transaction_status == _IDLE:
        raise _alone()


def _alone() -> Misconfigured:
    return Misconfigured(
        "no transaction is open on this connection: the event would be committed by itself, apart from the rows it is "
        "about. Open one around both: with connection.transaction(): …"
    )
