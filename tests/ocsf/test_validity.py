"""The judge itself: each kind of wrongness is noticed, by both validators where the schema can say it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tallystick.ocsf import render

from .operations import OPERATIONS, TIED
from .validity import JSON, blanks, errors, errors_by_the_reference, filled, resolve


def sample(name: str = "01_api_key_create", version: Any = "1.7.0") -> JSON:
    """Return a valid rendering that a test may spoil."""
    return copy.deepcopy(render(OPERATIONS[name], version=version, view="native", **TIED))


def without_version(event: JSON) -> None:
    del event["metadata"]["product"]


def with_unknown_attribute(event: JSON) -> None:
    event["organisation"] = "x"


def with_bad_address(event: JSON) -> None:
    event["src_endpoint"]["ip"] = "localhost"


def with_empty_endpoint(event: JSON) -> None:
    event["src_endpoint"] = {}


def with_null(event: JSON) -> None:
    event["src_endpoint"]["port"] = None


def with_absent_activity(event: JSON) -> None:
    event["activity_id"], event["type_uid"] = 5, 600305


def with_text_time(event: JSON) -> None:
    event["time"] = "2026-11-20T10:31:01Z"


SPOILERS = [
    without_version,
    with_unknown_attribute,
    with_bad_address,
    with_empty_endpoint,
    with_null,
    with_absent_activity,
    with_text_time,
]


@pytest.mark.parametrize("spoil", SPOILERS)
@pytest.mark.parametrize("version", ["1.7.0", "1.1.0"])
def test_both_validators_see_what_the_schema_forbids(spoil: Callable[[JSON], None], version: str) -> None:
    """The fast validator judges as the reference does, so that its silence means something."""
    event = sample(version=version)
    assert errors_by_the_reference(event) == []
    spoil(event)
    assert errors_by_the_reference(event)
    assert errors(event)


FURTHER: dict[str, Callable[[JSON], None]] = {
    "type_uid": lambda event: event.update(type_uid=600302),
    "sibling": lambda event: event.update(activity_name="create"),
    "nested sibling": lambda event: event["actor"]["user"].update(type="user"),
    "99 without text": lambda event: event.update(status_id=99, status=""),
    "seconds": lambda event: event.update(time=event["time"] // 1000),
    "microseconds": lambda event: event.update(time=event["time"] * 1000),
    "no uid": lambda event: event["metadata"].pop("uid"),
    "observable": lambda event: event["observables"][0].update(value="192.0.2.9"),
}


@pytest.mark.parametrize("spoil", FURTHER.values(), ids=FURTHER.keys())
def test_the_further_checks_see_what_the_schema_cannot(spoil: Callable[[JSON], None]) -> None:
    """Each of the five further checks goes red on what it is for."""
    event = sample()
    assert errors(event) == []
    spoil(event)
    assert errors(event)


def test_an_unknown_profile_and_a_foreign_version_are_seen() -> None:
    """A profile that the class does not have is noticed, and so is another version's shape."""
    event = sample("11_bulk_export")
    event["metadata"]["profiles"] = ["host", "incident"]
    assert any("incident" in error for error in errors(event))
    newer = sample()
    newer["metadata"]["version"] = "1.1.0"
    assert errors(newer)


def test_blanks_are_found_outside_free_json_only() -> None:
    """A null or an empty object is found wherever it is ours, and left alone inside the producer's JSON."""
    event = {"a": {"b": {}}, "c": [{"d": None}], "unmapped": {"before": {"x": None}}, "e": {"data": {}}}
    assert sorted(blanks(event)) == ["/a/b", "/c/0/d"]


def test_paths_are_resolved_and_listed() -> None:
    """Observables are looked up and attributes compared by the paths that are meant."""
    event = {"resources": [{"uid": "a"}, {"uid": "b"}], "actor": {"user": {"uid": "c"}}, "tags": ["x", "y"]}
    assert list(resolve(event, "resources.uid")) == ["a", "b"]
    assert list(resolve(event, "resources[1].uid")) == ["b"]
    assert list(resolve(event, "actor.user.uid")) == ["c"]
    assert set(filled(event)) == {"resources.uid", "actor.user.uid", "tags"}
