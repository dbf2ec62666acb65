"""Every change of a watched row as an event in the same transaction, with what was there before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import UNSET, Struct
from sqlalchemy import event, func, insert, inspect, select
from sqlalchemy.engine import Connection, Result
from sqlalchemy.orm import ORMExecuteState, Session, UOWTransaction, object_session
from sqlalchemy.orm.base import NO_VALUE

from tallystick.client.actors import Target
from tallystick.client.snapshot import snapshot
from tallystick.client.trigger_pack import SETTING, told_context
from tallystick.errors import Misconfigured
from tallystick.sqlalchemy.outbox import AnyAudit, Outbox

KEYS_AT_ONCE: Final = 500
BULK_ROWS_MAX: Final = 10_000  # rows one bulk statement may touch and still be told row by row
_VERBS: Final = {"insert": "create", "update": "update", "delete": "delete"}
_PENDING: Final = "tallystick_pending"
_SEEN: Final = "tallystick_seen"


class AuditOptions(Struct, frozen=True, kw_only=True):
    """How changes of a model are recorded; put one on the class as `__audit__`.

    Args:
        type: of the target; by default the class's name in snake_case. Actions are `<type>.create`, `.update`, `.delete`.
        exclude: columns that are in no event. name: the column that names a row for people.
    """

    type: str | None = None
    exclude: frozenset[str] | set[str] = frozenset()
    name: str | None = None


def instrument(
    session_class: Any, outbox: Outbox, audit: AnyAudit, *, bulk: Literal["rows", "raise"] = "rows"
) -> None:
    """Record every change of models that have `__audit__`, made through sessions of this class or sessionmaker.

    Unit of work: old and new values of each row. Bulk `update()` and `delete()`: the rows are read before the
    statement and after it, so that each is told like any other; with bulk="raise" such statements are refused.
    The events go into the outbox on the same connection, so that they commit or roll back with the rows.
    """
    capture = _Capture(outbox, audit, bulk)
    event.listen(session_class, "before_flush", capture.before_flush)
    event.listen(session_class, "after_flush", capture.after_flush)
    event.listen(session_class, "do_orm_execute", capture.bulk)


def tell_triggers(session_class: Any) -> None:
    """Tell the trigger pack (`capture_table`) who acts: what is bound when a transaction begins. PostgreSQL only."""

    def begun(session: Session, transaction: Any, connection: Connection) -> None:
        text = told_context()
        if text:
            connection.execute(select(func.set_config(SETTING, text, True)))

    event.listen(session_class, "after_begin", begun)


class _Capture:
    """What listens to the sessions."""

    def __init__(self, outbox: Outbox, audit: AnyAudit, bulk: Literal["rows", "raise"]) -> None:
        self._outbox = outbox
        self._audit = audit
        self._bulk: Literal["rows", "raise"] = bulk

    def before_flush(self, session: Session, context: UOWTransaction, instances: Any) -> None:
        """Take the old values, while they can be had."""
        pending: list[tuple[str, Any, Any]] = session.info.setdefault(_PENDING, [])
        for one in session.deleted:
            if _options(type(one)) is not None:
                pending.append(("delete", one, _old_state(one)))
        for one in session.dirty:
            if _options(type(one)) is not None and session.is_modified(one):
                pending.append(("update", one, _old_state(one)))
        for one in session.new:
            if _options(type(one)) is not None:
                pending.append(("insert", one, UNSET))

    def after_flush(self, session: Session, context: UOWTransaction) -> None:
        """Write the events, now that the rows have their ids and defaults."""
        pending: list[tuple[str, Any, Any]] = session.info.pop(_PENDING, [])
        rows: list[dict[str, Any]] = []
        for kind, one, before in pending:
            after = UNSET if kind == "delete" else _new_state(one)
            if before != after:
                rows.append(self._composed(type(one), kind, _key(one), before, after))
        self._write(session, rows)

    def bulk(self, state: ORMExecuteState) -> Result[Any] | None:
        """Run a bulk statement so that each row it touches is told."""
        changes = state.is_insert or state.is_update or state.is_delete
        if not changes or state.bind_mapper is None or state.execution_options.get(_SEEN):
            return None
        model = state.bind_mapper.class_
        if _options(model) is None:
            return None
        if self._bulk == "raise":
            raise Misconfigured(
                f"a bulk statement on {model.__name__}, whose changes are recorded row by row: change the objects, or "
                'allow it with instrument(…, bulk="rows")'
            )
        if state.session.autoflush:
            state.session.flush()  # what the statement would see, the look before it must see as well
        return self._inserted(state, model) if state.is_insert else self._touched(state, model)

    def _inserted(self, state: ORMExecuteState, model: Any) -> Result[Any]:
        """Have the database say which rows a bulk insert made."""
        statement: Any = state.statement
        if statement._returning:
            raise Misconfigured(
                f"a bulk insert of {model.__name__} with its own RETURNING cannot be recorded: add the objects instead"
            )
        names = _columns(model)
        told = statement.returning(*inspect(model).primary_key, *_column_objects(model))
        frozen = state.invoke_statement(statement=told, execution_options={_SEEN: True}).freeze()
        width = len(inspect(model).primary_key)
        rows: list[dict[str, Any]] = []
        for row in frozen().all():
            after = snapshot(dict(zip(names, row[width:], strict=True)))
            rows.append(self._composed(model, "insert", tuple(row[:width]), UNSET, after))
        self._write(state.session, rows)
        return frozen()

    def _touched(self, state: ORMExecuteState, model: Any) -> Result[Any]:
        """Look at the rows before a bulk update or delete, and after it."""
        if isinstance(state.parameters, Sequence):
            keys = [_key_of(model, row) for row in state.parameters]  # an update by primary key, row by row
            before = _rows_by_key(state.session, model, keys)
        else:
            where = getattr(state.statement, "whereclause", None)
            before = _rows(state.session, model, where, state.parameters)
        result = state.invoke_statement(execution_options={_SEEN: True})
        after = {} if state.is_delete else _rows_by_key(state.session, model, list(before))
        kind = "delete" if state.is_delete else "update"
        rows = [
            self._composed(model, kind, key, old, after.get(key, UNSET))
            for key, old in before.items()
            if after.get(key) != old
        ]
        self._write(state.session, rows)
        return result

    def _composed(
        self, model: Any, kind: str, key: tuple[Any, ...], before: Any, after: Any
    ) -> dict[str, Any]:
        options = _options(model)
        assert options is not None
        shown = {} if before is UNSET else before
        shown = shown if after is UNSET else after
        kind_of_target = options.type or _snake(model.__name__)
        target = Target(
            kind_of_target, ",".join(map(str, key)), shown.get(options.name) if options.name else None
        )
        id, raw = self._audit.compose(
            f"{kind_of_target}.{_VERBS[kind]}", target=target, before=before, after=after
        )
        return {"id": id, "event": raw}

    def _write(self, session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            session.connection().execute(insert(self._outbox.table), list(rows))


def _options(model: Any) -> AuditOptions | None:
    return getattr(model, "__audit__", None)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def _columns(model: Any) -> list[str]:
    options = _options(model)
    left_out: Iterable[str] = options.exclude if options else ()
    return [attribute.key for attribute in inspect(model).column_attrs if attribute.key not in left_out]


def _key(one: Any) -> tuple[Any, ...]:
    return tuple(inspect(type(one)).primary_key_from_instance(one))


def _key_of(model: Any, row: Mapping[str, Any]) -> tuple[Any, ...]:
    mapper = inspect(model)
    return tuple(row[mapper.get_property_by_column(column).key] for column in mapper.primary_key)


def _new_state(one: Any) -> dict[str, Any]:
    # Defaults that the database made are fetched here, on the same connection.
    return snapshot({name: getattr(one, name) for name in _columns(type(one))})


def _old_state(one: Any) -> dict[str, Any]:
    """Return the values as they are in the database before this flush; what was never loaded is read."""
    state = inspect(one)
    names = _columns(type(one))
    known: dict[str, Any] = {}
    missing: list[str] = []
    for name in names:
        history = state.attrs[name].history
        if history.deleted:
            known[name] = history.deleted[0]
        elif history.unchanged:
            known[name] = history.unchanged[0]
        elif state.attrs[name].loaded_value is NO_VALUE or history.added:
            missing.append(name)
    if missing and state.identity is not None:
        session = object_session(one)
        assert session is not None
        known |= _select(session, type(one), missing, state.identity)
    return snapshot({name: known.get(name) for name in names})


def _select(session: Session, model: Any, names: list[str], identity: Any) -> dict[str, Any]:
    mapper = inspect(model)
    columns = [mapper.column_attrs[name].columns[0] for name in names]
    same = [column == value for column, value in zip(mapper.primary_key, identity, strict=True)]
    row = session.connection().execute(select(*columns).where(*same)).one_or_none()
    return {} if row is None else dict(zip(names, row, strict=True))


def _rows(session: Session, model: Any, where: Any, parameters: Any) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows that a bulk statement is about to touch, locked where the database can."""
    mapper = inspect(model)
    statement = select(*mapper.primary_key, *_column_objects(model)).select_from(mapper.local_table)
    if where is not None:
        statement = statement.where(where)
    if session.get_bind().dialect.name != "sqlite":
        statement = statement.with_for_update()
    given = parameters if isinstance(parameters, Mapping) else {}
    found = session.connection().execute(statement.limit(BULK_ROWS_MAX + 1), dict(given)).all()
    if len(found) > BULK_ROWS_MAX:
        raise Misconfigured(
            f"a bulk statement touches more than {BULK_ROWS_MAX} rows of {model.__name__}; do it in parts, so that each "
            "row can be recorded"
        )
    return _told(model, found)


def _rows_by_key(
    session: Session, model: Any, keys: list[tuple[Any, ...]]
) -> dict[tuple[Any, ...], dict[str, Any]]:
    mapper = inspect(model)
    told: dict[tuple[Any, ...], dict[str, Any]] = {}
    for at in range(0, len(keys), KEYS_AT_ONCE):
        part = keys[at : at + KEYS_AT_ONCE]
        if len(mapper.primary_key) == 1:
            same = mapper.primary_key[0].in_([key[0] for key in part])
        else:
            from sqlalchemy import tuple_

            same = tuple_(*mapper.primary_key).in_(part)
        statement = select(*mapper.primary_key, *_column_objects(model)).select_from(mapper.local_table)
        told |= _told(model, session.connection().execute(statement.where(same)).all())
    return told


def _column_objects(model: Any) -> list[Any]:
    mapper = inspect(model)
    return [mapper.column_attrs[name].columns[0] for name in _columns(model)]


def _told(model: Any, rows: Sequence[Any]) -> dict[tuple[Any, ...], dict[str, Any]]:
    width = len(inspect(model).primary_key)
    names = _columns(model)
    return {tuple(row[:width]): snapshot(dict(zip(names, row[width:], strict=True))) for row in rows}
