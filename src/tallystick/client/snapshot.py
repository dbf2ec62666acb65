"""Objects of an application as plain JSON values: what `before`, `after` and `metadata` are made of.

Nothing here asks an object to describe itself in words (`repr`, `str`): descriptions hold what nobody
expects, passwords included. What cannot be taken apart is named by its type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from math import isfinite
from pathlib import PurePath
from types import NoneType
from typing import Any, Final
from uuid import UUID

from msgspec import UNSET, Struct

from tallystick.client.actors import Secret

DEPTH_MAX: Final = 48  # levels; a value nested deeper, or in a circle, ends in a marker
VALUES_MAX: Final = 50_000  # values of one event; what is beyond ends in a marker
Hide = Callable[[Any], Any]
_AS_IS: Final = frozenset({str, int, bool, NoneType})
_are_as_is: Final = _AS_IS.issuperset
_are_texts: Final = frozenset({str}).issuperset
Fields = Callable[[Any], dict[str, Any]]


def snapshot(obj: Any, *, exclude: Iterable[str] = ()) -> Any:
    """Return the state of `obj` now as plain values that later changes of `obj` do not touch.

    Takes mappings, dataclasses, attrs, msgspec and pydantic objects, SQLAlchemy and Django instances, and lists
    of them. `exclude` names fields of the outermost object to leave out. `Secret` values stay secrets, to be
    hidden when the snapshot is recorded.
    """
    left_out = frozenset(exclude)
    if left_out:
        fields = obj if isinstance(obj, Mapping) else _fields_of(obj)
        if fields is not None:
            obj = {name: value for name, value in fields.items() if name not in left_out}
    return plain(obj, _keep)


def _keep(secret: Secret) -> Any:
    return secret


def plain(value: Any, hide: Hide) -> Any:
    """Return `value` as JSON values only (dict, list, str, int, finite float, bool, None), deeply copied.

    `hide` gives what stands in the place of a Secret. Floats without a number become the texts NaN, Infinity
    and -Infinity. Never raises for what an object is or holds.
    """
    kind = type(value)
    if kind in _AS_IS:
        return value
    if kind is dict and _are_texts(map(type, value)) and _are_as_is(map(type, value.values())):
        return dict(value)  # flat, as most are
    return _Walk(hide).plain(value, 0)


class _Walk:
    """One walk over one value; counts what it has looked at."""

    __slots__ = ("_hide", "_left")

    def __init__(self, hide: Hide) -> None:
        self._hide = hide
        self._left = VALUES_MAX

    def plain(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is dict:
            if depth >= DEPTH_MAX:
                return "[truncated: nested too deep]"
            return self._mapping(value, depth)
        if kind is list or kind is tuple:
            if depth >= DEPTH_MAX:
                return "[truncated: nested too deep]"
            return [
                item if type(item) in _AS_IS else self.plain(item, depth + 1) for item in self._within(value)
            ]
        if kind in _AS_IS:
            return value
        return self._other(value, depth)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, item in self._within(value.items()):
            name = key if type(key) is str else _key_text(key)
            made[name] = item if type(item) in _AS_IS else self.plain(item, depth + 1)
        return made

    def _within(self, items: Any) -> Any:
        """Return `items`, or as many as are still allowed."""
        self._left -= len(items)
        if self._left >= 0:
            return items
        kept = max(0, len(items) + self._left)
        self._left = 0
        return list(items)[:kept]

    def _other(self, value: Any, depth: int) -> Any:
        if isinstance(value, Secret):
            return self._hide(value)
        known = _KNOWN.get(type(value))
        if known is not None:
            return known(value)
        try:
            return self._taken_apart(value, depth)
        except Exception:  # an object that cannot be read must not lose the event it is part of
            return _named(value)

    def _taken_apart(self, value: Any, depth: int) -> Any:
        if hasattr(value, "get_secret_value"):  # pydantic
            return self._hide(Secret(value.get_secret_value()))
        if isinstance(value, Enum):
            return self.plain(value.value, depth + 1)
        for kind, convert in _KINDS:
            if isinstance(value, kind):
                return convert(value)
        if depth >= DEPTH_MAX:
            return "[truncated: nested too deep]"
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, set | frozenset):
            return sorted((self.plain(item, depth + 1) for item in self._within(value)), key=str)
        if isinstance(value, list | tuple):
            return [self.plain(item, depth + 1) for item in self._within(value)]
        fields = _fields_of(value)
        return _named(value) if fields is None else self._mapping(fields, depth)


def _key_text(key: Any) -> str:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, str | int | float | UUID | date):
        return str(key)
    return _named(key)


def _named(value: Any) -> str:
    """Return what stands for an object of which nothing may be said but its kind."""
    if callable(value):
        return f"[function {getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}]"
    return f"[object {type(value).__module__}.{type(value).__qualname__}]"


def _float(value: float) -> Any:
    if isfinite(value):
        return float(value)
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _bytes(value: Any) -> str:
    raw = bytes(value)
    return f"[{len(raw)} bytes, sha256 {sha256(raw).hexdigest()}]"


def _seconds(value: timedelta) -> float:
    return value.total_seconds()


# Exact types first: one look into a dictionary. Subclasses of them are found by walking the second table.
_KNOWN: Final[dict[type, Callable[[Any], Any]]] = {
    float: _float, datetime: datetime.isoformat, date: date.isoformat, time: time.isoformat, timedelta: _seconds,
    UUID: str, Decimal: str, bytes: _bytes, bytearray: _bytes, memoryview: _bytes, type(UNSET): lambda _: None,
}  # fmt: skip
_KINDS: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    (bool, bool), (int, int), (float, _float), (str, lambda text: str.__str__(text)), (datetime, datetime.isoformat),
    (date, date.isoformat), (time, time.isoformat), (timedelta, _seconds), (UUID, str), (Decimal, str),
    (PurePath, str), (bytes, _bytes),
    (BaseException, lambda error: f"[error {type(error).__module__}.{type(error).__qualname__}]"),
)  # fmt: skip


def _of_dataclass(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__ if hasattr(value, name)}


def _of_struct(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def _of_attrs(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in type(value).__attrs_attrs__}


def _of_pydantic(value: Any) -> dict[str, Any]:
    names = [*type(value).model_fields, *(value.__pydantic_extra__ or ())]
    return {name: getattr(value, name) for name in names}


def _of_sqlalchemy(value: Any) -> dict[str, Any]:
    # Only what is loaded: a snapshot must not send statements of its own.
    loaded = value.__dict__
    return {a.key: loaded[a.key] for a in value.__mapper__.column_attrs if a.key in loaded}


def _of_django(value: Any) -> dict[str, Any]:
    loaded = value.__dict__
    return {f.attname: loaded[f.attname] for f in value._meta.concrete_fields if f.attname in loaded}


def _fields_of(value: Any) -> dict[str, Any] | None:
    """Return the fields of an object whose class declares them, None for any other."""
    kind = type(value)
    if isinstance(value, type):
        return None
    if hasattr(kind, "__mapper__"):
        return _of_sqlalchemy(value)
    if isinstance(value, Struct):
        return _of_struct(value)
    for mark, fields in _DECLARED:
        if hasattr(kind, mark):
            return fields(value)
    return None


_DECLARED: Final[tuple[tuple[str, Fields], ...]] = (
    ("__dataclass_fields__", _of_dataclass),
    ("__attrs_attrs__", _of_attrs),
    ("model_fields", _of_pydantic),
    ("_meta", _of_django),
)
