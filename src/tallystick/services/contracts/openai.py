"""An event as OpenAI's audit log shows it.

Source: GET /v1/organization/audit_logs of OpenAI's API reference and the types of its Python client. Every event
renders: a foreign action becomes `type`, and its details stand under the action's name like those of any other.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

from tallystick.event.model import ActorType
from tallystick.query.text import fold

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Keys an item has anyway; the details of an action that is called like one of them stand under `details`.
RESERVED = frozenset({"id", "type", "effective_at", "project", "actor", "object", "details"})
TENANT_PREFIX = "tenant."
# Scoped to the tenant although their names do not say so.
TENANT_TYPES = frozenset({"role.bound_to_resource", "role.unbound_from_resource"})


def openai_item(event: dict[str, Any]) -> dict[str, Any]:
    """Return `event`, as `event.render` gives it, as one object of OpenAI's list."""
    action = event["action"]
    item: dict[str, Any] = {
        "id": event["id"],
        "type": action,
        "effective_at": (datetime.fromisoformat(event["occurred_at"]) - EPOCH) // timedelta(seconds=1),
    }
    workspace = event.get("workspace")
    if workspace is not None:
        item["project"] = {"id": workspace, "name": _project_name(event, workspace)}
    item["actor"] = openai_actor(event)
    item[action if action not in RESERVED else "details"] = _details(event)
    return item


def openai_actor(event: dict[str, Any]) -> dict[str, Any]:
    """Return who acted: within a session, or with an API key of a person or a service account."""
    actor, context = event["actor"], event.get("context") or {}
    kind: ActorType = actor["type"]
    credential = actor.get("credential_id")
    match kind:
        case "user":
            # A person's credential within a session is the session's own, not a key.
            if credential is not None and context.get("session_id") is None:
                return _with_key(credential, "user", {"id": actor.get("id"), "email": actor.get("email")})
            return _in_session(event)
        case "api_key":
            return _with_key(
                actor.get("id") or credential, "service_account", {"id": actor.get("id") or credential}
            )
        case "service" | "agent":
            return _with_key(credential, "service_account", {"id": actor.get("id")})
        case "system" | "anonymous":
            return _in_session(event)
        case _:
            assert_never(kind)


def actor_ids(event: dict[str, Any]) -> tuple[str | None, ...]:
    """Return the ids by which OpenAI's `actor_ids` finds an event: of the user, the service account and the key."""
    shown = openai_actor(event)
    if shown["type"] == "session":
        return (shown["session"]["user"]["id"],)
    key = shown["api_key"]
    return key["id"], key[key["type"]]["id"]


def actor_email(event: dict[str, Any]) -> str:
    """Return the e-mail by which `actor_emails` finds an event, in the case in which e-mails are compared."""
    shown = openai_actor(event)
    user = shown["session"]["user"] if shown["type"] == "session" else shown["api_key"].get("user") or {}
    return fold(user.get("email") or "")


def is_tenant_scoped(action: str) -> bool:
    """Tell whether an action is one of the tenant's and not of a project's or the organization's API."""
    return action.startswith(TENANT_PREFIX) or action in TENANT_TYPES


def _in_session(event: dict[str, Any]) -> dict[str, Any]:
    actor, context = event["actor"], event.get("context") or {}
    user = {"id": actor.get("id"), "email": actor.get("email")}
    return {"type": "session", "session": {"user": user, "ip_address": context.get("ip")}}


def _with_key(key_id: str | None, owner: str, details: dict[str, Any]) -> dict[str, Any]:
    return {"type": "api_key", "api_key": {"id": key_id, "type": owner, owner: details}}


def _project_name(event: dict[str, Any], workspace: str) -> str | None:
    """Return what the event itself calls its project; nobody else is asked."""
    names = (t.get("name") for t in event["targets"] if t["id"] == workspace and t["type"] == "project")
    return next(names, None)


def _details(event: dict[str, Any]) -> dict[str, Any]:
    """Return what the event says about its target, under the keys OpenAI's own details have."""
    metadata, error = event.get("metadata"), event.get("error") or {}
    details: dict[str, Any] = dict(metadata) if isinstance(metadata, dict) else {}
    if event["targets"]:
        details["id"] = event["targets"][0]["id"]
    if event["outcome"] != "success":
        details["error_code"] = error.get("code") or error.get("type")
        details["error_message"] = error.get("message")
    after = event.get("after")
    if isinstance(after, dict):
        before = event.get("before")
        if isinstance(before, dict):
            details["changes_requested"] = {
                key: value for key, value in after.items() if key not in before or before[key] != value
            }
        else:
            details["data"] = after
    return details
