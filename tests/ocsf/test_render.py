"""What a rendering says: class, weight, time, who, whence, and what became of everything else."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from tallystick.ocsf import render

from .operations import ALICE, LEAF_HASH, LOG_NAME, OPERATIONS, ORGANIZATION, TIED, WORKSPACE, event, target
from .validity import JSON, errors


def rendered(neutral: JSON, version: Any = "1.7.0", view: Any = "native") -> JSON:
    """Render with everything that ties it to its leaf; the result is valid."""
    result = render(neutral, version=version, view=view, **TIED)
    assert errors(result) == []
    return result


@pytest.mark.parametrize(
    ("action", "by_default", "native"),
    [
        ("create_api_key", 6003, 6003),
        ("login.succeeded", 3002, 3002),
        ("update_scim_user", 3001, 3001),
        ("anomaly.alert", 2004, 2004),
        ("update_sso_settings", 6003, 3004),
        ("update_workspace_member", 6003, 3005),
        ("add_member_to_workspace", 6003, 3006),
        ("create_bulk_export", 6003, 6001),
        ("audit_log.export", 6003, 6003),
    ],
)
def test_default_view_of_1_1_0_keeps_address_and_request(action: str, by_default: int, native: int) -> None:
    """In 1.1.0 the classes that lose the address are 6003 unless asked for, and 1008 does not exist at all."""
    assert rendered(event(action), "1.1.0", "default")["class_uid"] == by_default
    assert rendered(event(action), "1.1.0", "native")["class_uid"] == native
    assert rendered(event(action), "1.1.0", "api_activity")["class_uid"] == 6003


def test_default_view_of_1_7_0_is_native() -> None:
    """In 1.7.0 nothing is lost in the native classes, so they are the default."""
    for neutral in OPERATIONS.values():
        assert rendered(neutral, view="default") == rendered(neutral, view="native")


@pytest.mark.parametrize(
    ("action", "outcome", "severity"),
    [
        ("create_dataset", "success", "Informational"),
        ("create_dataset", "failure", "Informational"),
        ("create_dataset", "denied", "Low"),
        ("create_api_key", "success", "Low"),
        ("create_bulk_export", "success", "Low"),
        ("login.succeeded", "success", "Informational"),
        ("login.failed", "failure", "Low"),
        ("update_sso_settings", "success", "Medium"),
        ("update_sso_settings", "denied", "Medium"),
        ("anomaly.alert", "success", "High"),
    ],
)
def test_severities_are_real(action: str, outcome: str, severity: str) -> None:
    """Severity follows what is touched and whether it was refused, and is the same in every view."""
    for view in ("native", "api_activity"):
        assert rendered(event(action, outcome=outcome), view=view)["severity"] == severity


@pytest.mark.parametrize(
    ("outcome", "status", "kept"),
    [
        ("success", (1, "Success"), None),
        ("failure", (2, "Failure"), None),
        ("denied", (2, "Failure"), "denied"),
        ("unknown", (0, "Unknown"), "unknown"),
    ],
)
def test_outcomes(outcome: str, status: tuple[int, str], kept: str | None) -> None:
    """OCSF has no word for denied and calls unknown unknown; the outcome itself is kept where it says more."""
    result = rendered(event("create_dataset", outcome=outcome))
    assert (result["status_id"], result["status"]) == status
    assert result["unmapped"].get("outcome") == kept


def test_activity_99_has_a_text_of_its_own() -> None:
    """A move is 99 in 1.1.0 and a sign-in is 99 as 6003: the text still says which."""
    moved = rendered(OPERATIONS["09_project_transfer"], "1.1.0", "native")
    assert (moved["activity_id"], moved["activity_name"]) == (99, "Move")
    assert moved["type_name"] == "Entity Management: Other"
    signed_in = rendered(OPERATIONS["07_login_sso"], "1.7.0", "api_activity")
    assert (signed_in["activity_id"], signed_in["activity_name"]) == (99, "Logon")
    strange = rendered(event("frobnicate"))
    assert strange["activity_name"] not in ("", "Other")


def test_splunk_finds_the_time() -> None:
    """The first `"time":` of the raw JSON is the event's time, in milliseconds, whatever the states contain."""
    neutral = event("update_sso_settings", before={"time": 1}, metadata={"time": 2})
    for version in ("1.7.0", "1.1.0"):
        raw = msgspec.json.encode(rendered(neutral, version)).decode()
        match = re.search(r'"time"\s*:\s*(\d+)', raw)
        assert match is not None
        assert match[1] == "1795170661130"
        assert raw.index('"time":') < raw.index('"metadata":')


@pytest.mark.parametrize(
    "claimed", ["0001-01-01T00:00:00.000000Z", "1999-12-31T23:59:59.999999Z", "2100-01-01T00:00:00.000000Z"]
)
def test_an_absurd_claim_of_time(claimed: str) -> None:
    """A time nobody can believe is told as the claim it is, and the event is filed where it arrived."""
    for version in ("1.7.0", "1.1.0"):
        neutral = event("create_dataset", occurred_at=claimed, metadata={"original_time": "another"})
        result = rendered(neutral, version)
        assert result["time"] == result["metadata"]["logged_time"] == 1795170661134
        assert result["metadata"]["original_time"] == claimed
    assert (
        "original_time"
        not in rendered(event("create_dataset", occurred_at="2000-01-01T00:00:00.000000Z"))["metadata"]
    )


@pytest.mark.parametrize("version", ["1.7.0", "1.1.0"])
def test_every_rendering_is_tied_to_its_leaf(version: str) -> None:
    """Log, position, id, action and leaf hash are in every rendering of every class."""
    for neutral in OPERATIONS.values():
        result = rendered(neutral, version)
        metadata = result["metadata"]
        assert metadata["log_name"] == LOG_NAME
        assert metadata["sequence"] == neutral["position"]
        assert metadata["uid"] == neutral["id"]
        assert metadata["event_code"] == neutral["action"]
        assert metadata["tenant_uid"] == ORGANIZATION
        assert metadata.get("correlation_uid") == neutral.get("context", {}).get("request_id")
        assert LEAF_HASH.hex() in (
            result.get("raw_data_hash", {}).get("value"),
            result["unmapped"].get("leaf_hash"),
        )


def test_what_ocsf_refuses_is_kept() -> None:
    """A value whose OCSF type refuses it is kept under the path it would have had, never dropped or sent."""
    neutral = event(
        "create_dataset",
        actor=ALICE | {"email": "not an address"},
        context={"ip": "unknown, 10.0.0.1", "http": {"method": "PURGE", "path": "/x"}},
    )
    for version in ("1.7.0", "1.1.0"):
        result = rendered(neutral, version)
        assert result["unmapped"]["unfit"] == {
            "actor.user.email_addr": "not an address",
            "src_endpoint.ip": "unknown, 10.0.0.1",
            "http_request.http_method": "PURGE",
        }
        assert result["src_endpoint"] == {"svc_name": "platform", "type_id": 99, "type": "Service"}
        assert result["http_request"] == {"url": {"path": "/x"}}


def test_an_address_only_1_7_0_takes() -> None:
    """The stricter e-mail type of 1.1.0 refuses what 1.7.0 takes; both keep it."""
    neutral = event("create_dataset", actor=ALICE | {"email": "o'neill@example.com"})
    assert rendered(neutral)["actor"]["user"]["email_addr"] == "o'neill@example.com"
    older = rendered(neutral, "1.1.0")
    assert older["unmapped"]["unfit"] == {"actor.user.email_addr": "o'neill@example.com"}


def test_what_1_1_0_has_no_place_for_is_kept() -> None:
    """Address, request and method that a class of 1.1.0 lost are in `unmapped.ocsf_1_7_0`."""
    newer = rendered(OPERATIONS["03_member_role_update"], "1.7.0")
    older = rendered(OPERATIONS["03_member_role_update"], "1.1.0")
    kept = older["unmapped"]["ocsf_1_7_0"]
    assert kept["metadata.log_source"] == newer["metadata"]["log_source"] == "platform"
    assert kept["http_request.http_method"] == newer["http_request"]["http_method"] == "PATCH"
    assert kept["http_request"]["url"]["path"] == newer["http_request"]["url"]["path"]
    assert kept["src_endpoint"]["ip"] == newer["src_endpoint"]["ip"]


@pytest.mark.parametrize(
    ("states", "kept", "nulls"),
    [
        ({}, {}, None),
        ({"before": None, "after": {}}, {"after": {}}, ["before"]),
        ({"before": False, "after": 0}, {"before": False, "after": 0}, None),
        ({"before": "", "after": None}, {"before": ""}, ["after"]),
    ],
)
def test_states_are_values(states: JSON, kept: JSON, nulls: list[str] | None) -> None:
    """`false`, `0` and `""` are states like any other; a null one is told without a null."""
    result = rendered(event("create_dataset", **states))
    assert {key: result["unmapped"][key] for key in ("before", "after") if key in result["unmapped"]} == kept
    assert result["unmapped"].get("null_values") == nulls
    entity = rendered(event("update_sso_settings", **states))
    assert {
        name: entity[attribute]["data"]
        for name, attribute in (("before", "entity"), ("after", "entity_result"))
        if "data" in entity.get(attribute, {})
    } == kept


def test_an_erased_actor() -> None:
    """After erasure a rendering says that the name is erased and invents no id."""
    result = rendered(event("create_dataset", actor={"type": "user"}, erased=["actor/id", "actor/name"]))
    assert result["actor"]["user"]["name"] == "erased"
    assert "uid" not in result["actor"]["user"]
    assert result["unmapped"]["erased"] == ["actor/id", "actor/name"]
    assert result["message"].endswith("by erased")


@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        ({"type": "system"}, {"name": "system", "type_id": 3, "type": "System"}),
        ({"type": "anonymous"}, {"name": "anonymous", "type_id": 99, "type": "Anonymous"}),
        ({"type": "agent", "id": "agt"}, {"uid": "agt", "type_id": 99, "type": "Agent"}),
        ({"type": "service", "id": "svc"}, {"uid": "svc", "type_id": 4, "type": "Service"}),
        (
            {"type": "user", "id": "u", "name": "Ann"},
            {"uid": "u", "name": "Ann", "type_id": 1, "type": "User"},
        ),
    ],
)
def test_actor_types(actor: JSON, expected: JSON) -> None:
    """Each actor type has its OCSF type, and a service is 99 with the same text where 4 does not exist."""
    org = {"org": {"uid": ORGANIZATION}}
    assert rendered(event("create_dataset", actor=actor))["actor"]["user"] == expected | org
    older = expected | {"type_id": 99} if expected["type_id"] == 4 else expected
    assert rendered(event("create_dataset", actor=actor), "1.1.0")["actor"]["user"] == older | org


def test_a_key_without_a_user() -> None:
    """An API key is the service it stands for; its id is the credential in both versions."""
    neutral = event("create_dataset", actor={"type": "api_key", "credential_id": "key-1"})
    newer, older = rendered(neutral)["actor"], rendered(neutral, "1.1.0")["actor"]
    assert newer["user"]["uid"] == older["user"]["uid"] == "key-1"
    assert newer["session"] == older["session"] == {"credential_uid": "key-1"}
    assert newer["user"]["programmatic_credentials"] == [{"uid": "key-1", "type": "api_key"}]
    assert older["user"]["credential_uid"] == "key-1"


def test_who_joined_a_group() -> None:
    """Who accepts an invitation joined; who adds somebody unnamed did not join; a named user did."""
    accepted = rendered(event("claim_pending_workspace_invite", actor=ALICE, workspace="ws-1"))
    assert accepted["user"]["uid"] == "usr-alice"
    assert accepted["group"] == {"uid": "ws-1", "type": "workspace"}
    unnamed = rendered(event("add_member_to_workspace", actor=ALICE, targets=[WORKSPACE]))
    assert unnamed["user"] == {"name": "unknown", "type_id": 0, "type": "Unknown"}
    named = rendered(
        event("add_member_to_workspace", actor=ALICE, targets=[target("user", "usr-bob"), WORKSPACE])
    )
    assert named["user"]["uid"] == "usr-bob"
    assert named["group"] == {"uid": "ws-4c2d", "type": "workspace", "name": "Research"}


def test_privileges_come_from_roles_policies_or_states() -> None:
    """What was granted is named by the targets, else by the states, and is unknown rather than nothing."""
    bob = target("user", "usr-bob")
    by_target = event("update_workspace_member", targets=[bob, target("role", "r-1", "Editor")])
    assert rendered(by_target)["privileges"] == ["role:Editor"]
    policy = event("attach_access_policies", targets=[bob, target("access_policy", "p-1")])
    assert rendered(policy)["privileges"] == ["policy:p-1"]
    by_state = event(
        "update_workspace_member", targets=[bob], before={"role": "A"}, after={"roles": ["B", "C"]}
    )
    assert rendered(by_state)["privileges"] == ["role:B", "role:C"]
    assert rendered(event("update_workspace_member", targets=[bob]))["privileges"] == ["unknown"]


@pytest.mark.parametrize(
    ("before", "after", "activity"),
    [
        ({"active": True}, {"active": False}, "Disable"),
        (None, {"active": False}, "Disable"),
        ({"active": False}, {"active": True}, "Enable"),
        ({"active": False}, {"active": False}, None),
        (None, {"active": True}, None),
        ({"active": True}, {"name": "Bob"}, None),
        ({"active": True}, "gone", None),
    ],
)
def test_an_update_that_disables_an_account(before: Any, after: Any, activity: str | None) -> None:
    """A directory disables an account by an update: the states tell, and only when the flag really changed."""
    states = {"after": after} | ({} if before is None else {"before": before})
    result = rendered(event("update_scim_user", targets=[target("user", "usr-bob")], **states))
    assert (result["activity_name"] == activity) if activity else (result["activity_id"] == 99)
    assert rendered(event("update_scim_user", **states), view="api_activity")["activity_name"] == "Update"


def test_targets_have_roles() -> None:
    """Targets of the main target's type are targets, others are related; the scope lies in the organization."""
    keys = [target("api_key", "k-1"), target("api_key", "k-2"), WORKSPACE]
    result = rendered(event("delete_api_key", targets=keys, workspace="ws-4c2d"))
    assert [resource["role"] for resource in result["resources"]] == ["Target", "Target", "Related"]
    assert [resource["namespace"] for resource in result["resources"]] == ["ws-4c2d", "ws-4c2d", ORGANIZATION]


def test_an_act_without_targets_still_names_its_entity() -> None:
    """A class that must have an entity gets the scope itself, or the kind of thing the action's name says."""
    renamed = rendered(event("organization.updated"))
    assert renamed["entity"]["uid"] == ORGANIZATION
    assert (renamed["entity"]["type_id"], renamed["entity"]["type"]) == (4, "Organization")
    assert renamed["entity"]["org"] == {"uid": ORGANIZATION}
    assert rendered(event("update_sso_settings"))["entity"]["name"] == "sso_configuration"


def test_hints_of_another_type_are_not_used() -> None:
    """A known key of metadata with a value of the wrong type shows nowhere but where it was sent."""
    wrong = {
        "app_name": 7,
        "client_port": 70_000,
        "is_mfa": "yes",
        "idp": {},
        "x_forwarded_for": ["unknown"],
        "server": {"port": 443},
        "session_created_at": "yesterday",
        "url_hostname": "-bad-",
    }
    plain = rendered(event("login", context={"ip": "192.0.2.1", "http": {"path": "/"}}))
    hinted = rendered(event("login", context={"ip": "192.0.2.1", "http": {"path": "/"}}, metadata=wrong))
    assert hinted["unmapped"].pop("metadata") == wrong
    assert hinted == plain


def test_forwarded_for_as_a_header() -> None:
    """The text of an X-Forwarded-For header is read as the list it is."""
    neutral = event(
        "create_dataset", context={"ip": "192.0.2.1"}, metadata={"x_forwarded_for": "192.0.2.2, ::1"}
    )
    assert rendered(neutral)["src_endpoint"]["intermediate_ips"] == ["192.0.2.2", "::1"]


def test_delegation_flags_and_redactions_are_kept() -> None:
    """Who stood behind the actor and what the log changed or doubts is in every rendering."""
    chain = [{"type": "user", "id": "usr-alice"}]
    neutral = event(
        "create_dataset",
        actor={"type": "agent", "id": "agt-1", "on_behalf_of": chain},
        flags=[{"path": "/occurred_at", "kind": "clock_skew"}],
        redacted=["/after/key"],
    )
    for version in ("1.7.0", "1.1.0"):
        unmapped = rendered(neutral, version)["unmapped"]
        assert unmapped["on_behalf_of"] == chain
        assert unmapped["flags"] == neutral["flags"]
        assert unmapped["redacted"] == ["/after/key"]
