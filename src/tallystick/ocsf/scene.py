"""The parts every event has, in OCSF's words: actor, endpoint, HTTP request, resources.

A `Scene` is one event taken apart once, from which the class bodies fill their attributes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from msgspec import Struct

from tallystick.catalogue.load import type_phrases
from tallystick.catalogue.words import singular, split_words
from tallystick.event.model import ActorType
from tallystick.ocsf.dialect import OTHER, V1_7_0, Dialect
from tallystick.ocsf.plan import Plan
from tallystick.ocsf.values import is_address, unfit

REMEMBERED_TYPES_MAX = 4_096

# How OCSF types an actor. The service row's number is the dialect's: 1.1.0 has no 4.
_USER_TYPES: dict[ActorType, tuple[int, str]] = {
    "user": (1, "User"),
    "api_key": (4, "Service"),
    "service": (4, "Service"),
    "agent": (OTHER, "Agent"),
    "system": (3, "System"),
    "anonymous": (OTHER, "Anonymous"),
}
# An actor without an id and without a name still needs one of them in OCSF. These say what is true.
_NAMELESS: dict[ActorType, str] = {"system": "system", "anonymous": "anonymous"}
ERASED = "erased"
UNKNOWN = "unknown"

_ORGANIZATION_ROLE = "organization_role"
_WORKSPACE_ROLE = "workspace_role"


class Scene(Struct):
    """One event taken apart: the neutral parts, what was made of them, and what found no place.

    `newer` collects what 1.7.0 has an attribute for and this version has not; None in 1.7.0 itself.
    `time` and `logged_time` are milliseconds; `claimed_time` is the claim that `time` does not repeat.
    """

    event: dict[str, Any]
    plan: Plan
    dialect: Dialect
    targets: list[dict[str, Any]]
    context: dict[str, Any]
    unmapped: dict[str, Any]
    actor: dict[str, Any]
    time: int
    logged_time: int
    log_name: str
    newer: dict[str, Any] | None
    claimed_time: str | None = None
    endpoint: dict[str, Any] | None = None
    request: dict[str, Any] | None = None
    response_code: int | None = None


class TypeReading(Struct, frozen=True):
    """What a target's type means: our own word and family for it, and the label a person reads."""

    name: str
    family: str
    label: str


@lru_cache(maxsize=REMEMBERED_TYPES_MAX)
def read_type(target_type: str) -> TypeReading:
    """Read a producer's target type (`USER`, `apiKey`, `api-key`); an unknown one stands for itself."""
    words = tuple(singular(word) for word in split_words(target_type))
    known = type_phrases().get(words)
    if known is None:
        return TypeReading(target_type, "", target_type if target_type.strip() else UNKNOWN)
    return TypeReading(known.name, known.family, known.label)


def named(subject: dict[str, Any], erased: bool) -> dict[str, Any]:
    """Return uid and name of an actor-like value; one of the two is always there."""
    user: dict[str, Any] = {}
    uid = subject.get("id")
    if not uid and subject["type"] == "api_key":
        uid = subject.get("credential_id")
    if uid:
        user["uid"] = uid
    if name := subject.get("name"):
        user["name"] = name
    if not user:
        user["name"] = ERASED if erased else _NAMELESS.get(subject["type"], UNKNOWN)
    return user


def user_of_actor(scene: Scene) -> dict[str, Any]:
    """Render the event's actor as OCSF's user object."""
    actor, dialect = scene.event["actor"], scene.dialect
    user = named(actor, bool(scene.event.get("erased")))
    if (email := actor.get("email")) is not None:
        put_email(user, email, "actor.user", scene)
    type_id, text = _USER_TYPES[actor["type"]]
    user["type_id"] = dialect.service_type_id if text == "Service" else type_id
    user["type"] = text
    if "organization" in scene.event:
        user["org"] = {"uid": scene.event["organization"]}
    if (roles := actor.get("roles")) is not None and (groups := _groups(roles)):
        user["groups"] = groups
    if (credential := actor.get("credential_id")) is not None:
        if "user.programmatic_credentials" not in dialect.newer:
            user["credential_uid"] = credential
        elif type_id != 1:
            # A person's credential may be a browser session, which is none of the programmatic ones.
            user["programmatic_credentials"] = [{"uid": credential, "type": actor["type"]}]
    return user


def put_email(user: dict[str, Any], email: str, path: str, scene: Scene) -> None:
    """Set `email_addr` when this version's type takes the address, else keep it in `unmapped.unfit`."""
    if scene.dialect.email.fullmatch(email):
        user["email_addr"] = email
    else:
        unfit(scene.unmapped, f"{path}.email_addr", email)


def _groups(roles: dict[str, Any]) -> list[dict[str, Any]]:
    pairs = ((roles.get("organization"), _ORGANIZATION_ROLE), (roles.get("workspace"), _WORKSPACE_ROLE))
    return [{"name": name, "type": kind} for name, kind in pairs if name is not None]


def actor_object(scene: Scene, user: dict[str, Any]) -> dict[str, Any]:
    """Render the actor: who, and within which session and with which credential."""
    actor: dict[str, Any] = {"user": user}
    session: dict[str, Any] = {}
    if (uid := scene.context.get("session_id")) is not None:
        session["uid"] = uid
    if (credential := scene.event["actor"].get("credential_id")) is not None:
        session["credential_uid"] = credential
    if session:
        actor["session"] = session
    return actor


def endpoint_of(scene: Scene) -> dict[str, Any] | None:
    """Render where the request came from; None when the event does not say."""
    context = scene.context
    endpoint: dict[str, Any] = {}
    if (ip := context.get("ip")) is not None:
        if is_address(ip):
            endpoint["ip"] = ip
        else:
            unfit(scene.unmapped, "src_endpoint.ip", ip)
    if location := context.get("location"):
        if endpoint:
            endpoint["location"] = location
        else:
            scene.unmapped["location"] = location
    return endpoint or None


def service_endpoint(scene: Scene) -> dict[str, Any]:
    """Name the service the act came from, for the classes that must have an endpoint."""
    actor = scene.event["actor"]
    name = actor.get("name") or actor.get("id") if actor["type"] in ("system", "service", "agent") else None
    return {"svc_name": name or scene.event["stream"], "type_id": OTHER, "type": "Service"}


def request_of(scene: Scene) -> dict[str, Any] | None:
    """Render the HTTP request; None when the event does not have one."""
    context = scene.context
    http = context.get("http") or {}
    request: dict[str, Any] = {}
    if (method := http.get("method")) is not None:
        if (upper := method.upper()) in scene.dialect.http_methods:
            request["http_method"] = upper
        elif scene.newer is not None and upper in V1_7_0.http_methods:
            scene.newer["http_request.http_method"] = upper
        else:
            unfit(scene.unmapped, "http_request.http_method", method)
    if (path := http.get("path")) is not None:
        request["url"] = {"path": path}
    if (agent := context.get("user_agent")) is not None:
        request["user_agent"] = agent
    if not request:
        return None
    if (request_id := context.get("request_id")) is not None:
        request["uid"] = request_id
    return request


def state_version(state: Any) -> str | None:
    """Return the version that a `before` or `after` object says it is, as text."""
    version = state.get("version") if isinstance(state, dict) else None
    if isinstance(version, str) and 0 < len(version) <= 256:
        return version
    return str(version) if type(version) is int else None


def scope_of(event: dict[str, Any]) -> tuple[str, str]:
    """Return id and kind of what contains the act: its workspace, or else the organization."""
    if (workspace := event.get("workspace")) is not None:
        return workspace, "workspace"
    return event["organization"], "organization"
