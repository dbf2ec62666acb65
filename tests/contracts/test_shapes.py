"""Each contract's shape of one event: complete, of the right types, for any event whatever its origin."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from openai._models import construct_type
from openai.types.admin.organization import AuditLogListResponse

from ocsf.operations import event, target
from ocsf.random_events import ACTIONS, events
from tallystick.catalogue.products import mistral_target_types, operations
from tallystick.services.contracts.anthropic import anthropic_item
from tallystick.services.contracts.mistral import mistral_item, target_type, ways_to
from tallystick.services.contracts.openai import RESERVED, actor_ids, openai_item

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ANTHROPIC_ACTORS = {
    "user_actor": "user_id",
    "api_actor": "api_key_id",
    "service_account_actor": "service_account_id",
    "system_actor": "service",
    "unauthenticated_user_actor": "unauthenticated_email_address",
}


def check_openai(neutral: dict[str, Any]) -> dict[str, Any]:
    """Return OpenAI's item after checking what holds for all of them."""
    item = openai_item(neutral)
    action = neutral["action"]
    details = "details" if action in RESERVED else action
    assert set(item) == {"id", "type", "effective_at", "actor", details} | (
        {"project"} if "workspace" in neutral else set()
    )
    assert (item["id"], item["type"]) == (neutral["id"], action)
    occurred_at = datetime.fromisoformat(neutral["occurred_at"])
    assert (
        timedelta(0) <= occurred_at - EPOCH - timedelta(seconds=item["effective_at"]) < timedelta(seconds=1)
    )
    assert isinstance(item[details], dict)
    actor = item["actor"]
    assert actor["type"] in ("session", "api_key")
    assert set(actor) == {"type", actor["type"]}
    parsed: Any = construct_type(type_=AuditLogListResponse, value=json.loads(json.dumps(item)))
    assert parsed.actor.type == actor["type"]
    owner = (
        parsed.actor.session.user
        if actor["type"] == "session"
        else (parsed.actor.api_key.user or parsed.actor.api_key.service_account)
    )
    assert owner.id == neutral["actor"].get("id") or neutral["actor"]["type"] == "api_key"
    return item


def check_anthropic(neutral: dict[str, Any]) -> dict[str, Any]:
    """Return Anthropic's item after checking what holds for all of them."""
    item = anthropic_item(neutral)
    assert {"id", "created_at", "organization_id", "actor", "type"} <= set(item)
    assert (item["id"], item["type"]) == (neutral["id"], neutral["action"])
    assert item["created_at"] == neutral["occurred_at"]
    assert item["organization_id"] == item["organization_uuid"] == neutral["organization"]
    assert isinstance(item["actor"], dict)
    assert {"type", "email_address", "user_id", "ip_address", "user_agent"} <= set(item["actor"])
    assert ANTHROPIC_ACTORS[item["actor"]["type"]] in item["actor"]
    return item


def check_mistral(neutral: dict[str, Any]) -> dict[str, Any]:
    """Return Mistral's item after checking what holds for all of them."""
    item = mistral_item(neutral)
    assert set(item) == {
        "created_at", "actor_type", "actor_metadata", "event_type", "event_metadata", "target_type",
        "target_metadata", "log_id", "organization_uuid", "workspace_uuid",
    }  # fmt: skip
    assert item["actor_type"] in ("HUMAN", "API_KEY", "OTHER")
    assert item["target_type"] in mistral_target_types()
    assert item["log_id"] == neutral["position"]
    for name in ("actor_metadata", "event_metadata", "target_metadata"):
        assert all(isinstance(key, str) and isinstance(value, str) for key, value in item[name].items())
    return item


CHECKS = (check_openai, check_anthropic, check_mistral)


@pytest.mark.parametrize("check", CHECKS)
def test_every_known_action_has_a_shape(check: Any) -> None:
    """An action of any product breaks no contract, told in full or with its name alone."""
    for action in ACTIONS:
        check(event(action))
        check(event(action, targets=[target("dataset", "d-1")], context={"ip": "192.0.2.1"}))


@settings(max_examples=120)
@given(events)
def test_any_event_has_a_shape(neutral: dict[str, Any]) -> None:
    """An event that breaks a contract makes whole pages unreadable, for as long as it is in the log."""
    for check in CHECKS:
        json.dumps(check(neutral))


@pytest.mark.parametrize("action", sorted(RESERVED))
def test_an_action_named_like_a_key_hides_none(action: str) -> None:
    """An action called `id` or `actor` would replace what clients page by or read as the actor."""
    item = check_openai(event(action, targets=[target("project", "p-1")]))
    assert item["details"]["id"] == "p-1"


@pytest.mark.parametrize("kind", ["organization", "actor", "workspace", "id", "type"])
def test_a_target_type_named_like_a_key_hides_none(kind: str) -> None:
    """A target whose type makes a key of every activity would replace the organization's id."""
    item = check_anthropic(event("x.update", targets=[target(kind, "t-1")], workspace="w-1"))
    assert item["targets"][0]["id"] == "t-1"
    assert item["workspace_id"] == "w-1"


def test_openai_types_validate() -> None:
    """An event of OpenAI's own that its client's types refuse would break strict consumers."""
    cases = (
        ("api_key.created", None, {"scopes": ["api.model.read"]}, {}),
        ("project.updated", {"title": "old"}, {"title": "new"}, {"changes_requested": {"title": "new"}}),
        ("user.added", None, {"role": "owner"}, {"data": {"role": "owner"}}),
    )
    for action, before, after, expected in cases:
        more = {} if before is None else {"before": before}
        neutral = event(action, targets=[target("any", "t-1")], after=after, **more)
        item = openai_item(neutral)
        AuditLogListResponse.model_validate(item)
        assert expected.items() <= item[action].items()
        assert item[action]["id"] == "t-1"
    failed = event("login.failed", outcome="failure", error={"code": "bad_password", "message": "No."})
    parsed = AuditLogListResponse.model_validate(openai_item(failed))
    assert parsed.login_failed is not None
    assert (parsed.login_failed.error_code, parsed.login_failed.error_message) == ("bad_password", "No.")


def test_all_openai_types_validate() -> None:
    """A type of OpenAI's published list that its client does not know would be a mistake of ours."""
    for action in operations("openai"):
        AuditLogListResponse.model_validate(openai_item(event(action, targets=[target("any", "t-1")])))


def test_a_key_in_a_session_is_the_session() -> None:
    """A person's browser session shown as an API key accuses the wrong credential."""
    ada = {"type": "user", "id": "u", "email": "ada@example.com", "credential_id": "c"}
    in_session = event("x.y", actor=ada, context={"session_id": "s", "ip": "192.0.2.1"})
    with_key = event("x.y", actor=ada)
    assert openai_item(in_session)["actor"] == {
        "type": "session",
        "session": {"user": {"id": "u", "email": "ada@example.com"}, "ip_address": "192.0.2.1"},
    }
    assert openai_item(with_key)["actor"]["api_key"] == {
        "id": "c", "type": "user", "user": {"id": "u", "email": "ada@example.com"},
    }  # fmt: skip
    assert (actor_ids(in_session), actor_ids(with_key)) == (("u",), ("c", "u"))


def test_mistral_finds_exactly_what_it_shows() -> None:
    """A way that leaves an event out would hide it from the type it is shown under."""
    kinds = ["api_key", "API_KEY", "apiKey", "widget", "workspace", "dataset", "Frobnicator"]
    actions = ["api_key.create", "workspace.create", "nothing.known", *operations("mistral")[:40]]
    for wanted in mistral_target_types():
        ways = ways_to([wanted], kinds, actions)
        for action in actions:
            for kind in (*kinds, None):
                targets = [] if kind is None else [target(kind, "t")]
                shown = target_type(event(action, targets=targets))
                assert (shown == wanted) == any(fits(clauses, kind or "", action) for clauses in ways)


def fits(clauses: Any, kind: str, action: str) -> bool:
    """Tell whether an event with one target of `kind` fits all clauses."""
    values = {"target_type": kind, "action": f"^{action.lower()}$"}
    return all(values[clause.key] in clause.values for clause in clauses)
