"""Targets found in a call's argument and result: right ones, and never one thing's type with another's id."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.event.limits import TARGETS_MAX
from tallystick.event.model import Target
from tallystick.event.target_extraction import DEPTH_MAX, VALUES_MAX, action_noun, extract_targets


def pairs(action: str, arguments: object, result: object) -> list[tuple[str, str]]:
    return [(target.type, target.id) for target in extract_targets(action, arguments, result)]


@pytest.mark.parametrize(
    ("action", "arguments", "result", "expected"),
    [
        ("create_api_key", {"name": "ci"}, {"id": "k1"}, [("api_key", "k1")]),
        ("apiKeys.create", {}, {"apiKey": {"id": "k1"}}, [("api_key", "k1")]),
        ("api_key.created", {}, {"data": {"apiKey": {"id": "k1"}}}, [("api_key", "k1")]),
        ("dataset.create", {}, [{"id": "a"}, {"id": "b"}], [("dataset", "a"), ("dataset", "b")]),
        ("dataset.create", {}, {"items": [{"id": "a"}, {"id": "b"}]}, [("dataset", "a"), ("dataset", "b")]),
        ("dataset.create", {}, {"datasets": [{"id": "a"}]}, [("dataset", "a")]),
        ("dataset.create", {}, {"created": {"id": "a"}}, [("dataset", "a")]),
        ("dataset.create", {}, {"created": [{"dataset": {"id": "a"}}]}, [("dataset", "a")]),
        ("dataset.delete", {"id": "a"}, {"success": True}, [("dataset", "a")]),
        ("dataset.delete", {"input": {"datasetId": "a"}}, None, [("dataset", "a")]),
        ("dataset.deleteById", [{"id": "a"}], None, [("dataset", "a")]),
        ("datasets.delete", {"ids": ["a", "b"]}, None, [("dataset", "a"), ("dataset", "b")]),
        ("datasetRecord.deleteMany", {"recordIds": ["r"], "datasetId": "d"}, None, [("dataset_record", "r")]),
        ("virtualKeys.rotate", {"id": "v1"}, {"secret": "s"}, [("virtual_key", "v1")]),
        ("model_price.update", {"id": 17}, None, [("model_price", "17")]),
        ("users.update", {}, {"__typename": "User", "id": "u1"}, [("user", "u1")]),
        ("keys.list", {}, {"object": "organization.admin_api_key", "id": "k"}, [("admin_api_key", "k")]),
    ],
)
def test_finds_what_the_call_was_about(
    action: str, arguments: object, result: object, expected: list[tuple[str, str]]
) -> None:
    """A call whose argument or result plainly names its target would be recorded without one."""
    assert pairs(action, arguments, result) == expected


def test_invitations_are_of_type_invite() -> None:
    """Inviting someone into an organization would be recorded as an act on the organization or on a user."""
    result = [
        {
            "invite": {"id": "inv-1", "email": "bo@example.com", "organizationId": "org-1"},
            "emailNotSent": True,
        },
        {
            "invite": {"id": "inv-2", "email": "al@example.com", "organizationId": "org-1"},
            "emailNotSent": True,
        },
    ]
    arguments = {"organizationId": "org-1", "invites": [{"email": "bo@example.com", "teamIds": ["t-1"]}]}
    assert extract_targets("organization.createInvites", arguments, result) == [
        Target(type="invite", id="inv-1", name="bo@example.com"),
        Target(type="invite", id="inv-2", name="al@example.com"),
    ]
    assert pairs("organization.createInvites", arguments, [{"id": "inv-1"}]) == [("invite", "inv-1")]
    assert pairs("invite_user_to_org", {}, {"id": "inv-1"}) == [("invite", "inv-1")]


def test_a_neighbour_never_lends_its_id() -> None:
    """A virtual key without an id of its own would be recorded under its project's id."""
    result = {"virtualKey": {"projectId": "p-1"}, "project": {"id": "p-1"}}
    assert pairs("virtualKeys.create", {}, result) == [("project", "p-1")]
    assert pairs("virtualKeys.update", {"id": "vk-1"}, result) == [("virtual_key", "vk-1")]
    assert pairs("virtualKeys.update", {"virtualKeyId": "vk-1", "projectId": "p-1"}, result) == [
        ("virtual_key", "vk-1")
    ]
    assert pairs("virtualKeys.create", {}, {"virtualKey": {"projectId": "p-1", "name": "x"}}) == []
    assert pairs("virtualKeys.create", {}, {"プロジェクト": {"id": "p-1"}}) == []


@pytest.mark.parametrize("key", ["createdBy", "owner", "request", "meta", "actor", "updated_by"])
def test_bystanders_are_not_targets(key: str) -> None:
    """Whoever created a thing, or the request itself, would be recorded as what was acted on."""
    assert pairs("dataset.update", {}, {"ok": True, key: {"id": "x"}}) == []
    assert pairs("dataset.update", {"id": "d"}, {key: {"id": "x"}}) == [("dataset", "d")]


def test_relations_of_a_found_object_are_not_targets() -> None:
    """The organization of a project of a key would be recorded as acted on when only the key was."""
    result = {"apiKey": {"id": "k", "project": {"id": "p", "dataset": {"id": "d"}}}, "dataset": {"id": "d2"}}
    assert pairs("apiKey.create", {}, result) == [("api_key", "k")]


def test_scopes_are_targets_only_when_nothing_nearer_is() -> None:
    """Every call that carries a projectId would be recorded as an act on the project."""
    assert pairs("something.do", {"projectId": "p", "datasetId": "d"}, None) == [("dataset", "d")]
    assert pairs("project.update", {"projectId": "p", "datasetId": "d"}, None) == [("project", "p")]
    assert pairs("something.do", {"projectId": "p"}, None) == [("project", "p")]


def test_name_comes_from_the_same_object() -> None:
    """A target would carry the name of something else."""
    result = {"name": "outer", "dataset": {"id": "d", "title": "Questions"}}
    assert extract_targets("dataset.create", {"name": "asked"}, result) == [
        Target(type="dataset", id="d", name="Questions")
    ]


@pytest.mark.parametrize(
    ("action", "noun"),
    [
        ("organization.createInvites", "invite"),
        ("project.archiveById", "project"),
        ("gateway.virtual_key.rotated", "virtual_key"),
        ("le_chat.conversation.created", "conversation"),
        ("add_items_to_annotation_queue", "item"),
        ("organization.createAndAssign", "organization"),
        ("graphs.batchUpdateLayouts", "layout"),
        ("claude_chat_deleted", "claude_chat"),
        ("admin/update/user", "user"),
        ("user.log_in", "user"),
        ("login", "resource"),
        ("", "resource"),
        ("///", "resource"),
    ],
)
def test_noun_of_an_action(action: str, noun: str) -> None:
    """An id without a typed object around it would get the verb or the resource group as its type."""
    assert action_noun(action) == noun


def test_depth_is_capped() -> None:
    """A result nested without end would be walked without end, or recurse until Python gives up."""
    reachable: object = {"dataset": {"id": "d"}}
    for _ in range(DEPTH_MAX - 1):
        reachable = {"data": reachable}
    assert pairs("dataset.create", {}, reachable) == [("dataset", "d")]
    assert pairs("dataset.create", {}, {"data": reachable}) == []
    endless: dict[str, object] = {}
    endless["data"] = endless
    assert pairs("dataset.create", endless, endless) == []


def test_number_of_targets_is_capped() -> None:
    """A bulk call would produce an event with more targets than an event may have, and be refused."""
    found = pairs("dataset.delete", {"ids": [str(number) for number in range(TARGETS_MAX + 50)]}, None)
    assert found == [("dataset", str(number)) for number in range(TARGETS_MAX)]


def test_work_is_capped() -> None:
    """A huge result would make recording slow; what lies beyond the cap is not looked at."""
    wide = {"data": [{} for _ in range(VALUES_MAX)] + [{"dataset": {"id": "late"}}]}
    assert pairs("dataset.create", {}, wide) == []
    assert (
        pairs("dataset.create", {}, {f"k{n}": n for n in range(VALUES_MAX)} | {"dataset": {"id": "late"}})
        == []
    )


KEYS = st.sampled_from(
    ["id", "ids", "virtualKey", "project", "projectId", "dataset", "datasets", "dataset_id", "recordIds", "invite",
     "invites", "data", "items", "result", "createdBy", "name", "user", "userId", "organization", "created"]
)  # fmt: skip
# Every scalar is different, so that an id can be traced back to the one place it came from.
UNIQUE = st.uuids().map(str)
VALUES = st.recursive(
    UNIQUE | st.none() | st.booleans(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=4),
    max_leaves=25,
)
ACTIONS = st.sampled_from(
    ["virtualKeys.create", "dataset.delete", "organization.createInvites", "project.update", "datasetRecord.deleteMany",
     "user.update", "nothing"]
)  # fmt: skip

SAME_THING = {
    "virtualKey": "virtual_key",
    "datasets": "dataset",
    "invites": "invite",
    "record": "dataset_record",
}


def homes(value: object, key: str | None, under: dict[str, tuple[str, str | None]]) -> Iterator[None]:
    """Note for each id-like scalar the key of the id and the nearest key that its object lies under."""
    if isinstance(value, list):
        for item in value:
            yield from homes(item, key, under)
    elif isinstance(value, dict):
        for name, below in value.items():
            if name in ("data", "items", "result", "created"):
                yield from homes(below, key, under)
            elif name.lower().endswith(("id", "ids")):
                for item in below if isinstance(below, list) else [below]:
                    if isinstance(item, str):
                        under[item] = (name, key)
            else:
                yield from homes(below, name, under)


@settings(max_examples=200)
@given(ACTIONS, VALUES, VALUES)
def test_type_and_id_have_the_same_home(action: str, arguments: object, result: object) -> None:
    """Some shape of call would pair one object's type with another object's id."""
    home: dict[str, tuple[str, str | None]] = {}
    for value in (arguments, result):
        list(homes(value, None, home))
    for target in extract_targets(action, arguments, result):
        name, key = home[target.id]
        if name in ("id", "ids"):
            allowed = action_noun(action) if key is None else SAME_THING.get(key, key)
        else:
            base = name.removesuffix("Ids").removesuffix("Id").removesuffix("_id")
            allowed = SAME_THING.get(base, base)
            if allowed == "dataset_record" and action != "datasetRecord.deleteMany":
                allowed = "record"
        assert target.type == allowed


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=12), below, max_size=4),
    max_leaves=20,
)


@settings(max_examples=100)
@given(st.text(max_size=60), ANY_JSON, ANY_JSON)
def test_never_raises(action: str, arguments: object, result: object) -> None:
    """A strange argument would break the call it was only meant to observe."""
    for target in extract_targets(action, arguments, result):
        assert target.id
        assert target.type
