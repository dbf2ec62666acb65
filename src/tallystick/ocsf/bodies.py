"""What is particular to each OCSF class: one function a class, filling its own attributes.

The attributes every class shares are placed by `render`; a body never asks for the version except through
the tables of the dialect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tallystick.ocsf import dialect as ocsf
from tallystick.ocsf.finding import finding
from tallystick.ocsf.resources import (
    entity,
    group,
    is_person,
    main_target,
    nobody,
    resources,
    target_person,
    web_resource,
)  # fmt: skip
from tallystick.ocsf.scene import UNKNOWN, Scene, read_type, scope_of, service_endpoint
from tallystick.ocsf.values import fit

Body = Callable[[dict[str, Any], Scene], None]

_LOGON_TYPE = (3, "Network")
_LOG_TYPE = (2, "Application")
_DELETE = 6
_LOGON = 1


def keep_states(scene: Scene) -> None:
    """Keep `before` and `after` in `unmapped`, for the classes that have no attribute for them."""
    event, unmapped = scene.event, scene.unmapped
    if (before := event.get("before")) is not None:
        unmapped["before"] = before
    if (after := event.get("after")) is not None:
        unmapped["after"] = after


def api_activity(out: dict[str, Any], scene: Scene) -> None:
    """6003: what was called, from where, and on which resources."""
    event = scene.event
    api: dict[str, Any] = {"operation": event["action"], "service": {"name": event["stream"]}}
    if (request_id := scene.context.get("request_id")) is not None:
        api["request"] = {"uid": request_id}
    response: dict[str, Any] = {}
    if scene.response_code is not None:
        response["code"] = scene.response_code
    if (code := out.get("status_code")) is not None:
        response["error"] = code
    if (detail := out.get("status_detail")) is not None:
        response["error_message"] = detail
    if response:
        api["response"] = response
    out["api"] = api
    if scene.endpoint is None:
        scene.endpoint = service_endpoint(scene)
    if scene.targets:
        out["resources"] = resources(scene, scene.targets)
    keep_states(scene)


def account_change(out: dict[str, Any], scene: Scene) -> None:
    """3001: whose account it was, and how the account is afterwards."""
    user = target_person(scene)
    if user is None:
        user = _first_as_person(scene) or nobody()
    out["user"] = user
    if scene.plan.activity_id != _DELETE:
        out["user_result"] = user.copy()
    if len(scene.targets) > 1 or not all(is_person(target["type"]) for target in scene.targets):
        scene.unmapped["targets"] = scene.targets
    keep_states(scene)


def _first_as_person(scene: Scene) -> dict[str, Any] | None:
    # A password reset names the password, a SCIM call its own record: the first target stands for its owner.
    if not scene.targets:
        return None
    target = scene.targets[0]
    user: dict[str, Any] = {"uid": target["id"]}
    if name := target.get("name"):
        user["name"] = name
    user["type_id"], user["type"] = 0, "Unknown"
    return user


def authentication(out: dict[str, Any], scene: Scene) -> None:
    """3002: who signed in or out, to what, and how."""
    out["user"] = target_person(scene) or scene.actor["user"]
    out["service"] = {"name": scene.event["stream"]}
    if (session := scene.actor.get("session")) is not None:
        out["session"] = session
    if scene.plan.activity_id == _LOGON:
        out["logon_type_id"], out["logon_type"] = _LOGON_TYPE
        out["is_remote"] = True
    if scene.targets:
        scene.unmapped["targets"] = scene.targets
    keep_states(scene)


def entity_management(out: dict[str, Any], scene: Scene) -> None:
    """3004: the thing that is managed, before and after."""
    event, target = scene.event, main_target(scene)
    out["entity"] = entity(scene, target, event.get("before"))
    if (after := event.get("after")) is not None:
        out["entity_result"] = entity(scene, target, after)
    if len(scene.targets) > 1:
        scene.unmapped["targets"] = scene.targets


def user_access(out: dict[str, Any], scene: Scene) -> None:
    """3005: whose privileges changed, which, and where they hold."""
    out["user"] = target_person(scene) or nobody()
    out["privileges"] = privileges(scene) or [UNKNOWN]
    scope = [target for target in scene.targets if not is_person(target["type"])]
    if not scope:
        uid, kind = scope_of(scene.event)
        scope = [{"id": uid, "type": kind}]
    rendered = resources(scene, scope)
    if "user_access.resources" in scene.dialect.newer:
        out["resources"] = rendered
    else:
        out["resource"] = rendered[0]
        if len(rendered) > 1:
            scene.unmapped["resources"] = rendered
    keep_states(scene)


def group_management(out: dict[str, Any], scene: Scene) -> None:
    """3006: which group, and who was added to it or removed from it."""
    out["group"] = group(scene)
    user = target_person(scene)
    if user is None and scene.plan.acts_on_self:
        user = scene.actor["user"]
    out["user"] = user or nobody()
    if found := privileges(scene):
        out["privileges"] = found
    if len(scene.targets) > 1:
        scene.unmapped["targets"] = scene.targets
    keep_states(scene)


def privileges(scene: Scene) -> list[str]:
    """Return what was granted or taken, as `role:NAME` or `policy:NAME`; empty when the event does not say."""
    event = scene.event
    found: list[str] = []
    for target in scene.targets:
        kind = read_type(target["type"]).name
        if kind == "role" or kind.endswith("policy"):
            found.append(f"{'role' if kind == 'role' else 'policy'}:{target.get('name') or target['id']}")
    for state in (event.get("after"), event.get("before"), event.get("metadata")):
        if found:
            break
        if isinstance(state, dict):
            found = [f"role:{role}" for role in _roles_in(state)]
    return [
        fit(text, scene.dialect.text_max, f"privileges[{index}]", scene.unmapped)
        for index, text in enumerate(found)
    ]


def _roles_in(state: dict[str, Any]) -> list[str]:
    for key in ("role", "roles"):
        value = state.get(key)
        if isinstance(value, str) and value:
            return [value]
        if isinstance(value, list) and value and all(isinstance(role, str) and role for role in value):
            return value
    return []


def web_resources(out: dict[str, Any], scene: Scene) -> None:
    """6001: what was exported, imported or shared, before and after."""
    event = scene.event
    targets = scene.targets or [main_target(scene)]
    before, after = event.get("before"), event.get("after")
    # Something that did not exist before has one state only, and OCSF wants the first list filled.
    first = before if before is not None else after
    out["web_resources"] = [
        web_resource(scene, target, first if index == 0 else None) for index, target in enumerate(targets)
    ]
    if before is not None and after is not None:
        out["web_resources_result"] = [web_resource(scene, targets[0], after)]


def event_log(out: dict[str, Any], scene: Scene) -> None:
    """1008: which log was exported, cleared or switched off."""
    out["log_name"] = _log_target(scene) or scene.log_name
    ours = "tallystick" in scene.plan.info.products
    out["log_provider"] = "Tallystick" if ours else scene.event["stream"]
    out["log_type_id"], out["log_type"] = _LOG_TYPE
    if scene.targets:
        scene.unmapped["targets"] = scene.targets
    keep_states(scene)


def _log_target(scene: Scene) -> str | None:
    for target in scene.targets:
        if read_type(target["type"]).name == "audit_log":
            return target.get("name") or target["id"]
    return None


def detection_finding(out: dict[str, Any], scene: Scene) -> None:
    """2004: what was found, by which rule, about which resources."""
    finding(out, scene)
    keep_states(scene)


BODIES: dict[int, Body] = {
    ocsf.API_ACTIVITY: api_activity,
    ocsf.ACCOUNT_CHANGE: account_change,
    ocsf.AUTHENTICATION: authentication,
    ocsf.ENTITY_MANAGEMENT: entity_management,
    ocsf.USER_ACCESS: user_access,
    ocsf.GROUP_MANAGEMENT: group_management,
    ocsf.DETECTION_FINDING: detection_finding,
    ocsf.WEB_RESOURCES: web_resources,
    ocsf.EVENT_LOG: event_log,
}
