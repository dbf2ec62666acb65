"""Rows of a mapped class as the database has them, and as events show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import inspect, select, tuple_
from sqlalchemy.orm import Session, object_session
from sqlalchemy.orm.base import NO_VALUE

from tallystick.client.snapshot import snapshot
from tallystick.errors import Misconfigured
from tallystick.outbox.rows import AuditOptions

BULK_ROWS_MAX: Final = 10_000  # rows one bulk statement may touch and still be told row by row
KEYS_AT_ONCE: Final = 500


def options_of(model: Any) -> AuditOptions | None:
    """Return how changes of a class are recorded, None where nobody asked."""
    return getattr(model, "__audit__", None)


def names_of(model: Any) -> list[str]:
    """Return the attributes that events of a class show."""
    options = options_of(model)
    left_out: Iterable[str] = options.exclude if options else ()
    return [attribute.key for attribute in inspect(model).column_attrs if attribute.key not in left_out]


def key_of(one: Any) -> tuple[Any, ...]:
    """Return the primary key of an object."""
    return tuple(inspect(type(one)).primary_key_from_instance(one))


def key_in(model: Any, row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the primary key among the values of a bulk statement."""
    mapper = inspect(model)
    return tuple(row[mapper.get_property_by_column(column).key] for column in mapper.primary_key)


def new_state(one: Any) -> dict[str, Any]:
    """Return the values of an object after a flush; defaults that the database made are fetched, on its connection."""
    return snapshot({name: getattr(one, name) for name in names_of(type(one))})


def old_state(one: Any) -> dict[str, Any]:
    """Return the values as they are in the database before this flush; what was never loaded is read."""
    state = inspect(one)
    names = names_of(type(one))
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
    found = select(*columns).select_from(mapper.selectable).where(*same)
    row = session.connection().execute(found).one_or_none()
    return {} if row is None else dict(zip(names, row, strict=True))


def rows_where(
    session: Session, model: Any, where: Any, parameters: Any
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows that a bulk statement is about to touch, locked where the database can."""
    statement = _selected(session, model, lock=True)
    if where is not None:
        statement = statement.where(where)
    given = parameters if isinstance(parameters, Mapping) else {}
    found = session.connection().execute(statement.limit(BULK_ROWS_MAX + 1), dict(given)).all()
    if len(found) > BULK_ROWS_MAX:
        raise Misconfigured(
            f"a bulk statement touches more than {BULK_ROWS_MAX} rows of {model.__name__}; do it in parts, so that each "
            "row can be recorded"
        )
    return _by_key(model, found)


def rows_by_key(
    session: Session, model: Any, keys: Sequence[tuple[Any, ...]], *, lock: bool = False
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows that have these primary keys."""
    return rows_by(session, model, inspect(model).primary_key, keys, lock=lock)


def rows_by(
    session: Session,
    model: Any,
    columns: Sequence[Any],
    values: Sequence[tuple[Any, ...]],
    *,
    lock: bool = False,
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows that have these values in these columns, by primary key."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for at in range(0, len(values), KEYS_AT_ONCE):
        part = values[at : at + KEYS_AT_ONCE]
        same = columns[0].in_([one[0] for one in part]) if len(columns) == 1 else tuple_(*columns).in_(part)
        statement = _selected(session, model, lock=lock).where(same)
        found |= _by_key(model, session.connection().execute(statement).all())
    return found


def columns_of(model: Any) -> list[Any]:
    """Return the columns of what is told of a class: its primary key, then what events show."""
    mapper = inspect(model)
    return [*mapper.primary_key, *(mapper.column_attrs[name].columns[0] for name in names_of(model))]


def state_in(model: Any, row: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return key and state of a row of `columns_of`."""
    width = len(inspect(model).primary_key)
    return tuple(row[:width]), snapshot(dict(zip(names_of(model), row[width:], strict=True)))


def _selected(session: Session, model: Any, *, lock: bool) -> Any:
    statement = select(*columns_of(model)).select_from(inspect(model).selectable)
    can_lock = lock and session.get_bind().dialect.name != "sqlite"
    return statement.with_for_update() if can_lock else statement


def _by_key(model: Any, rows: Sequence[Any]) -> dict[tuple[Any, ...], dict[str, Any]]:
    return dict(state_in(model, row) for row in rows)
