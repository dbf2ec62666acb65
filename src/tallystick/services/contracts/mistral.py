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
from tallystick.query.model import Clause
from tallystick.services.contracts.pages import Clauses, exactly

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


def ways_to(asked: Collection[str], types: Iterable[str], actions: Iterable[str]) -> tuple[Clauses, ...]:
    """Return the ways to find the events that are shown under one of Mistral's `asked` target types.

    `types` and `actions` are all there are in the log. A type that Mistral has a word for decides by itself; for
    any other, and for an event without a target, the action decides.
    """
    known = {one: mistral_target_type(one, "") for one in types if one}
    own = sorted(one for one, shown in known.items() if shown in asked and not _is_open(one))
    undecided = sorted({"", *(one for one in known if _is_open(one))})
    acts = sorted(one for one in actions if mistral_target_type(None, one) in asked)
    ways: list[Clauses] = []
    if own:
        ways.append((Clause("target_type", tuple(own)),))
    if acts:
        ways.append((Clause("target_type", tuple(undecided)), exactly(acts)))
    return tuple(ways)


def _is_open(neutral: str) -> bool:
    """Tell whether the action decides under which of Mistral's types a target of this type is shown."""
    # Two actions that lead to different types: what they agree on does not depend on the action.
    return len({mistral_target_type(neutral, action) for action in _TWO_ACTIONS}) > 1


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
