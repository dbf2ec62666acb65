"""Rows of one model's table as the database gives them, and as events show them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from msgspec import Struct

from tallystick.django.registry import Watched, fields_of

Convert = Callable[[Any, Any, Any], Any]
_OURS: Final = "django."  # a project's own fields may decrypt what they read, and that is not for a log


class Columns(Struct, frozen=True):
    """What is read of a watched table: the key first, then what events show.

    `sql` is the list for SELECT and RETURNING, qualified; `converts` turns values of this database into plain ones.
    """

    table: str
    sql: str
    bare: tuple[str, ...]
    plain: tuple[str, ...]
    key_width: int
    names: tuple[str, ...]
    key_sql: tuple[str, ...]
    converts: tuple[tuple[int, tuple[Convert, ...], Any], ...]

    def row(self, values: Sequence[Any], connection: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return key and state of one row."""
        if self.converts:
            values = list(values)
            for at, converters, column in self.converts:
                for convert in converters:
                    values[at] = convert(values[at], column, connection)
        width = self.key_width
        return tuple(values[:width]), dict(zip(self.names, values[width:], strict=True))

    @property
    def width(self) -> int:
        """How many values a row has."""
        return len(self.bare)


_known: Final[dict[tuple[str, Any, Any], Columns]] = {}


def columns_of(watched: Watched, meta: Any, connection: Any) -> Columns:
    """Return the columns of a watched table; `meta` is that of the class that writes, as a migration's may be older."""
    at = (connection.alias, meta.model, watched)
    found = _known.get(at)
    if found is None:
        if len(_known) > 4096:  # classes that tests and migrations make and leave
            _known.clear()
        found = _known[at] = _columns(watched, meta, connection)
    return found


def _columns(watched: Watched, meta: Any, connection: Any) -> Columns:
    quote = connection.ops.quote_name
    table = quote(meta.db_table)
    key = list(meta.pk_fields)
    shown = fields_of(meta, watched.options)
    every = [*key, *shown]
    converts: list[tuple[int, tuple[Convert, ...], Any]] = []
    for at, field in enumerate(every):
        column = field.get_col(meta.db_table)
        converters = tuple(_converters(field, column, connection))
        if converters:
            converts.append((at, converters, column))
    names = tuple(quote(field.column) for field in every)
    return Columns(
        table=table,
        sql=", ".join(f"{table}.{name}" for name in names),
        bare=names,
        plain=tuple(field.column or "" for field in every),
        key_width=len(key),
        names=tuple(str(field.attname) for field in shown),
        key_sql=names[: len(key)],
        converts=tuple(converts),
    )


def _converters(field: Any, column: Any, connection: Any) -> Iterable[Convert]:
    yield from connection.ops.get_db_converters(column)
    if hasattr(field, "from_db_value") and type(field).__module__.startswith(_OURS):
        yield field.from_db_value
