"""From a rendering back to its leaf."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from tallystick.errors import Refused
from tallystick.ocsf import VIEWS, agrees, langsmith_item, leaf_hash_of, render

from .operations import LEAF_HASH, OPERATIONS, TIED, event
from .random_events import events
from .validity import JSON


@pytest.mark.parametrize("version", ["1.7.0", "1.1.0"])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_rendering_leads_to_its_leaf(name: str, view: Any, version: Any) -> None:
    """Position and leaf hash come back from every class, version and view, also through JSON."""
    rendered = msgspec.json.decode(
        msgspec.json.encode(render(OPERATIONS[name], version=version, view=view, **TIED))
    )
    assert leaf_hash_of(rendered) == (OPERATIONS[name]["position"], LEAF_HASH)
    assert agrees(rendered, OPERATIONS[name], LEAF_HASH)


def test_a_langsmith_item_leads_to_its_leaf() -> None:
    """The LangSmith view can be checked as well."""
    assert leaf_hash_of(langsmith_item(event("create_api_key"), **TIED)) == (1000, LEAF_HASH)


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        (("metadata",), None, "no_position"),
        (("metadata", "sequence"), None, "no_position"),
        (("metadata", "sequence"), -1, "no_position"),
        (("metadata", "sequence"), True, "no_position"),
        (("metadata", "sequence"), "7", "no_position"),
        (("raw_data_hash",), None, "no_leaf_hash"),
        (("raw_data_hash", "algorithm_id"), 2, "no_leaf_hash"),
        (("raw_data_hash", "value"), "00", "no_leaf_hash"),
        (("raw_data_hash", "value"), "z" * 64, "no_leaf_hash"),
        (("raw_data_hash", "value"), 7, "no_leaf_hash"),
        (("raw_data_hash", "value"), " " * 64, "no_leaf_hash"),
    ],
)
def test_what_lost_its_tie_is_refused(path: tuple[str, ...], value: Any, rule: str) -> None:
    """An OCSF event without position or leaf hash is refused by name, not taken for leaf 0."""
    rendered = copy.deepcopy(render(event("create_api_key"), version="1.7.0", **TIED))
    holder = rendered
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    with pytest.raises(Refused) as refusal:
        leaf_hash_of(rendered)
    assert refusal.value.rule == rule


def test_a_rendering_without_a_leaf_hash_says_so() -> None:
    """A rendering made without its leaf hash carries none rather than a made-up one."""
    for version in ("1.7.0", "1.1.0"):
        rendered = render(
            event("create_api_key"), version=version, leaf_hash=None, log_name="x", product_version="0"
        )
        with pytest.raises(Refused):
            leaf_hash_of(rendered)


def changed_places(value: Any) -> list[tuple[Any, Any]]:
    """Return (holder, key) of every value inside, so that a test can change each one."""
    found: list[tuple[Any, Any]] = []
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        found.append((value, key))
        found += changed_places(inner)
    return found


@pytest.mark.parametrize("version", ["1.7.0", "1.1.0"])
def test_any_change_disagrees(version: Any) -> None:
    """Not one value of a rendering can be changed or dropped without disagreeing with its event.

    The log's name and the product's version are read from the rendering: they are checked against the
    checkpoint, not here.
    """
    neutral = OPERATIONS["03_member_role_update"]
    pristine: JSON = msgspec.json.decode(msgspec.json.encode(render(neutral, version=version, **TIED)))
    for index in range(len(changed_places(pristine))):
        changed, dropped = copy.deepcopy(pristine), copy.deepcopy(pristine)
        holder, key = changed_places(changed)[index]
        free = key == "log_name" or (key == "version" and "vendor_name" in holder)
        holder[key] = "changed"
        assert agrees(changed, neutral, LEAF_HASH) == free, key
        holder, key = changed_places(dropped)[index]
        del holder[key]
        assert not agrees(dropped, neutral, LEAF_HASH), key


@settings(max_examples=50)
@given(events)
def test_every_event_agrees_with_its_renderings(neutral: dict[str, Any]) -> None:
    """What was rendered from an event is recognised as such, whatever the event."""
    for version in ("1.7.0", "1.1.0"):
        rendered = render(neutral, version=version, view="native", **TIED)
        assert agrees(msgspec.json.decode(msgspec.json.encode(rendered)), neutral, LEAF_HASH)
        assert not agrees(rendered, neutral, bytes(32))
        assert not agrees(rendered, neutral | {"position": neutral["position"] + 1}, LEAF_HASH)
