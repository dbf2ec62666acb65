"""Events in the outbox of a Django database: written within the transaction at hand, relayed afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Unpack

from django.db import DEFAULT_DB_ALIAS, close_old_connections, connections
from django.db.transaction import Atomic

from tallystick.client.recording import Fields
from tallystick.client.settings import Settings
from tallystick.django.project import nobody, the_audit
from tallystick.errors import Misconfigured
from tallystick.outbox.plain import shipping_of
from tallystick.outbox.relay import PAUSE_SECONDS, Background, run_round, settled
from tallystick.outbox.shipping import Outcome, Shipping
from tallystick.outbox.table import ROWS_MAX, TABLE, Lag, Statement, Statements, lag_of

_AT_ONCE: Final = 500
_INSERT: Final = f"INSERT INTO {TABLE} (id, event) VALUES "  # noqa: S608


def record(action: str, *, using: str = DEFAULT_DB_ALIAS, **fields: Unpack[Fields]) -> str:
    """Record an event within the transaction at hand and return its id; for acts with a name of their own.

    It is in the log if and only if that transaction commits, savepoints included. Raises Misconfigured outside of
    `transaction.atomic()`, where the event would be committed apart from what it is about.
    """
    connection = connections[using]
    if not connection.in_atomic_block and connection.get_autocommit():
        raise Misconfigured(
            "no transaction is open: the event would be committed by itself, apart from the rows it is about. Put both "
            "into transaction.atomic()"
        )
    if fields.get("actor") is None:
        fields["actor"] = nobody()
    made = the_audit().compose(action, **fields)
    write(connection, [made])
    return made[0]


def write(connection: Any, events: Sequence[tuple[str, bytes]]) -> None:
    """Put composed events into the outbox, on this connection and in its transaction."""
    with connection.cursor() as cursor:
        for at in range(0, len(events), _AT_ONCE):
            part = events[at : at + _AT_ONCE]
            values = [value for made in part for value in made]
            cursor.execute(_INSERT + ", ".join(["(%s, %s)"] * len(part)), values)


def relay(*, using: str = DEFAULT_DB_ALIAS, rows_max: int = ROWS_MAX) -> int:
    """Send committed events to the server and return how many left the outbox; call it until it returns 0.

    Several relays may run, of other frameworks as well. A row is deleted only when the server has answered for it.
    Raises TryLater when the server takes none.
    """
    return settled(_round(using, shipping_of(the_audit()), rows_max))


def lag(*, using: str = DEFAULT_DB_ALIAS) -> Lag:
    """Return how many events wait in the outbox, since when the oldest does, and how many were refused."""
    connection = connections[using]
    return lag_of(run(connection, statements_of(connection).lag())[0])


class Relay(Background):
    """Relays in a thread for as long as a `with` block lasts, and once more at its end; on a connection of its own."""

    def __init__(
        self,
        *,
        using: str = DEFAULT_DB_ALIAS,
        settings: Settings | None = None,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        shipping = shipping_of(settings or the_audit())

        def round() -> Outcome:
            close_old_connections()  # one that broke is made anew
            return _round(using, shipping, ROWS_MAX)

        super().__init__(round, pause_seconds=pause_seconds)
        self._using = using

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            connections[self._using].close()


def _round(using: str, shipping: Shipping, rows_max: int) -> Outcome:
    connection = connections[using]
    with Atomic(using, True, True):
        return run_round(
            statements_of(connection), shipping, lambda wanted: run(connection, wanted), rows_max=rows_max
        )


def statements_of(connection: Any) -> Statements:
    """Return the statements on the outbox of this database."""
    return _statements(connection.features.has_select_for_update_skip_locked)


@lru_cache(maxsize=2)
def _statements(shared: bool) -> Statements:
    return Statements(TABLE, style="format", shared=shared)


def run(connection: Any, statement: Statement) -> Sequence[Any]:
    """Run one statement and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement.sql, statement.values)
        return cursor.fetchall() if cursor.description else ()
