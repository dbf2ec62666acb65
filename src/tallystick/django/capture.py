"""Everything Django's ORM writes to a watched table, told in the same transaction with what was there before.

There is one place that every write passes: the three compilers of INSERT, UPDATE and DELETE. Saves, bulk operations,
`QuerySet.update` and `.delete`, cascades, many-to-many fields, parents, admin and fixtures all end there, whatever
manager, signal or `raw=True` they took on the way. So a way round it would have to be SQL, which is for triggers.

The database says what changed: INSERT and DELETE return their rows, on PostgreSQL an UPDATE its old and new ones, all
in the statement that changes them. Nothing is taken from objects, which may be stale, deferred or expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import transaction
from django.db.models.constants import OnConflict
from django.db.models.sql import compiler as compilers
from msgspec import UNSET

from tallystick.client.trigger_pack import mark
from tallystick.django.outbox import write
from tallystick.django.project import nobody, the_audit
from tallystick.django.registry import Watched, watched
from tallystick.django.rows import Columns, columns_of
from tallystick.django.triggers import triggered
from tallystick.errors import Misconfigured
from tallystick.outbox.rows import Change, composed

ROWS_MAX = 100_000  # of one statement: their events are made in memory
_AT_ONCE: Final = 500
_OLD: Final = "tallystick_old"
_NEW: Final = "tallystick_new"
Row = tuple[tuple[Any, ...], dict[str, Any]]
_originals: Final[dict[str, Callable[..., Any]]] = {}


def install() -> None:
    """Put the capture into the three compilers, once."""
    if _originals:
        return
    for name, kind, hook in (
        ("insert", compilers.SQLInsertCompiler, _insert), ("update", compilers.SQLUpdateCompiler, _update),
        ("delete", compilers.SQLDeleteCompiler, _delete),
    ):  # fmt: skip
        _originals[name] = kind.execute_sql
        kind.execute_sql = hook  # type: ignore[method-assign] - Django has no hook here


def _insert(self: Any, returning_fields: Any = None) -> Any:
    """Stand in for SQLInsertCompiler.execute_sql."""
    told = _watched(self)
    if told is None:
        return _originals["insert"](self, returning_fields)
    meta = _meta(self)
    columns = columns_of(told, meta, self.connection)
    with _in_transaction(self.connection):
        before = _in_the_way(self, columns) if self.query.on_conflict == OnConflict.UPDATE else {}
        # All of a row comes back, so that defaults of the database and what its triggers did are seen as well.
        self.returning_fields = list(meta.local_concrete_fields)
        rows: list[Sequence[Any]] = []
        with self.connection.cursor() as cursor:
            for sql, params in self.as_sql():
                cursor.execute(mark(meta.db_table) + sql + _is_new(self), params)
                rows += cursor.fetchall()
        names = [field.column for field in self.returning_fields]
        order = [names.index(name) for name in columns.plain]
        changes = _inserted(
            self, told, columns, before, ([row[at] for at in order] + [*row[len(names) :]] for row in rows)
        )
        _tell(self.connection, told, changes)
    if not returning_fields:
        return []
    return _as_asked(
        self, returning_fields, [[row[names.index(f.column)] for f in returning_fields] for row in rows]
    )


def _as_asked(self: Any, fields: Any, rows: list[list[Any]]) -> list[Any]:
    """Return what Django wanted to have back, as Django would have had it."""
    converters = self.get_converters([field.get_col(_meta(self).db_table) for field in fields])
    return [tuple(row) for row in (self.apply_converters(rows, converters) if converters else rows)]


def _inserted(
    self: Any,
    told: Watched,
    columns: Columns,
    before: dict[tuple[Any, ...], Any],
    rows: Iterable[Sequence[Any]],
) -> Iterator[Change]:
    for values in rows:
        key, after = columns.row(values[: columns.width], self.connection)
        is_new = values[columns.width] if len(values) > columns.width else key not in before
        if is_new:
            yield _change(told, "insert", key, after=after)
        elif key in before:
            yield _change(told, "update", key, before[key], after)
        else:  # somebody else made it after we looked: what it was before is not known, and not made up
            yield Change(
                kind="update", type=told.type, key=key, after=after, name=told.options.name,
                metadata={"before": "unknown"},
            )  # fmt: skip


def _is_new(self: Any) -> str:
    """Return what makes PostgreSQL say of each row of an upsert whether it was inserted."""
    if self.query.on_conflict == OnConflict.UPDATE and self.connection.vendor == "postgresql":
        return ", (xmax = 0)"
    return ""


def _in_the_way(self: Any, columns: Columns) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows that an upsert will find, locked."""
    fields = self.query.unique_fields
    quote = self.connection.ops.quote_name
    same = " AND ".join(f"{columns.table}.{quote(field.column)} = %s" for field in fields)
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for part in _parts(self.query.objs, self.connection, len(fields)):
        values = [self.prepare_value(field, getattr(one, field.attname)) for one in part for field in fields]
        if any(hasattr(value, "as_sql") for value in values):
            raise Misconfigured(
                "an upsert by an expression cannot be recorded: its rows cannot be looked up before it"
            )
        where = " OR ".join([f"({same})"] * len(part))
        found |= _selected(self.connection, columns, where, values)
    return found


def _update(self: Any, result_type: Any) -> Any:
    """Stand in for SQLUpdateCompiler.execute_sql."""
    told = _watched(self)
    if told is None:
        return _originals["update"](self, result_type)
    count = _updated(self, told)
    is_empty = count is None
    for query in self.query.get_related_updates():  # parents: as Django does it
        of_parent = query.get_compiler(self.using).execute_sql(result_type)
        if is_empty and of_parent:
            count, is_empty = of_parent, False
    return count or 0


def _updated(self: Any, told: Watched) -> int | None:
    """Run an update and tell its rows; None where there is nothing to run."""
    meta = _meta(self)
    columns = columns_of(told, meta, self.connection)
    with _in_transaction(self.connection):
        try:
            sql, params = self.as_sql()
            if not sql:
                return None
            where, where_params = ("", ()) if _returns_old(self.connection) else _where(self)
        except EmptyResultSet:
            return None
        if _returns_old(self.connection):
            pairs = _with_old_returned(self, columns, sql, params)
        elif self.connection.vendor == "postgresql":
            pairs = _with_old_rows(self, columns, sql, params, where, where_params)
        else:
            pairs = _one_by_one(self, columns, sql, params, where, where_params)
        _tell(self.connection, told, _changes(told, pairs))
        return len(pairs)


def _returns_old(connection: Any) -> bool:
    """Tell whether an UPDATE of this database can return what was there before."""
    return connection.vendor == "postgresql" and connection.pg_version >= 180_000


def _with_old_returned(self: Any, columns: Columns, sql: str, params: Sequence[Any]) -> list[tuple[Row, Row]]:
    """Have PostgreSQL 18 and newer return old rows and new ones."""
    both = ", ".join(f"{alias}.{name}" for alias in (_OLD, _NEW) for name in columns.bare)
    with self.connection.cursor() as cursor:
        cursor.execute(
            f"{mark(_meta(self).db_table)}{sql} RETURNING WITH (OLD AS {_OLD}, NEW AS {_NEW}) {both}", params
        )
        rows = _bounded(cursor)
    return _pairs(self, columns, rows)


def _pairs(self: Any, columns: Columns, rows: list[Any]) -> list[tuple[Row, Row]]:
    width, connection = columns.width, self.connection
    return [(columns.row(row[:width], connection), columns.row(row[width:], connection)) for row in rows]


def _with_old_rows(
    self: Any, columns: Columns, sql: str, params: Sequence[Any], where: str, where_params: Sequence[Any]
) -> list[tuple[Row, Row]]:
    """Have an older PostgreSQL lock and return old rows and new ones, in one statement and of one moment."""
    tail = f" WHERE {where}" if where else ""
    assert sql.endswith(tail)
    head = sql[: len(sql) - len(tail)]
    kept = params[: len(params) - len(where_params)]
    old = ", ".join(f"{columns.table}.{name} AS o{at}" for at, name in enumerate(columns.bare))
    same = " AND ".join(f"{columns.table}.{name} = {_OLD}.o{at}" for at, name in enumerate(columns.key_sql))
    whole = (
        f"{mark(_meta(self).db_table)}WITH {_OLD} AS MATERIALIZED (SELECT {old} FROM {columns.table}{tail} "  # noqa: S608
        f"FOR NO KEY UPDATE) {head} FROM {_OLD} WHERE {same} RETURNING {_OLD}.*, {columns.sql}"
    )
    with self.connection.cursor() as cursor:
        cursor.execute(whole, (*where_params, *kept))
        rows = _bounded(cursor)
    return _pairs(self, columns, rows)


def _one_by_one(
    self: Any, columns: Columns, sql: str, params: Sequence[Any], where: str, where_params: Sequence[Any]
) -> list[tuple[Row, Row]]:
    """Look, update, look again: for databases with one writer at a time."""
    if any(field.primary_key for field, _, _ in self.query.values):
        raise Misconfigured("a changed primary key can only be recorded on PostgreSQL")
    before = _selected(self.connection, columns, where, where_params)
    with self.connection.cursor() as cursor:
        cursor.execute(sql, params)
        if cursor.rowcount != len(before):
            raise Misconfigured("rows changed while they were looked at; the change was undone, do it again")
    after: dict[tuple[Any, ...], dict[str, Any]] = {}
    same = " AND ".join(f"{columns.table}.{name} = %s" for name in columns.key_sql)
    prepare = [field.get_db_prep_value for field in _meta(self).pk_fields]
    keys = [[made(v, self.connection) for made, v in zip(prepare, key, strict=True)] for key in before]
    for part in _parts(keys, self.connection, columns.key_width):
        after |= _selected(
            self.connection, columns, " OR ".join([f"({same})"] * len(part)), [v for k in part for v in k]
        )
    return [((key, state), (key, after[key])) for key, state in before.items()]


def _delete(self: Any, result_type: Any = None) -> Any:
    """Stand in for SQLDeleteCompiler.execute_sql."""
    told = _watched(self)
    if told is None:
        return _originals["delete"](self, result_type)
    meta = _meta(self)
    columns = columns_of(told, meta, self.connection)
    with _in_transaction(self.connection):
        try:
            sql, params = self.as_sql()
        except EmptyResultSet:
            return None
        with self.connection.cursor() as cursor:
            returning = ", ".join(columns.bare)
            cursor.execute(f"{mark(meta.db_table)}{sql} RETURNING {returning}", params)
            rows = _bounded(cursor)
        gone = (columns.row(row, self.connection) for row in rows)
        _tell(self.connection, told, (_change(told, "delete", key, before=state) for key, state in gone))
        return len(rows)


def _watched(self: Any) -> Watched | None:
    """Return how the rows of a statement are told here, None where nobody asked or triggers do it."""
    found = watched.get(_meta(self).db_table)
    if found is None or (found.by == "triggers" and triggered(self.connection, found.model._meta.db_table)):
        return None
    if not self.connection.features.can_return_rows_from_bulk_insert:
        raise Misconfigured(
            f"changes of {found.model.__name__} cannot be recorded on this database, which does not return the rows it "
            "changes: PostgreSQL and SQLite do"
        )
    return found


def _meta(self: Any) -> Any:
    """Return what describes the table of a statement; a proxy has no columns of its own."""
    return self.query.get_meta().concrete_model._meta


def _in_transaction(connection: Any) -> AbstractContextManager[Any]:
    """Have row and event share one transaction, which cannot be committed once anything in here has failed."""
    if connection.in_atomic_block:
        return transaction.mark_for_rollback_on_error(using=connection.alias)
    return transaction.Atomic(connection.alias, False, False)


def _where(self: Any) -> tuple[str, Sequence[Any]]:
    try:
        where, params = self.compile(self.query.where)
    except FullResultSet:
        return "", ()
    return where, params


def _selected(
    connection: Any, columns: Columns, where: str, params: Sequence[Any]
) -> dict[tuple[Any, ...], dict[str, Any]]:
    lock = " FOR NO KEY UPDATE" if connection.vendor == "postgresql" else ""
    condition = f" WHERE {where}" if where else ""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns.sql} FROM {columns.table}{condition}{lock}", tuple(params))  # noqa: S608
        return dict(columns.row(row, connection) for row in _bounded(cursor))


def _bounded(cursor: Any) -> list[Any]:
    rows = cursor.fetchmany(ROWS_MAX + 1)
    if len(rows) > ROWS_MAX:
        raise Misconfigured(
            f"one statement changes more than {ROWS_MAX} watched rows; it was undone. Do it in parts, or have triggers "
            'tell this table: audit_models(…, by="triggers")'
        )
    return rows


def _parts(rows: Sequence[Any], connection: Any, width: int) -> Iterator[Sequence[Any]]:
    most = max(1, min(_AT_ONCE, (connection.features.max_query_params or 65_535) // max(1, width)))
    for at in range(0, len(rows), most):
        yield rows[at : at + most]


def _changes(told: Watched, pairs: Iterable[tuple[Row, Row]]) -> Iterator[Change]:
    for (old_key, before), (new_key, after) in pairs:
        if old_key == new_key:
            yield _change(told, "update", new_key, before, after)
        else:  # a changed key is one row gone and another one come
            yield _change(told, "delete", old_key, before=before)
            yield _change(told, "insert", new_key, after=after)


def _change(
    told: Watched, kind: Any, key: tuple[Any, ...], before: Any = UNSET, after: Any = UNSET
) -> Change:
    others = told.others(before if after is UNSET else after) if told.links else ()
    return Change(
        kind=kind, type=told.type, key=key, before=before, after=after, name=told.options.name, others=others
    )


def _tell(connection: Any, told: Watched, changes: Iterable[Change]) -> None:
    audit, actor = the_audit(), nobody()
    events: list[tuple[str, bytes]] = []
    for change in changes:
        made = told.tell(audit, change) if told.tell else composed(audit, change, actor=actor)
        if made is not None:
            events.append(made)
    if events:
        write(connection, events)
