"""Triggers on tables of Django models: a migration makes them, and each transaction tells them who acts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, router
from django.db.backends.signals import connection_created
from django.db.migrations.operations.base import Operation
from django.db.transaction import Atomic

from tallystick.client.context import current
from tallystick.client.trigger_pack import SETTING, capture_table, release_table, told_context
from tallystick.django.registry import watched
from tallystick.outbox.rows import snake
from tallystick.outbox.table import TABLE

_TELL = f"SELECT set_config('{SETTING}', %s, true)"
_IDLE = 0  # psycopg's word for no transaction
_COMPLETE = """\
SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
AND t.tgname IN ('tallystick_insert', 'tallystick_update', 'tallystick_delete', 'tallystick_truncate')
GROUP BY c.oid HAVING count(*) = 4"""
_READS = (
    "SELECT",
    "SAVEPOINT",
    "RELEASE",
    "SET",
    "SHOW",
    "FETCH",
    "DECLARE",
    "CLOSE",
    "BEGIN",
    "COMMIT",
    "EXPLAIN",
)


class Triggers(Operation):
    """An operation of a migration: have triggers tell every change of a model's table, whoever makes it.

    Repeat it after a change of the primary key; other columns are seen by themselves.

    Args:
        name: of the model, of the app that the migration is of. exclude: fields that are in no event.
        type: of the target; by default the model's name in snake_case.
        m2m: whether the tables of its many-to-many fields are told as well.
    """

    reversible = True
    reduces_to_sql = True

    def __init__(
        self, name: str, *, exclude: Iterable[str] = (), type: str | None = None, m2m: bool = True
    ) -> None:
        self.name = name
        self.exclude = tuple(exclude)
        self.type = type
        self.m2m = m2m

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return what makes this operation again."""
        more = {"exclude": self.exclude, "type": self.type, "m2m": self.m2m}
        return (self.__class__.__qualname__, [self.name], more)

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Leave Django's idea of the models as it is."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Make the triggers."""
        self._run(app_label, schema_editor, to_state, released=False)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Take them away."""
        self._run(app_label, schema_editor, from_state, released=True)

    def describe(self) -> str:
        """Return what this does, for people."""
        return f"Record every change of {self.name} by triggers"

    def _run(self, app_label: str, schema_editor: Any, state: Any, *, released: bool) -> None:
        model = state.apps.get_model(app_label, self.name)
        connection = schema_editor.connection
        if connection.vendor != "postgresql" or not router.allow_migrate_model(connection.alias, model):
            return
        fields = model._meta.local_many_to_many if self.m2m else ()
        throughs = [f.remote_field.through for f in fields if f.remote_field.through._meta.auto_created]
        for one in (model, *throughs):
            if released:
                statements = release_table(one._meta.db_table)
            elif one is model:
                statements = statements_for(one, exclude=self.exclude, type=self.type)
            else:
                statements = statements_for(one)
            for sql in statements:
                schema_editor.execute(sql, params=None)
        _forget(connection)


def statements_for(model: Any, *, exclude: Iterable[str] = (), type: str | None = None) -> list[str]:
    """Return the SQL that makes every change of a model's table an event."""
    meta = model._meta
    left_out = set(exclude)
    columns = [f.column for f in meta.local_concrete_fields if {f.name, f.attname} & left_out]
    return capture_table(
        meta.db_table,
        key=[field.column for field in meta.pk_fields],
        type=type or snake(meta.object_name),
        exclude=columns,
        outbox=TABLE,
    )


def install() -> None:
    """Tell the triggers of each PostgreSQL connection who acts, where any model is left to them."""
    connection_created.connect(_created, dispatch_uid="tallystick")
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None:
            _created(connection=connection)


def _created(*, connection: Any, **more: Any) -> None:
    if connection.vendor == "postgresql":  # a new connection, and so another transaction
        others = [one for one in connection.execute_wrappers if not isinstance(one, _Teller)]
        # In front: `with connection.execute_wrapper(…)` takes the last one away at its end.
        connection.execute_wrappers[:] = [_Teller(), *others]


class _Teller:
    """Says once in a transaction, before its first write, what is bound; again when that or the transaction changes."""

    def __init__(self) -> None:
        self._said = ""
        self._busy = False
        self._bound: Any = None
        self._bound_text = ""
        self.tables: frozenset[str] | None = (
            None  # that have triggers of ours; asked once for each connection
        )

    def __call__(self, execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        if context["connection"].connection.info.transaction_status == _IDLE:
            self._said = ""  # this statement begins a new transaction
        if not self._busy and isinstance(sql, str):
            word = sql[:16].lstrip().upper()
            if word.startswith("ROLLBACK"):
                self._said = ""  # what was said since the savepoint is taken back with the rest
            elif not word.startswith(_READS) and self.known(context["connection"]):
                return self._telling(context["connection"], execute, sql, params, many, context)
        return execute(sql, params, many, context)

    def known(self, connection: Any) -> frozenset[str]:
        """Return the tables of this connection's database that have all of the triggers."""
        if self.tables is None:
            with self._aside(), connection.cursor() as cursor:
                cursor.execute(_COMPLETE)
                self.tables = frozenset(name for (name,) in cursor.fetchall())
        return self.tables

    def _telling(self, connection: Any, execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        text = self._text()
        driver = connection.connection
        if not connection.in_atomic_block and driver.autocommit:
            if not text:
                return execute(sql, params, many, context)
            with Atomic(connection.alias, True, False):  # the setting lives as long as a transaction
                self._tell(connection, text)
                return execute(sql, params, many, context)
        if text != self._said:
            self._tell(connection, text)
        return execute(sql, params, many, context)

    def _text(self) -> str:
        bound = current()
        if bound is not self._bound or callable(bound.actor):  # a function is asked each time
            self._bound, self._bound_text = bound, told_context()
        return self._bound_text

    def _tell(self, connection: Any, text: str) -> None:
        with self._aside(), connection.cursor() as cursor:
            cursor.execute(_TELL, (text,))
        self._said = text

    @contextmanager
    def _aside(self) -> Iterator[None]:
        self._busy = True
        try:
            yield
        finally:
            self._busy = False


def triggered(connection: Any, table: str) -> bool:
    """Tell whether triggers see to a table of this database; where they do not yet, the ORM has to."""
    return any(table in one.known(connection) for one in _tellers(connection))


def missing_triggers(using: str) -> list[str]:
    """Return the tables that are left to triggers and have none."""
    connection = connections[using]
    connection.ensure_connection()
    _forget(connection)
    return sorted(
        table for table, one in watched.items() if one.by == "triggers" and not triggered(connection, table)
    )


def _tellers(connection: Any) -> list[_Teller]:
    return [one for one in connection.execute_wrappers if isinstance(one, _Teller)]


def _forget(connection: Any) -> None:
    for one in _tellers(connection):
        one.tables = None
