"""Every change of a watched row as an event in the same transaction, with what was there before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from msgspec import UNSET
from sqlalchemy import event, func, insert, inspect, literal_column, select
from sqlalchemy.engine import Connection, Result
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, UOWTransaction, object_session, sessionmaker

from tallystick.client.trigger_pack import SETTING, mark, told_context
from tallystick.errors import Misconfigured
from tallystick.outbox.rows import Change, Kind, composed, snake
from tallystick.sqlalchemy.outbox import AnyAudit, Outbox
from tallystick.sqlalchemy.rows import (
    columns_of,
    key_in,
    key_of,
    new_state,
    old_state,
    options_of,
    rows_by,
    rows_by_key,
    rows_where,
    state_in,
)

_PENDING = "tallystick_pending"
_SEEN = "tallystick_seen"


def instrument(
    session_class: Any, outbox: Outbox, audit: AnyAudit, *, bulk: Literal["rows", "raise"] = "rows"
) -> None:
    """Record every change of models that have `__audit__`, made through sessions of this class or sessionmaker.

    Those of asyncio are taken as well. Unit of work: old and new values of each row, cascades included. Bulk `insert()`,
    `update()` and `delete()` and the `bulk_…` methods: the rows are read before the statement and after it, so that each
    is told like any other; with bulk="raise" they are refused. The events go into the outbox on the same connection,
    so that they commit or roll back with the rows. Statements whose rows are told here are marked, so that triggers
    on the same table leave them alone.
    """
    sessions = _sync_class(session_class)
    capture = _Capture(sessions, outbox, audit, bulk)
    for kind in ("insert", "update", "delete"):
        event.listen(Mapper, f"before_{kind}", capture.before(kind))
    event.listen(sessions, "after_flush", capture.after_flush)
    event.listen(sessions, "after_begin", capture.after_begin)
    event.listen(sessions, "do_orm_execute", capture.bulk)
    capture.take_bulk_methods()


def tell_triggers(session_class: Any) -> None:
    """Tell the trigger pack (`capture_table`) who acts: what is bound when a transaction begins. PostgreSQL only."""

    def begun(session: Session, transaction: Any, connection: Connection) -> None:
        text = told_context()
        if text:
            connection.execute(select(func.set_config(SETTING, text, True)))

    event.listen(_sync_class(session_class), "after_begin", begun)


def _sync_class(given: Any) -> Any:
    """Return the class of the sessions that do the work: a session of asyncio has one inside."""
    if isinstance(given, async_sessionmaker):
        made = type(
            "AuditedSession", (given.kw.get("sync_session_class") or given.class_.sync_session_class,), {}
        )
        given.configure(sync_session_class=made)
        return made
    if isinstance(given, sessionmaker):
        return given.class_
    if isinstance(given, type) and issubclass(given, AsyncSession):
        given.sync_session_class = type("AuditedSession", (given.sync_session_class,), {})
        return given.sync_session_class
    return given


class _Capture:
    """What listens to the sessions."""

    def __init__(
        self, sessions: type[Session], outbox: Outbox, audit: AnyAudit, bulk: Literal["rows", "raise"]
    ) -> None:
        self._sessions = sessions
        self._outbox = outbox
        self._audit = audit
        self._bulk: Literal["rows", "raise"] = bulk
        self._told_tables: set[Any] = set()  # whose rows the unit of work tells here

    # The unit of work

    def before(self, kind: Kind) -> Any:
        """Return what takes the old values of a row, while they can be had."""

        def take(mapper: Any, connection: Connection, one: Any) -> None:
            session = object_session(one)
            if not isinstance(session, self._sessions) or options_of(type(one)) is None:
                return
            self._told_tables.update(mapper.tables)
            pending = session.info.setdefault(_PENDING, [])
            pending.append((kind, one, UNSET if kind == "insert" else old_state(one)))

        return take

    def after_flush(self, session: Session, context: UOWTransaction) -> None:
        """Write the events, now that the rows have their ids and defaults."""
        pending: list[tuple[Kind, Any, Any]] = session.info.pop(_PENDING, [])
        self._tell(
            session,
            [
                _change(type(one), kind, key_of(one), before, UNSET if kind == "delete" else new_state(one))
                for kind, one, before in pending
            ],
        )

    def after_begin(self, session: Session, transaction: Any, connection: Connection) -> None:
        """Have the statements of this transaction marked whose rows are told here."""
        session.info.pop(_PENDING, None)  # of a flush that failed
        if connection.dialect.name == "postgresql" and not event.contains(
            connection, "before_cursor_execute", self._marked
        ):
            event.listen(connection, "before_cursor_execute", self._marked, retval=True)

    def _marked(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> tuple[str, Any]:
        compiled = context.compiled
        if compiled is not None and (context.isinsert or context.isupdate or context.isdelete):
            table = compiled.statement.table
            given = context.execution_options
            # The unit of work brings a cache of its own; a statement of the application does not.
            if _SEEN in given or ("compiled_cache" in given and table in self._told_tables):
                return mark(table.name) + statement, parameters
        return statement, parameters

    # Bulk statements

    def bulk(self, state: ORMExecuteState) -> Result[Any] | None:
        """Run a bulk statement so that each row it touches is told."""
        changes = state.is_insert or state.is_update or state.is_delete
        if not changes or state.bind_mapper is None or state.execution_options.get(_SEEN):
            return None
        model = state.bind_mapper.class_
        if options_of(model) is None:
            return None
        self._permit(model)
        if state.session.autoflush:
            state.session.flush()  # what the statement would see, the look before it must see as well
        with _all_or_nothing(state.session):
            return self._inserted(state, model) if state.is_insert else self._touched(state, model)

    def _permit(self, model: Any) -> None:
        if self._bulk == "raise":
            raise Misconfigured(
                f"a bulk statement on {model.__name__}, whose changes are recorded row by row: change the objects, or "
                'allow it with instrument(…, bulk="rows")'
            )

    def _inserted(self, state: ORMExecuteState, model: Any) -> Result[Any]:
        """Have the database say which rows a bulk insert made, and which an upsert found."""
        statement: Any = state.statement
        if statement._returning:
            raise Misconfigured(
                f"a bulk insert of {model.__name__} with its own RETURNING cannot be recorded: add the objects instead"
            )
        conflict = statement._post_values_clause
        updates = conflict is not None and hasattr(conflict, "update_values_to_set")
        before = _in_the_way(state, model, conflict) if updates else {}
        told = statement.returning(*columns_of(model))
        says = updates and state.session.get_bind().dialect.name == "postgresql"
        if says:
            told = told.returning(literal_column("(xmax = 0)").label("tallystick_is_new"))
        frozen = state.invoke_statement(statement=told, execution_options={_SEEN: True}).freeze()
        changes: list[Change] = []
        for row in frozen().all():
            key, after = state_in(model, row[:-1] if says else row)
            if row[-1] if says else key not in before:
                changes.append(_change(model, "insert", key, UNSET, after))
            else:  # where somebody else made it after we looked, what it was before is not known
                unknown = None if key in before else {"before": "unknown"}
                changes.append(_change(model, "update", key, before.get(key, UNSET), after, unknown))
        self._tell(state.session, changes)
        return frozen()

    def _touched(self, state: ORMExecuteState, model: Any) -> Result[Any]:
        """Look at the rows before a bulk update or delete, and after it."""
        session = state.session
        given: Any = state.parameters
        by_key = isinstance(given, Sequence)  # an update by primary key, row by row
        if by_key:
            before = rows_by_key(session, model, [key_in(model, row) for row in given], lock=True)
        else:
            where = getattr(state.statement, "whereclause", None)
            before = rows_where(session, model, where, state.parameters)
        result: Any = state.invoke_statement(execution_options={_SEEN: True})
        if not by_key and not result.returns_rows and result.rowcount != len(before):
            raise Misconfigured(
                f"rows of {model.__name__} changed while a bulk statement looked at them; the transaction was rolled "
                "back, do it again"
            )
        self._tell_touched(session, model, before, deleted=state.is_delete)
        return result

    def _tell_touched(
        self, session: Session, model: Any, before: Mapping[Any, Any], *, deleted: bool
    ) -> None:
        after = {} if deleted else rows_by_key(session, model, list(before))
        changes: list[Change] = []
        for key, old in before.items():
            if key in after:
                changes.append(_change(model, "update", key, old, after[key]))
            elif deleted:
                changes.append(_change(model, "delete", key, old, UNSET))
            else:
                raise Misconfigured(
                    f"a bulk update changed the primary key of {model.__name__} {key}; the transaction was rolled back. "
                    "Delete and insert instead, or have triggers tell this table"
                )
        self._tell(session, changes)

    # The older bulk methods of a session, which send no event of their own

    def take_bulk_methods(self) -> None:
        """Put the capture around bulk_insert_mappings, bulk_update_mappings and bulk_save_objects."""
        original = self._sessions._bulk_save_mappings

        def taken(session: Any, mapper: Any, mappings: Any, **how: Any) -> None:
            mapper = inspect(mapper)
            model = mapper.class_
            if options_of(model) is None:
                original(session, mapper, mappings, **how)
                return
            self._permit(model)
            with _all_or_nothing(session):
                self._told_tables.update(mapper.tables)
                self._taken(session, model, list(mappings), original, how)

        self._sessions._bulk_save_mappings = taken  # type: ignore[method-assign,assignment] - no event tells of it

    def _taken(self, session: Any, model: Any, given: list[Any], original: Any, how: dict[str, Any]) -> None:
        mapper = inspect(model)
        read = (lambda one: key_of(one.obj())) if how["isstates"] else (lambda row: key_in(model, row))
        if how["isupdate"]:
            before = rows_by_key(session, model, [read(one) for one in given], lock=True)
            original(session, mapper, given, **how)
            self._tell_touched(session, model, before, deleted=False)
            return
        original(session, mapper, given, **{**how, "return_defaults": True})  # or nobody knows the keys
        after = rows_by_key(session, model, [read(one) for one in given])
        self._tell(session, [_change(model, "insert", key, UNSET, row) for key, row in after.items()])

    def _tell(self, session: Session, changes: Sequence[Change]) -> None:
        made = [event for change in changes if (event := composed(self._audit, change)) is not None]
        if made:
            rows = [{"id": id, "event": raw} for id, raw in made]
            session.connection().execute(insert(self._outbox.table), rows)


def _change(
    model: Any,
    kind: Kind,
    key: tuple[Any, ...],
    before: Any,
    after: Any,
    metadata: dict[str, Any] | None = None,
) -> Change:
    options = options_of(model)
    assert options is not None
    return Change(
        kind=kind, type=options.type or snake(model.__name__), key=key, before=before, after=after, name=options.name,
        metadata=metadata,
    )  # fmt: skip


@contextmanager
def _all_or_nothing(session: Session) -> Iterator[None]:
    """Take the whole transaction back when a change was made and cannot be told, even if somebody catches the error."""
    try:
        yield
    except BaseException:
        session.rollback()
        raise


def _in_the_way(state: ORMExecuteState, model: Any, conflict: Any) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows that an upsert will find, as far as its target and values say which; locked."""
    table = inspect(model).local_table
    names = [getattr(one, "key", one) for one in conflict.inferred_target_elements or ()]
    columns = [table.c[name] for name in names if name in table.c]
    if not columns or len(columns) != len(names):
        return {}
    values = [tuple(row.get(column.key, UNSET) for column in columns) for row in _given(state)]
    plain = [one for one in values if not any(value is UNSET or hasattr(value, "compile") for value in one)]
    return rows_by(state.session, model, columns, plain, lock=True)


def _given(state: ORMExecuteState) -> list[dict[str, Any]]:
    """Return the rows of an insert, from its parameters or from its VALUES."""
    statement: Any = state.statement
    if isinstance(state.parameters, Sequence):
        return [dict(row) for row in state.parameters]
    if statement._multi_values:
        return [_named(row) for rows in statement._multi_values for row in rows]
    return [{**_named(statement._values or {}), **(state.parameters or {})}]


def _named(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {getattr(column, "key", column): getattr(value, "value", value) for column, value in row.items()}
