"""The LangSmith view: its properties, its keys that may be null, and valid OCSF beneath."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from tallystick.ocsf import langsmith_item
from tallystick.ocsf.langsmith import NULL_FILLED, PROPERTIES

from .operations import ALICE, OPERATIONS, TIED, event, target
from .random_events import ACTIONS, events
from .validity import JSON, errors

ORIGINAL = {
    "id", "operation_name", "operation_succeeded", "request_time", "api_key_id", "user_id", "ls_user_id",
    "organization_id", "workspace_id", "enrichments",
}  # fmt: skip
ENRICHMENTS = {
    "request_method", "request_path", "client_host", "client_port", "x_forwarded_for", "response_status_code",
    "resource_ids",
}  # fmt: skip


def get(item: JSON, path: tuple[str, ...]) -> Any:
    """Return the value at a path; KeyError when the key is not there."""
    for key in path:
        item = item[key]
    return item


def without_nulls(value: Any) -> Any:
    """Return the value without nulls and without the objects that held nothing else."""
    if isinstance(value, dict):
        kept = {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
        return {key: inner for key, inner in kept.items() if inner != {}}
    return [without_nulls(entry) for entry in value] if isinstance(value, list) else value


def checked(neutral: JSON) -> JSON:
    """Return the item after checking what holds for all of them."""
    item = langsmith_item(neutral, **TIED)
    assert set(item) == set(PROPERTIES)
    assert len(PROPERTIES) == 19
    for path in NULL_FILLED:
        get(item, path)
    original = item["unmapped"]["original_audit_log"]
    assert set(original) == ORIGINAL
    assert set(original["enrichments"]) == ENRICHMENTS
    assert (item["class_uid"], item["category_uid"], item["metadata"]["version"]) == (6003, 6, "1.7.0")
    assert item["api"]["operation"] == neutral["action"]
    stripped = without_nulls({key: value for key, value in item.items() if key != "unmapped"})
    assert errors(stripped) == []
    return item


def nulls(value: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Return the paths of all nulls outside the original row."""
    if value is None:
        return {path}
    if not isinstance(value, dict) or path == ("unmapped", "original_audit_log"):
        return set()
    return {found for key, inner in value.items() for found in nulls(inner, (*path, key))}


def test_every_known_action_is_an_item() -> None:
    """Every action of every product is an item with all properties, told in full or with its name alone."""
    for action in ACTIONS:
        checked(event(action))
        checked(event(action, actor=ALICE, targets=[target("dataset", "d-1")], context={"ip": "192.0.2.1"}))


@settings(max_examples=150)
@given(events)
def test_any_event_is_an_item(neutral: dict[str, Any]) -> None:
    """No event, wherever it came from, lacks a key a client reads, or holds a null that is not listed."""
    item = checked(neutral)
    assert nulls({key: value for key, value in item.items() if key != "resources"}) <= set(NULL_FILLED)


def test_a_full_item() -> None:
    """What LangSmith's own row would say is said, under its names."""
    item = checked(OPERATIONS["20_langsmith_view_create_api_key"])
    assert item["actor"]["user"]["uid"] == "usr-alice"
    assert item["actor"]["user"]["credential_uid"] == "key-0001"
    assert item["severity_id"] == 2
    assert [resource["uid"] for resource in item["resources"]] == ["key-51c0", "ws-4c2d"]
    original = item["unmapped"]["original_audit_log"]
    assert original["operation_succeeded"] is True
    assert original["api_key_id"] == "key-0001"
    assert original["user_id"] == original["ls_user_id"] == "usr-alice"
    assert original["request_time"] == "2026-11-20T10:31:01.130000Z"
    assert original["enrichments"] == {
        "request_method": "POST",
        "request_path": "/api/v1/api-keys",
        "client_host": "203.0.113.24",
        "client_port": 51822,
        "x_forwarded_for": ["198.51.100.7"],
        "response_status_code": 201,
        "resource_ids": ["key-51c0", "ws-4c2d"],
    }


def test_an_item_of_which_little_is_known() -> None:
    """Keys that clients read exist with null, and a list without entries is a list."""
    item = checked(event("create_api_key", actor={"type": "system"}))
    assert {path for path in NULL_FILLED if get(item, path) is None} == set(NULL_FILLED)
    assert item["resources"] == []
    assert item["unmapped"]["original_audit_log"]["user_id"] is None


@pytest.mark.parametrize(
    ("actor", "key", "user"),
    [
        ({"type": "api_key", "id": "key-1"}, "key-1", None),
        ({"type": "api_key", "id": "svc", "credential_id": "key-1"}, "key-1", None),
        ({"type": "user", "id": "u-1"}, None, "u-1"),
        ({"type": "service", "id": "s-1"}, None, None),
    ],
)
def test_key_and_user_of_the_original_row(actor: JSON, key: str | None, user: str | None) -> None:
    """The row names the key of an act by key and the user of an act by a user, never one for the other."""
    original = checked(event("create_api_key", actor=actor))["unmapped"]["original_audit_log"]
    assert (original["api_key_id"], original["user_id"]) == (key, user)
