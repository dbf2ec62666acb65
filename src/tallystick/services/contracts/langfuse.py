"""An event as a row of Langfuse's audit log, for those who load such rows today.

Source: the AuditLog record of Langfuse's database. Its actions are pairs of a resource and what was done to it; a
foreign action keeps its whole name. `before` and `after` are JSON texts there and here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import json

from tallystick.catalogue.describe import describe, lookup
from tallystick.event.model import ActorType

# Langfuse knows two kinds of actors; whoever acts without being a person is shown as a key.
TYPES: Mapping[ActorType, str] = {
    "user": "USER", "anonymous": "USER", "api_key": "API_KEY", "service": "API_KEY", "agent": "API_KEY",
    "system": "API_KEY",
}  # fmt: skip


def langfuse_row(event: dict[str, Any], *, leaf_hash: bytes, log_name: str) -> dict[str, Any]:
    """Return `event`, as `event.render` gives it, as one row; `log` ties it to its leaf (hash of 32 bytes)."""
    actor = event["actor"]
    roles, kind = actor.get("roles") or {}, TYPES[actor["type"]]
    resource, action = _pair(event)
    targets = event["targets"]
    return {
        "id": event["id"],
        "createdAt": event["occurred_at"],
        "type": kind,
        "userId": actor.get("id") if kind == "USER" else None,
        "apiKeyId": actor.get("credential_id") or (actor.get("id") if kind == "API_KEY" else None),
        "orgId": event["organization"],
        "userOrgRole": roles.get("organization"),
        "projectId": event.get("workspace"),
        "userProjectRole": roles.get("workspace"),
        "resourceType": resource,
        "resourceId": targets[0]["id"] if targets else None,
        "action": action,
        "before": _text(event, "before"),
        "after": _text(event, "after"),
        "log": {"name": log_name, "position": event["position"], "leafHash": leaf_hash.hex()},
    }


def _pair(event: dict[str, Any]) -> tuple[str, str]:
    """Return resource and action: the two halves of a name of Langfuse's own, else the target's type and the name."""
    action = event["action"]
    if lookup(action, "langfuse") is not None:
        resource, _, verb = action.partition(".")
        return resource, verb
    targets = event["targets"]
    return (targets[0]["type"] if targets else describe(action).target_type or "unknown"), action


def _text(event: dict[str, Any], key: str) -> str | None:
    return json.encode(event[key]).decode() if key in event else None
