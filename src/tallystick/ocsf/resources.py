"""The targets of an event as OCSF's resources, users, groups, entities and web resources."""

from __future__ import annotations

from typing import Any

from tallystick.ocsf.dialect import OTHER
from tallystick.ocsf.scene import UNKNOWN, Scene, put_email, read_type, scope_of, state_version

_TARGET = (1, "Target")
_AFFECTED = (3, "Affected")
_RELATED = (4, "Related")

_PERSON_FAMILIES = frozenset({"account", "membership"})
_PERSON_TYPES = frozenset({"user", "membership", "queue_reviewer", "service_account", "user_profile"})
_GROUP_FAMILIES = frozenset({"group", "container"})

# What OCSF 1.7.0 calls a managed entity, by our word for the type; everything else is 99 with its own name.
_ENTITY_TYPES: dict[str, tuple[int, str]] = {
    "user": (2, "User"),
    "user_group": (3, "Group"),
    "team": (3, "Group"),
    "department": (3, "Group"),
    "organization": (4, "Organization"),
}
_POLICY = (5, "Policy")
# The attribute of a managed entity that repeats it in its own shape, by type number.
_ENTITY_TWINS: dict[int, str] = {2: "user", 3: "group", 4: "org", 5: "policy"}


def notes_on_targets(scene: Scene) -> dict[str, Any]:
    """Return `metadata.targets`: what the producer adds about single targets, by target id."""
    metadata = scene.event.get("metadata")
    notes = metadata.get("targets") if metadata else None
    return notes if isinstance(notes, dict) else {}


def is_person(target_type: str) -> bool:
    """Tell whether a target of this type is someone with an account."""
    return read_type(target_type).name in _PERSON_TYPES


def is_group(target_type: str) -> bool:
    """Tell whether a target of this type is something people are members of."""
    reading = read_type(target_type)
    return reading.family in _GROUP_FAMILIES or reading.name == "annotation_queue"


def resources(scene: Scene, targets: list[dict[str, Any]], *, affected: bool = False) -> list[dict[str, Any]]:
    """Render targets as resource details; the first and its like are the target, others are related.

    `affected` says that a finding was made about them instead.
    """
    event = scene.event
    scope, kind = scope_of(event)
    organization = event["organization"]
    has_role = "resource_details.role_id" in scene.dialect.newer
    notes = notes_on_targets(scene)
    main_type = targets[0]["type"] if targets else None
    rendered = []
    for target in targets:
        uid, target_type = target["id"], target["type"]
        resource = {
            "uid": uid,
            "type": target_type,
            "namespace": organization if target_type == kind and uid == scope else scope,
        }
        if name := target.get("name"):
            resource["name"] = name
        if has_role:
            role = _AFFECTED if affected else _TARGET if target_type == main_type else _RELATED
            resource["role_id"], resource["role"] = role
        if notes and isinstance(note := notes.get(uid), dict) and note:
            resource["data"] = note
        rendered.append(resource)
    version = state_version(event.get("after")) or state_version(event.get("before"))
    if rendered and version is not None:
        rendered[0]["version"] = version
    return rendered


def person(scene: Scene, target: dict[str, Any], path: str) -> dict[str, Any]:
    """Render a target as OCSF's user object."""
    user: dict[str, Any] = {"uid": target["id"]}
    name = target.get("name")
    if name:
        user["name"] = name
        if "@" in name:
            put_email(user, name, path, scene)
    service = read_type(target["type"]).name == "service_account"
    user["type_id"], user["type"] = (scene.dialect.service_type_id, "Service") if service else (1, "User")
    return user


def target_person(scene: Scene, path: str = "user") -> dict[str, Any] | None:
    """Return the user the act was done to, or None when no target is one.

    Who acts on their own account is described as fully as an actor is.
    """
    actor = scene.event["actor"]
    for target in scene.targets:
        if is_person(target["type"]):
            itself = actor["type"] == "user" and actor.get("id") == target["id"]
            return scene.actor["user"] if itself else person(scene, target, path)
    return None


def nobody() -> dict[str, Any]:
    """Return a user for the classes that must have one, when the event does not say who it was."""
    return {"name": UNKNOWN, "type_id": 0, "type": "Unknown"}


def group(scene: Scene) -> dict[str, Any]:
    """Return the group someone joined or left: the first target that can be one, else the event's scope."""
    for target in scene.targets:
        if is_group(target["type"]):
            found = {"uid": target["id"], "type": target["type"]}
            if name := target.get("name"):
                found["name"] = name
            return found
    uid, kind = scope_of(scene.event)
    return {"uid": uid, "type": kind}


def main_target(scene: Scene) -> dict[str, Any]:
    """Return the main target; when the event names none, what the action's name says it was done to.

    The scope stands in for itself: an update of "the organization" needs no target to be clear.
    """
    if scene.targets:
        return scene.targets[0]
    event, kind = scene.event, scene.plan.info.target_type or "resource"
    if kind == "organization":
        return {"id": event["organization"], "type": kind}
    if kind in ("workspace", "project") and (workspace := event.get("workspace")) is not None:
        return {"id": workspace, "type": kind}
    return {"name": kind, "type": kind}


def entity(scene: Scene, target: dict[str, Any], state: Any) -> dict[str, Any]:
    """Render a target in one of its states as OCSF's managed entity; `state` None means not known."""
    newer = scene.dialect.newer
    found: dict[str, Any] = {}
    if (uid := target.get("id")) is not None:
        found["uid"] = uid
    if name := target.get("name"):
        found["name"] = name
    if (version := state_version(state)) is not None:
        found["version"] = version
    reading = read_type(target["type"])
    is_policy = reading.name.endswith("_policy")
    type_id, text = _POLICY if is_policy else _ENTITY_TYPES.get(reading.name, (OTHER, reading.label))
    holder = found
    if "managed_entity.type_id" in newer:
        if (twin := _ENTITY_TWINS.get(type_id)) is not None:
            found[twin] = {key: value for key, value in found.items() if key != "version" or is_policy}
        if is_policy:
            holder = found["policy"]
        found["type_id"] = type_id
    found["type"] = text
    if state is not None:
        holder["data"] = state
    return found


def web_resource(scene: Scene, target: dict[str, Any], state: Any) -> dict[str, Any]:
    """Render a target in one of its states as OCSF's web resource; `state` None means not known."""
    found: dict[str, Any] = {}
    if (uid := target.get("id")) is not None:
        found["uid"] = uid
    if name := target.get("name"):
        found["name"] = name
    found["type"] = target["type"]
    note = notes_on_targets(scene).get(uid) if uid is not None else None
    if isinstance(note, dict) and note:
        if isinstance(url := note.get("url"), str) and len(url) <= 2048:
            found["url_string"] = url
        found["data"] = note
    if state is not None:
        found["data"] = state
    return found
