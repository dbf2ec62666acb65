"""The difference between `before` and `after`: what was added, removed and changed, by JSON pointer.

It is computed when an event is read, never stored: both states are in the log in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from tallystick.event.limits import CHANGES_MAX
from tallystick.event.model import Change
from tallystick.event.text import pointer_segment


def changes(before: Any, after: Any) -> tuple[Change, ...]:
    """Return the differences between two JSON values, by the order of their paths in the documents.

    Objects are compared key by key; lists after their common beginning and end, so that one inserted item
    is one change. Different kinds of nothing are different: false, 0, "", null and absence. Not more than
    CHANGES_MAX are listed; then a last one with kind `more` and path "" says that there are others.
    """
    found = list(islice(_differences(before, after, ""), CHANGES_MAX + 1))
    if len(found) > CHANGES_MAX:
        found[CHANGES_MAX:] = [Change(path="", kind="more")]
    return tuple(found)


def same(one: Any, other: Any) -> bool:
    """Tell whether two JSON values are the same: True is not 1, but 1 is 1.0, as in JSON."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def _differences(before: Any, after: Any, path: str) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _in_objects(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _in_lists(before, after, path)
    elif not same(before, after):
        yield Change(path=path, kind="changed", before=before, after=after)


def _in_objects(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[Change]:
    for key, value in before.items():
        below = f"{path}/{pointer_segment(key)}"
        if key in after:
            yield from _differences(value, after[key], below)
        else:
            yield Change(path=below, kind="removed", before=value)
    for key, value in after.items():
        if key not in before:
            below = f"{path}/{pointer_segment(key)}"
            yield Change(path=below, kind="added", after=value)


def _in_lists(before: list[Any], after: list[Any], path: str) -> Iterator[Change]:
    """Compare what is left between a common beginning and end: pairs by index, then the longer one's rest.

    The index in a path is that of `after` for what was added or changed, of `before` for what was removed.
    """
    start = 0
    shorter = min(len(before), len(after))
    while start < shorter and same(before[start], after[start]):
        start += 1
    end = 0
    while end < shorter - start and same(before[-1 - end], after[-1 - end]):
        end += 1
    paired = shorter - end
    for index in range(start, paired):
        yield from _differences(before[index], after[index], f"{path}/{index}")
    for index in range(paired, len(before) - end):
        yield Change(path=f"{path}/{index}", kind="removed", before=before[index])
    for index in range(paired, len(after) - end):
        yield Change(path=f"{path}/{index}", kind="added", after=after[index])
