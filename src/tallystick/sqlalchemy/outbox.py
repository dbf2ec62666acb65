"""The outbox as a table of the application's metadata, and the relay over an engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Unpack

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
)
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Session

from tallystick.client.audit import AsyncAudit, Audit
from tallystick.client.recording import Fields
from tallystick.outbox.plain import shipping_of
from tallystick.outbox.relay import PAUSE_SECONDS, Background, run_round, run_round_soon, settled
from tallystick.outbox.shipping import Outcome, Shipping
from tallystick.outbox.table import ROWS_MAX, TABLE, Lag, Statement, Statements, Style, lag_of

AnyAudit = Audit | AsyncAudit
_STYLES: Final[dict[str, Style]] = {"qmark": "question", "numeric_dollar": "dollar"}


class Outbox:
    """The table where events wait inside the application's own transaction.

    Args:
        metadata: of the application's tables; `audit_outbox` becomes one of them, for Alembic as well. name: if it must
            be another.
    """

    def __init__(self, metadata: MetaData, *, name: str = TABLE, schema: str | None = None) -> None:
        self.name = name if schema is None else f"{schema}.{name}"
        self.table = Table(
            name,
            metadata,
            Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
            Column("id", String(36), nullable=False),
            Column("event", LargeBinary, nullable=False),
            Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
            Column("refused", Text),
            schema=schema,
        )

    def record(
        self, session: Session | Connection, audit: AnyAudit, action: str, **fields: Unpack[Fields]
    ) -> str:
        """Record an event within the transaction of `session` and return its id.

        It is in the log if and only if that transaction commits. Raises Refused for a mistake in the call.
        """
        id, raw = audit.compose(action, **fields)
        session.execute(insert(self.table).values(id=id, event=raw))
        return id

    def lag(self, connection: Connection) -> Lag:
        """Return how many events wait in the outbox, since when the oldest does, and how many were refused."""
        return lag_of(_run(connection, self.statements(connection).lag())[0])

    def statements(self, connection: Connection) -> Statements:
        """Return the statements on this table in the words of the connection's driver."""
        style = _STYLES.get(connection.dialect.paramstyle, "format")
        return Statements(self.name, style=style, shared=connection.dialect.name != "sqlite")


def relay(engine: Engine, outbox: Outbox, audit: AnyAudit, *, rows_max: int = ROWS_MAX) -> int:
    """Send committed events to the server and return how many left the outbox; call it until it returns 0.

    Several relays may run: rows that another one holds are skipped. A row is deleted only when the server has
    answered for it; after a crash in between it is sent again, under the same id. Raises TryLater when the server
    takes none, Misconfigured when `audit` has no server.
    """
    return settled(_round(engine, outbox, shipping_of(audit), rows_max))


async def relay_soon(
    engine: AsyncEngine, outbox: Outbox, audit: AnyAudit, *, rows_max: int = ROWS_MAX
) -> int:
    """Do as `relay` does over an engine of asyncio; the event loop never waits for the server."""
    shipping = shipping_of(audit)
    async with engine.begin() as connection:
        statements = await connection.run_sync(outbox.statements)

        async def run(statement: Statement) -> Sequence[Any]:
            return await connection.run_sync(_run, statement)

        outcome = await run_round_soon(statements, shipping, run, rows_max=rows_max)
    return settled(outcome)


class Relay(Background):
    """Relays in a thread for as long as a `with` block lasts, and once more at its end.

    Trouble with the database or the server is logged and tried again: what is committed waits in the outbox.
    """

    def __init__(
        self, engine: Engine, outbox: Outbox, audit: AnyAudit, *, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        shipping = shipping_of(audit)
        super().__init__(lambda: _round(engine, outbox, shipping, ROWS_MAX), pause_seconds=pause_seconds)


def _round(engine: Engine, outbox: Outbox, shipping: Shipping, rows_max: int) -> Outcome:
    with engine.begin() as connection:
        return run_round(
            outbox.statements(connection),
            shipping,
            lambda wanted: _run(connection, wanted),
            rows_max=rows_max,
        )


def _run(connection: Connection, statement: Statement) -> Sequence[Any]:
    result = connection.exec_driver_sql(statement.sql, statement.values)
    return result.all() if result.returns_rows else ()
