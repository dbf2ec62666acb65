"""An event as Mistral's audit log shows it.

Source: GET /v1/admin/audit-logs of Mistral's API reference. All three `…_metadata` are objects from text to text;
whatever is no text is written as JSON. `actor_type` and `target_type` are closed lists, so a foreign event is
shown under the closest entry and its own words stand in the metadata.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from msgspec import json

from tallystick.catalogue.products import mistral_target_type
from tallystick.event.model import ACTOR_TYPES, ActorType

HUMAN, API_KEY, OTHER = "HUMAN", "API_KEY", "OTHER"
MISTRAL_ACTORS: Mapping[ActorType, str] = {"user": HUMAN, "api_key": API_KEY}
_ID_KEYS = {HUMAN: "user_uuid", API_KEY: "api_key_uuid", OTHER: "id"}


def mistral_item(event: dict[str, Any]) -> dict[str, Any]:
    """Return `event`, as `event.render` gives it, as one entry of Mistral's list."""
    return {
        "created_at": event["occurred_at"],
        "actor_type": actor_type(event),
        "actor_metadata": _actor(event),
        "event_type": event["action"],
        "event_metadata": _event(event),
        "target_type": target_type(event),
        "target_metadata": _target(event),
        "log_id": event["position"],
        "organization_uuid": event["organization"],
        "workspace_uuid": event.get("workspace"),
    }


def actor_type(event: dict[str, Any]) -> str:
    """Return Mistral's type of the event's actor."""
    return MISTRAL_ACTORS.get(event["actor"]["type"], OTHER)


def target_type(event: dict[str, Any]) -> str:
    """Return Mistral's type of the event's main target, which its action decides where it has none."""
    targets = event["targets"]
    return mistral_target_type(targets[0]["type"] if targets else None, event["action"])


def actor_types(asked: str) -> tuple[ActorType, ...]:
    """Return our types of actor that Mistral's `asked` stands for."""
    return tuple(one for one in ACTOR_TYPES if MISTRAL_ACTORS.get(one, OTHER) == asked)


def types_that_may_be(asked: Collection[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return those of the `known` neutral target types whose events Mistral's `asked` types may stand for.

    "" (no target) is always among them, and so is a type that Mistral has no word for: then the action decides.
    """
    return ("", *(one for one in known if one and _may_be(one, asked)))


def _may_be(neutral: str, asked: Collection[str]) -> bool:
    # Two actions that lead to different types: what they agree on does not depend on the action.
    shown = {mistral_target_type(neutral, action) for action in _TWO_ACTIONS}
    return len(shown) > 1 or bool(shown & set(asked))


_TWO_ACTIONS = ("api_key.create", "workspace.create")


def _actor(event: dict[str, Any]) -> dict[str, str]:
    actor = event["actor"]
    shown = {"type": actor["type"]}
    _put(shown, _ID_KEYS[actor_type(event)], actor.get("id"))
    for key in ("name", "email", "credential_id", "roles", "on_behalf_of"):
        _put(shown, key, actor.get(key))
    return shown


def _event(event: dict[str, Any]) -> dict[str, str]:
    metadata = event.get("metadata")
    shown: dict[str, str] = {}
    for key, value in (metadata if isinstance(metadata, dict) else {}).items():
        _put(shown, key, value)
    shown |= {"id": event["id"], "outcome": event["outcome"]}
    for key, value in (event.get("context") or {}).items():
        _put(shown, "ip_address" if key == "ip" else key, value)
    for key in ("before", "after", "error"):
        if key in event:
            shown[key] = _text(event[key])
    return shown


def _target(event: dict[str, Any]) -> dict[str, str]:
    shown: dict[str, str] = {}
    for target in event["targets"][:1]:
        shown |= {"type": target["type"], "id": target["id"]}
        _put(shown, "name", target.get("name"))
    _put(shown, "further_targets", event["targets"][1:] or None)
    return shown


def _put(shown: dict[str, str], key: str, value: Any) -> None:
    if value is not None:
        shown[key] = _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.encode(value).decode()
