"""Any action name at all gets a title, a verb class and an OCSF place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.catalogue import (
    catalogue,
    describe,
    describe_by_words,
    lookup,
    products_with,
    target_types,
    verb_of,
)
from tallystick.catalogue.describe import NAME_CHARACTERS_MAX, REMEMBERED_NAMES_MAX, _remembered
from tallystick.catalogue.kinds import _BY_FAMILY, ACTIVITIES, place
from tallystick.catalogue.model import FAMILIES, SENSITIVITIES, VERBS
from tallystick.catalogue.words import _ROWS, split_words

WORDS = st.sampled_from(
    [
        "create",
        "created",
        "delete",
        "revoked",
        "invite",
        "login",
        "logout",
        "api",
        "key",
        "user",
        "org",
        "role",
        "the",
        "a",
        "run",
        "share",
        "export",
        "audit",
        "log",
        "to",
        "from",
        "policy",
        "breach",
        "7",
        "v2",
        "by",
        "Key",
        "API",
        "updated",
        "set",
        "password",
        "reset",
        "join",
        "member",
    ]
)
NAME_LIKE = st.lists(WORDS | st.sampled_from([".", ":", "/", "_", "-"]), max_size=12).map("".join)


@settings(max_examples=200)
@given(st.text(max_size=400) | NAME_LIKE)
def test_describe_is_total(action: str) -> None:
    """Some name would break ingest, which asks for the verb class of every event."""
    for info in (describe(action), describe_by_words(action)):
        assert info.name == action
        assert info.title
        assert info.title[0] == info.title[0].upper()
        assert info.verb in VERBS
        assert info.sensitivity in SENSITIVITIES
        assert info.activity_id in ACTIVITIES[info.class_uid]
        assert info.api_activity_id in ACTIVITIES[6003]
        assert info.target_type is None or info.target_type in target_types()
    assert verb_of(action) == describe(action).verb


@pytest.mark.parametrize("name", list(catalogue()))
def test_known_names_get_their_entry(name: str) -> None:
    """A decided entry would be overruled by the words of its name."""
    for action in catalogue()[name].actions.values():
        info = describe(action.name)
        assert name in info.products
        assert info.is_known
        assert (info.verb, info.target_type, info.class_uid, info.activity_id, info.api_activity_id) == (
            action.verb, action.target_type, action.class_uid, action.activity_id, action.api_activity_id,
        )  # fmt: skip
        assert lookup(action.name, name) is action


def test_lookup_asks_the_products_in_order() -> None:
    """The same name would get another product's title from one process to the next."""
    assert products_with("apiKey.create") == ("langfuse", "langwatch")
    found = lookup("apiKey.create")
    assert found is not None
    assert found.product == "langfuse"
    assert lookup("apiKey.create", "langwatch") is catalogue()["langwatch"].actions["apiKey.create"]
    assert lookup("apiKey.create", "openai") is None
    assert lookup("apiKey.create", "no such product") is None
    assert lookup("never.heard.of") is None
    assert products_with("never.heard.of") == ()


@pytest.mark.parametrize(
    ("action", "title", "verb", "target", "place"),
    [
        ("acme.report.created", "Acme report created", "create", None, (6003, 1, 1)),
        ("acmeReport.delete", "Acme report deleted", "delete", None, (6003, 4, 4)),
        ("list_widgets", "Widgets listed", "read", None, (6003, 2, 2)),
        ("acme/api-key/rotated", "Acme API key rotated", "update", "api_key", (6003, 3, 3)),
        ("api_key:revoke", "API key revoked", "delete", "api_key", (6003, 4, 4)),
        ("workspace.member.added", "Workspace member added", "access", "membership", (3006, 3, 3)),
        ("removeTeamMember", "Team member removed", "access", "membership", (3006, 4, 3)),
        (
            "invite_user_to_workspace",
            "User invited to workspace",
            "create",
            "membership_invitation",
            (6003, 1, 1),
        ),
        ("ConsoleLogin", "Console login", "auth", "session", (3002, 1, 99)),
        ("user.logout", "User logout", "auth", "session", (3002, 2, 99)),
        ("sso_login_failed", "SSO login failed", "auth", "session", (3002, 1, 99)),
        ("user.password.changed", "User password changed", "update", "password", (3001, 3, 3)),
        ("user.disabled", "User disabled", "update", "user", (3001, 5, 3)),
        ("role_binding.create", "Role binding created", "access", "role_assignment", (3005, 1, 3)),
        (
            "gateway.routingPolicy.applied",
            "Gateway routing policy applied",
            "update",
            "routing_policy",
            (3004, 3, 3),
        ),
        ("project.transfer", "Project transferred", "update", "project", (3004, 5, 3)),
        ("dataset.shared", "Dataset shared", "access", "dataset", (6001, 8, 3)),
        ("export_conversations", "Conversations exported", "read", "conversation", (6001, 7, 2)),
        ("audit_log.export", "Audit log exported", "read", "audit_log", (1008, 3, 2)),
        ("audit_logs.purged", "Audit logs purged", "delete", "audit_log", (1008, 2, 4)),
        ("gateway.limit.breached", "Gateway limit breached", "admin", "usage_limit", (2004, 1, 99)),
        ("run_pipeline", "Pipeline run", "admin", "pipeline", (6003, 99, 99)),
        ("frobnicate", "Frobnicate", "admin", None, (6003, 99, 99)),
        ("x", "X", "admin", None, (6003, 99, 99)),
        ("", "Action without a name", "admin", None, (6003, 99, 99)),
        ("日本語", "Action without a name", "admin", None, (6003, 99, 99)),
    ],
)
def test_unknown_names_are_read_by_their_words(
    action: str, title: str, verb: str, target: str | None, place: tuple[int, int, int]
) -> None:
    """An organization's own action would land in API Activity: Other although its name says what it is."""
    info = describe_by_words(action)
    assert (info.title, info.verb, info.target_type) == (title, verb, target)
    assert (info.class_uid, info.activity_id, info.api_activity_id) == place


def test_rules_agree_with_what_was_decided() -> None:
    """The rules for unknown names would drift away from what a person decided for the known ones."""
    same_verb = same_class = total = 0
    for product in catalogue().values():
        for action in product.actions.values():
            info = describe_by_words(action.name)
            total += 1
            same_verb += info.verb == action.verb
            same_class += (info.class_uid, info.activity_id) == (action.class_uid, action.activity_id)
    assert same_verb / total > 0.92
    assert same_class / total > 0.88


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("createAPIKey", ("create", "api", "key")),
        ("api_key.created", ("api", "key", "created")),
        ("s3:GetObject", ("s3", "get", "object")),
        ("tracesV2/ai-query", ("traces", "v2", "ai", "query")),
        ("--__..", ()),
    ],
)
def test_words_of_a_name(text: str, words: tuple[str, ...]) -> None:
    """A name in another spelling would not be understood."""
    assert split_words(text) == words


def test_names_are_remembered_within_a_bound() -> None:
    """Ever new action names would fill the memory, or a huge one be kept for good."""
    assert _remembered.cache_info().maxsize == REMEMBERED_NAMES_MAX
    before = _remembered.cache_info().currsize
    assert describe("z" * (NAME_CHARACTERS_MAX + 1)).verb == "admin"
    assert _remembered.cache_info().currsize == before
    assert describe("acme.created") is describe("acme.created")


def test_every_act_on_every_family_has_a_valid_place() -> None:
    """Some verb on some kind of thing would be given an activity its OCSF class does not have."""
    for family in FAMILIES:
        assert family in _BY_FAMILY
        for _, kind, _ in _ROWS:
            placement = place(kind, family)
            assert placement.activity_id in ACTIVITIES[placement.class_uid]
            assert placement.api_activity_id in ACTIVITIES[6003]
            assert placement.verb in VERBS
            if placement.class_uid == 6003:
                assert placement.activity_id == placement.api_activity_id
