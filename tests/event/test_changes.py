"""The difference between before and after: complete, minimal where it matters, and bounded."""

from __future__ import annotations

import copy
import json
from time import perf_counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from tallystick.event.changes import changes, same
from tallystick.event.limits import CHANGES_MAX

from .strategies import plain_json


def listed(before: Any, after: Any) -> list[dict[str, Any]]:
    return msgspec.to_builtins(list(changes(before, after)))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("/a", "changed", 1, 2)]),
        ({"a": 1}, {}, [("/a", "removed", 1)]),
        ({}, {"a": None}, [("/a", "added", None)]),
        ({"a": 0}, {"a": False}, [("/a", "changed", 0, False)]),
        ({"a": 1}, {"a": True}, [("/a", "changed", 1, True)]),
        ({"a": ""}, {"a": None}, [("/a", "changed", "", None)]),
        ({"a": 0}, {"a": ""}, [("/a", "changed", 0, "")]),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}}, [("/a/b/1/c", "changed", 2, 3)]),
        ({"a/b": 1, "~": 1}, {"a/b": 2, "~": 2}, [("/a~1b", "changed", 1, 2), ("/~0", "changed", 1, 2)]),
        ([1, 2, 3], [1, 2, 3, 4], [("/3", "added", 4)]),
        ([1, 2, 3], [0, 1, 2, 3], [("/0", "added", 0)]),
        ([1, 2, 3], [1, 3], [("/1", "removed", 2)]),
        ([1, 2, 3], [1, 9, 3], [("/1", "changed", 2, 9)]),
        ([{"id": 1, "v": 1}], [{"id": 1, "v": 2}], [("/0/v", "changed", 1, 2)]),
        ([1, 1, 1], [1, 1], [("/2", "removed", 1)]),
        ([], [1], [("/0", "added", 1)]),
        ([[1]], [[1, 2]], [("/0/1", "added", 2)]),
        ([0], [False], [("/0", "changed", 0, False)]),
        (None, {"a": 1}, [("", "changed", None, {"a": 1})]),
        (1, "1", [("", "changed", 1, "1")]),
        ({}, [], [("", "changed", {}, [])]),
        (None, None, []),
    ],
)
def test_differences(before: Any, after: Any, expected: list[tuple[Any, ...]]) -> None:
    """Each kind of change must be named at its place, and nothing that stayed."""
    found = [
        (change["path"], change["kind"], *(change[side] for side in ("before", "after") if side in change))
        for change in listed(before, after)
    ]
    assert json.dumps(found) == json.dumps(expected)


@given(plain_json, plain_json)
@settings(max_examples=200)
def test_changes_rebuild_what_came_after(before: Any, after: Any) -> None:
    """A change that is missing or wrong would hide what was done: applied to before, they must give after."""
    assert same(_applied(before, listed(before, after)), after)


def _applied(before: Any, found: list[dict[str, Any]]) -> Any:
    """Apply changes; removals from lists last and backwards, since their indices are those of before."""
    holder = {"": copy.deepcopy(before)}
    removed = [change for change in found if change["kind"] == "removed"]
    for change in (
        [c for c in found if c["kind"] == "changed"]
        + removed[::-1]
        + [c for c in found if c["kind"] == "added"]
    ):
        place: Any = holder
        steps = [step.replace("~1", "/").replace("~0", "~") for step in change["path"].split("/")]
        for step in steps[:-1]:
            place = place[int(step)] if isinstance(place, list) else place[step]
        last: Any = int(steps[-1]) if isinstance(place, list) else steps[-1]
        match change["kind"]:
            case "removed":
                del place[last]
            case "added" if isinstance(place, list):
                place.insert(last, change["after"])
            case _:
                place[last] = change["after"]
    return holder[""]


@given(plain_json)
def test_nothing_changed(value: Any) -> None:
    """A state that stayed must show no change."""
    assert listed(value, copy.deepcopy(value)) == []


def test_changes_are_bounded() -> None:
    """Two states with nothing in common must not fill an answer; the last entry says that there is more."""
    before = {f"k{index}": index for index in range(CHANGES_MAX)}
    assert len(listed(before, {})) == CHANGES_MAX
    found = listed(before | {"one": 1}, {})
    assert len(found) == CHANGES_MAX + 1
    assert found[-1] == {"path": "", "kind": "more"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (list(range(60_000)), list(range(60_000, 0, -1))),
        ([[[0] * 200] * 200], [[[0] * 200] * 199 + [[1]]]),
        (
            {str(index): [index] for index in range(30_000)},
            {str(index): [index + 1] for index in range(30_000)},
        ),
        (["x" * 100_000], ["x" * 99_999 + "y"]),
    ],
    ids=["reversed", "nested", "wide", "long"],
)
def test_large_states_are_quick(before: Any, after: Any) -> None:
    """Reading one event must not stop the server."""
    start = perf_counter()
    changes(before, after)
    assert perf_counter() - start < 5  # what grows with the square takes minutes
