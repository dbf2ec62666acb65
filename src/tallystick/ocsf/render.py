"""A neutral event as one OCSF event: the entry of this room.

Source: OCSF 1.7.0 and 1.1.0, https://schema.ocsf.io. Each version is built from the neutral event by the
lists in `dialect`, never by taking things out of the other.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tallystick.ocsf.bodies import BODIES
from tallystick.ocsf.dialect import DETECTION_FINDING, Version, View
from tallystick.ocsf.hints import apply_hints
from tallystick.ocsf.plan import Plan, account_activity, plan_for
from tallystick.ocsf.scene import Scene, actor_object, endpoint_of, request_of, user_of_actor
from tallystick.ocsf.values import PLAUSIBLE_MAX, PLAUSIBLE_MIN, milliseconds

PRODUCT_NAME = "Tallystick"
FEATURE_NAME = "Audit Log"

SHA_256 = (3, "SHA-256")
# Where 1.1.0, which has no `raw_data_hash`, keeps the leaf hash.
LEAF_HASH = "leaf_hash"
NEWER_VERSION = "ocsf_1_7_0"

# What the log adds or the producer sent that OCSF has no attribute for: key of the event, key in `unmapped`.
_KEPT = (
    ("source", "source"),
    ("redacted", "redacted"),
    ("flags", "flags"),
    ("erased", "erased"),
)


def render(
    event: dict[str, Any],
    *,
    version: Version,
    view: View = "default",
    leaf_hash: bytes | None,
    log_name: str,
    product_version: str,
) -> dict[str, Any]:
    """Return `event` as an OCSF event that is valid in `version`; it shares values with `event`: do not change it.

    `event` is what `event.render` gives. `view`: `native` uses the best class there is, `api_activity` makes
    everything 6003, `default` is native in 1.7.0 and in 1.1.0 native for 6003, 3001, 3002 and 2004 only.
    `leaf_hash` (32 bytes) and `log_name` (the origin of the organization's log) tie the rendering to its leaf.
    Every event renders: a foreign action, an erased actor, a value OCSF refuses.
    """
    plan = plan_for(event["action"], version, view)
    if plan.asks_states and (activity := account_activity(event)) is not None:
        plan = plan_for(event["action"], version, view, activity)
    scene = open_scene(event, plan, log_name)
    out = plan.heads[event["outcome"]].copy()
    # Early, and before anything else that has a key ending in "time": Splunk takes the first `"time":`.
    out["time"] = scene.time
    out["timezone_offset"] = 0
    out["metadata"] = _metadata(scene, product_version)
    _tell_outcome(out, scene)
    BODIES[plan.class_uid](out, scene)
    out["message"] = _message(scene)
    _place(out, scene)
    if (metadata := event.get("metadata")) is not None:
        apply_hints(out, metadata, plan)
        scene.unmapped["metadata"] = metadata
    if observables := _observables(out, scene):
        out["observables"] = observables
    if leaf_hash is not None:
        _tie(out, scene, leaf_hash)
    out["unmapped"] = scene.unmapped
    return out


def open_scene(event: dict[str, Any], plan: Plan, log_name: str) -> Scene:
    """Take `event` apart into the parts that all classes share."""
    unmapped: dict[str, Any] = {"organization_id": event["organization"]}
    if (workspace := event.get("workspace")) is not None:
        unmapped["workspace_id"] = workspace
    unmapped["actor_type"] = event["actor"]["type"]
    context = event.get("context") or {}
    scene = Scene(
        event=event,
        plan=plan,
        dialect=plan.dialect,
        targets=event["targets"],
        context=context,
        unmapped=unmapped,
        actor={},
        time=milliseconds(event["occurred_at"]),
        logged_time=milliseconds(event["received_at"]),
        log_name=log_name,
        newer=None,
    )
    if not PLAUSIBLE_MIN <= scene.time < PLAUSIBLE_MAX:
        scene.time, scene.claimed_time = scene.logged_time, event["occurred_at"]
    if "metadata.log_source" not in plan.dialect.newer:
        scene.newer = unmapped[NEWER_VERSION] = {"metadata.log_source": event["stream"]}
    scene.actor = actor_object(scene, user_of_actor(scene))
    if context:
        scene.endpoint = endpoint_of(scene)
        scene.request = request_of(scene)
        http = context.get("http")
        scene.response_code = http.get("status") if http else None
        if (trace := context.get("trace_id")) is not None:
            unmapped["trace_id"] = trace
    if chain := event["actor"].get("on_behalf_of"):
        unmapped["on_behalf_of"] = chain
    for key, name in _KEPT:
        if value := event.get(key):
            unmapped[name] = value
    empty = [key for key in ("before", "after") if key in event and event[key] is None]
    if empty:
        # OCSF events carry no nulls, but "the state was null" is not "no state is known".
        unmapped["null_values"] = empty
    return scene


@lru_cache(maxsize=16)
def _product(product_version: str) -> dict[str, Any]:
    return {
        "name": PRODUCT_NAME,
        "vendor_name": PRODUCT_NAME,
        "version": product_version,
        "feature": {"name": FEATURE_NAME},
    }


def _metadata(scene: Scene, product_version: str) -> dict[str, Any]:
    event, plan = scene.event, scene.plan
    metadata: dict[str, Any] = {
        "version": scene.dialect.version,
        "product": _product(product_version),
        "uid": event["id"],
        "event_code": event["action"],
        "log_name": scene.log_name,
        "tenant_uid": event["organization"],
        "sequence": event["position"],
        "logged_time": scene.logged_time,
    }
    if scene.claimed_time is not None:
        metadata["original_time"] = scene.claimed_time
    if (request_id := scene.context.get("request_id")) is not None:
        metadata["correlation_uid"] = request_id
    if scene.newer is None:
        metadata["log_source"] = event["stream"]
    if plan.profiles:
        metadata["profiles"] = list(plan.profiles)
    return metadata


def _tell_outcome(out: dict[str, Any], scene: Scene) -> None:
    event, unmapped = scene.event, scene.unmapped
    outcome = event["outcome"]
    if outcome == "denied" or out["status_id"] == 0 or scene.plan.class_uid == DETECTION_FINDING:
        unmapped["outcome"] = outcome
    if (error := event.get("error")) is None:
        return
    code, kind, text = error.get("code"), error.get("type"), error.get("message")
    if (chosen := code or kind) is not None:
        out["status_code"] = chosen
        if code and kind:
            unmapped["error_type"] = kind
    if text is not None:
        out["status_detail"] = text


def _message(scene: Scene) -> str:
    """Say in one line what happened, to what, and who did it."""
    user = scene.actor["user"]
    who = user.get("name") or user["uid"]
    what = scene.plan.info.title
    if scene.targets:
        target = scene.targets[0]
        return f"{what}: {target.get('name') or target['id']}, by {who}"
    return f"{what}, by {who}"


def _place(out: dict[str, Any], scene: Scene) -> None:
    """Put the common parts where this class has room for them, and keep the others in `unmapped`."""
    response = None if scene.response_code is None else {"code": scene.response_code}
    room = scene.plan.room
    for name, part in (
        ("actor", scene.actor),
        ("src_endpoint", scene.endpoint),
        ("http_request", scene.request),
        ("http_response", response),
    ):
        if part is None:
            continue
        if name in room:
            out[name] = part
        elif scene.newer is not None:
            scene.newer[name] = part
        else:
            scene.unmapped[name] = part


def _observables(out: dict[str, Any], scene: Scene) -> list[dict[str, Any]]:
    """Name the values an analyst searches by; each one is found at its path in the event."""
    dialect = scene.dialect
    found: list[dict[str, Any]] = []
    if (endpoint := out.get("src_endpoint")) is not None and (ip := endpoint.get("ip")) is not None:
        found.append({"name": "src_endpoint.ip", "type_id": 2, "type": "IP Address", "value": ip})
    for path, holder in (("actor.user.uid", scene.actor), ("user.uid", out)):
        if (user := holder.get("user")) is not None and (uid := user.get("uid")) is not None:
            found.append(
                {
                    "name": path,
                    "type_id": dialect.observable_user_uid,
                    "type": "User Object: uid",
                    "value": uid,
                }
            )
    if listed := out.get("resources"):
        found.append({
            "name": f"resources{dialect.resource_path}", "type_id": dialect.observable_resource_uid,
            "type": "Resource UID", "value": listed[0]["uid"],
        })  # fmt: skip
    return found


def _tie(out: dict[str, Any], scene: Scene, leaf_hash: bytes) -> None:
    if "raw_data_hash" in scene.plan.room:
        algorithm_id, algorithm = SHA_256
        out["raw_data_hash"] = {
            "algorithm_id": algorithm_id,
            "algorithm": algorithm,
            "value": leaf_hash.hex(),
        }
    else:
        scene.unmapped[LEAF_HASH] = leaf_hash.hex()
