"""An event as Anthropic's compliance activity feed shows it.

Source: GET /v1/compliance/activities of Anthropic's Compliance API. Every event renders: a foreign action becomes
`type`, its targets become `<target type>_id` as there, and what has no key there keeps ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tallystick.event.model import ActorType

# Actor type → Anthropic's, and the key of its id.
ACTORS: Mapping[ActorType, tuple[str, str]] = {
    "user": ("user_actor", "user_id"),
    "api_key": ("api_actor", "api_key_id"),
    "service": ("service_account_actor", "service_account_id"),
    "agent": ("service_account_actor", "service_account_id"),
    "system": ("system_actor", "service"),
    "anonymous": ("unauthenticated_user_actor", "user_id"),
}
# Of an event's own fields, those that keep their name.
_KEPT = ("outcome", "targets", "metadata", "before", "after", "error", "flags", "redacted", "erased")


def anthropic_item(event: dict[str, Any]) -> dict[str, Any]:
    """Return `event`, as `event.render` gives it, as one activity."""
    item: dict[str, Any] = {
        "id": event["id"],
        "created_at": event["occurred_at"],
        "organization_id": event["organization"],
        "organization_uuid": event["organization"],
        "actor": _actor(event),
        "type": event["action"],
    }
    if (workspace := event.get("workspace")) is not None:
        item["workspace_id"] = workspace
    for key in _KEPT:
        if key in event:
            item[key] = event[key]
    for target in event["targets"]:
        # The first of each type; a type that would hide a key of every activity stays among the targets.
        item.setdefault(f"{target['type']}_id", target["id"])
    return item


def actor_id(event: dict[str, Any]) -> str | None:
    """Return the id by which `actor_ids` finds an event."""
    shown = _actor(event)
    return shown[ACTORS[event["actor"]["type"]][1]]


def _actor(event: dict[str, Any]) -> dict[str, Any]:
    """Return who acted; the keys of a user's are always there, null where they do not apply."""
    actor, context = event["actor"], event.get("context") or {}
    kind, id_key = ACTORS[actor["type"]]
    shown = {
        "type": kind,
        "email_address": actor.get("email"),
        "user_id": None,
        "ip_address": context.get("ip"),
        "user_agent": context.get("user_agent"),
    }
    shown[id_key] = actor.get("id")
    if kind == "unauthenticated_user_actor":
        shown["unauthenticated_email_address"] = shown["email_address"]
    return shown
