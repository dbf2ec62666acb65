"""JSON Schema 2020-12 with a bound on the work one event can cause.

The library decides what a schema means; this only counts. Every keyword that is applied is a step, a long
list some more, a pattern as many as the ways it may have to try; past `STEPS_MAX` the check stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any

from tallystick.catalogue.pattern import WAYS_MAX, BoundedPattern

STEPS_MAX = 50_000  # a second at worst
ENTRIES_PER_STEP = 16  # of a list or an object that a keyword may have to go through
WAYS_PER_STEP = WAYS_MAX // STEPS_MAX
PATTERNS_REMEMBERED_MAX = 1_024


class TooManySteps(Exception):
    """The event would take more than `STEPS_MAX` steps to check."""


# The steps of the check that is running; each thread and each task has its own.
_steps: ContextVar[list[int]] = ContextVar("steps")

Keyword = Callable[[Any, Any, Any, Any], Iterator[Any] | None]


@contextmanager
def counted_steps() -> Iterator[None]:
    """Give the block a fresh count; inside it a validator raises TooManySteps when the count is spent."""
    token = _steps.set([0])
    try:
        yield
    finally:
        _steps.reset(token)


@cache
def validator_class() -> Any:
    """Return the validator; only to be used inside `counted_steps`."""
    # jsonschema takes a fifth of a second to import; only who registers schemas pays.
    from jsonschema import Draft202012Validator, validators

    own = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    }
    keywords = {**Draft202012Validator.VALIDATORS, **own}
    return validators.extend(Draft202012Validator, {name: _counted(one) for name, one in keywords.items()})


def _spend(steps: int) -> None:
    spent = _steps.get()
    spent[0] += steps
    if spent[0] > STEPS_MAX:
        raise TooManySteps


def _counted(keyword: Keyword) -> Keyword:
    def apply(validator: Any, asked: Any, value: Any, schema: Any) -> Iterator[Any] | None:
        _spend(1 + (_entries(asked) + _entries(value)) // ENTRIES_PER_STEP)
        return keyword(validator, asked, value, schema)

    return apply


def _entries(value: object) -> int:
    return len(value) if isinstance(value, Mapping | list) else 0


_bounded = lru_cache(maxsize=PATTERNS_REMEMBERED_MAX)(BoundedPattern)


def _occurs(pattern: str, text: str) -> bool:
    bounded = _bounded(pattern)
    _spend(1 + bounded.ways(len(text)) // WAYS_PER_STEP)
    return bounded.search(text)


def _error(keyword: str) -> Any:
    from jsonschema import ValidationError

    return ValidationError(keyword)


def _pattern(validator: Any, asked: str, value: Any, schema: Any) -> Iterator[Any]:
    if isinstance(value, str) and not _occurs(asked, value):
        yield _error("pattern")


def _pattern_properties(validator: Any, asked: Mapping[str, Any], value: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(value, Mapping):
        return
    for pattern, subschema in asked.items():
        for key, below in value.items():
            if _occurs(pattern, key):
                yield from validator.descend(below, subschema, path=key, schema_path=pattern)


def _additional_properties(
    validator: Any, asked: Any, value: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    if not isinstance(value, Mapping):
        return
    known = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    for key, below in value.items():
        if key in known or any(_occurs(pattern, key) for pattern in patterns):
            continue
        if asked is False:
            yield _error("additionalProperties")
            return
        yield from validator.descend(below, asked, path=key)


def _unique_items(validator: Any, asked: bool, value: Any, schema: Any) -> Iterator[Any]:
    # The library compares every pair of items that cannot be sorted.
    if asked and isinstance(value, list) and len({_frozen(item) for item in value}) < len(value):
        yield _error("uniqueItems")


def _frozen(value: object) -> object:
    """Return something hashable that is equal exactly for equal JSON values: 1 is 1.0, but not true."""
    _spend(_entries(value) // ENTRIES_PER_STEP)
    if isinstance(value, Mapping):
        return ("object", frozenset((key, _frozen(below)) for key, below in value.items()))
    if isinstance(value, list):
        return ("array", tuple(_frozen(item) for item in value))
    return (isinstance(value, bool), value)
