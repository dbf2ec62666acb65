"""The keys of `metadata` that OCSF has an attribute for.

The neutral event has no field for the port of the client or the identity provider; a producer that knows
them writes them into `metadata` under these keys. A value of another type is not used here. All of
`metadata` also stays in `unmapped.metadata`, so nothing depends on this table for completeness.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from tallystick.ocsf.dialect import AUTHENTICATION, DETECTION_FINDING, ENTITY_MANAGEMENT, OTHER, Dialect
from tallystick.ocsf.plan import Plan
from tallystick.ocsf.values import is_address, milliseconds_or_none

TEXT_CHARACTERS_MAX = 4_096
ADDRESSES_MAX = 32

# The stricter of both versions' hostname types, so that a hint shows in both or in none.
_HOSTNAME = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_HOSTNAME_CHARACTERS_MAX = 253

Reader = Callable[[Any], Any]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= TEXT_CHARACTERS_MAX else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _port(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= 65_535 else None


def _hostname(value: Any) -> str | None:
    if not isinstance(value, str) or len(value) > _HOSTNAME_CHARACTERS_MAX:
        return None
    return value if _HOSTNAME.fullmatch(value) else None


def _addresses(value: Any) -> list[str] | None:
    """Read a list of addresses, or the text of an `X-Forwarded-For` header."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not 0 < len(parts) <= ADDRESSES_MAX:
        return None
    texts = [part.strip() for part in parts if isinstance(part, str)]
    return texts if len(texts) == len(parts) and all(map(is_address, texts)) else None


def _fields(value: Any, fields: dict[str, tuple[str, Reader]]) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    found = {
        name: read for key, (name, reader) in fields.items() if (read := reader(value.get(key))) is not None
    }
    return found or None


def _provider(value: Any) -> dict[str, Any] | None:
    return _fields(value, {"name": ("name", _text), "id": ("uid", _text)})


def _server(value: Any) -> dict[str, Any] | None:
    server = _fields(
        value, {"hostname": ("hostname", _hostname), "port": ("port", _port), "service": ("svc_name", _text)}
    )
    # A port alone does not name an endpoint.
    return server if server is not None and server.keys() != {"port"} else None


class Place(Struct, frozen=True):
    """Where a hint goes: the keys from the top, and the classes it is limited to (None = all that have it)."""

    path: tuple[str, ...]
    only: frozenset[int] | None = None


class Hint(Struct, frozen=True):
    """One known key of `metadata`: how its value is read and where it goes."""

    read: Reader
    places: tuple[Place, ...]


def _to(*paths: str) -> tuple[Place, ...]:
    return tuple(Place(tuple(path.split("."))) for path in paths)


HINTS: dict[str, Hint] = {
    "app_name": Hint(_text, _to("actor.app_name")),
    "full_name": Hint(_text, _to("actor.user.full_name")),
    "organization_name": Hint(_text, _to("actor.user.org.name")),
    "idp": Hint(_provider, _to("actor.idp")),
    "session_issuer": Hint(_text, _to("actor.session.issuer", "session.issuer")),
    "is_mfa": Hint(
        _flag,
        (*_to("actor.session.is_mfa", "session.is_mfa"), Place(("is_mfa",), frozenset({AUTHENTICATION}))),
    ),
    "session_created_at": Hint(
        milliseconds_or_none, _to("actor.session.created_time", "session.created_time")
    ),
    "is_remote": Hint(_flag, _to("actor.session.is_remote")),
    "client_port": Hint(_port, _to("src_endpoint.port")),
    "x_forwarded_for": Hint(_addresses, _to("src_endpoint.intermediate_ips", "http_request.x_forwarded_for")),
    "url_scheme": Hint(_text, _to("http_request.url.scheme")),
    "url_hostname": Hint(_hostname, _to("http_request.url.hostname")),
    "server": Hint(_server, _to("dst_endpoint")),
    "service": Hint(_text, _to("api.service.name", "service.name")),
    "api_version": Hint(_text, _to("api.version")),
    "comment": Hint(_text, (Place(("comment",), frozenset({ENTITY_MANAGEMENT, DETECTION_FINDING})),)),
    "original_event_id": Hint(_text, _to("metadata.original_event_uid")),
    "original_time": Hint(_text, _to("metadata.original_time")),
}

# Sign-in protocols by the word a producer uses for them; the numbers that 1.1.0 lacks are the dialect's.
_PROTOCOLS: dict[str, tuple[int, str]] = {
    "kerberos": (2, "Kerberos"),
    "openid": (4, "OpenID"),
    "oidc": (4, "OpenID"),
    "saml": (5, "SAML"),
    "oauth": (6, "OAUTH 2.0"),
    "oauth2": (6, "OAUTH 2.0"),
    "radius": (10, "RADIUS"),
}
AUTH_PROTOCOL = "auth_protocol"


def apply_hints(out: dict[str, Any], metadata: dict[str, Any], plan: Plan) -> None:
    """Set the attributes that `metadata` has a known key for, where this class and version have them."""
    dialect = plan.dialect
    # In the order of the table: a rendering must be the same bytes every time.
    for key, hint in HINTS.items():
        if key not in metadata or (value := hint.read(metadata[key])) is None:
            continue
        for place in hint.places:
            if place.only is None or plan.class_uid in place.only:
                _put(out, place.path, value, plan)
    if (
        plan.class_uid == AUTHENTICATION
        and isinstance(word := metadata.get(AUTH_PROTOCOL), str)
        and word.strip()
    ):
        out["auth_protocol_id"], out["auth_protocol"] = protocol(word, dialect)


def protocol(word: str, dialect: Dialect) -> tuple[int, str]:
    """Return number and text of a sign-in protocol; one that OCSF does not number is 99 with its own name."""
    match word.lower():
        case "basic" | "password":
            return dialect.basic_auth_id, "Basic Authentication"
        case "ldap":
            return dialect.ldap_auth_id, "LDAP"
        case lower:
            return _PROTOCOLS.get(lower, (OTHER, word[:TEXT_CHARACTERS_MAX]))


def _put(out: dict[str, Any], path: tuple[str, ...], value: Any, plan: Plan) -> None:
    """Set one attribute if its parent is there; only `dst_endpoint` and a session may be made for it."""
    dialect = plan.dialect
    match path:
        case ("dst_endpoint",):
            if "dst_endpoint" in plan.room:
                out["dst_endpoint"] = value
            return
        case ("actor", "app_name"):
            path = ("actor", dialect.app_attribute)
        case ("metadata", "original_event_uid") if "metadata.original_event_uid" not in dialect.newer:
            return
        case ("metadata", "original_time") if "original_time" in out["metadata"]:
            # The event's own claim, which `time` does not repeat, is there already.
            return
        case _:
            pass
    parent: Any = out
    for key in path[:-1]:
        child = parent.get(key)
        if child is None and path[0] == "actor" and key == "session":
            child = parent[key] = {}
        if child is None:
            return
        parent = child
    parent[path[-1]] = value
