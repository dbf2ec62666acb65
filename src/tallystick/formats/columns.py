"""The columns of an event in a table: their names, their order, and the text of each, made from leaf and opening."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, json

from tallystick.errors import Tampered
from tallystick.event.leaf import ERASED, REST, Leaf, LeafRoles, LeafTarget, read_leaf, read_values
from tallystick.event.projection import organization_of
from tallystick.verify.beside import EventRow

# In this order: what people look for first, then everything else an event has, then what ties it to the log.
COLUMNS: Final = (
    "occurred_at", "action", "outcome", "actor_type", "actor_id", "actor_name", "actor_email", "target_type",
    "target_id", "target_name", "workspace", "stream", "ip", "error_code", "error_message", "before", "after",
    "metadata", "more_targets", "actor_roles", "on_behalf_of", "credential_id", "user_agent", "request_id",
    "session_id", "trace_id", "http", "location", "error_type", "source", "producer", "received_at", "redacted",
    "flags", "erased", "id", "organization", "position", "leaf_hash",
)  # fmt: skip

_encode = json.Encoder(order="sorted").encode
_read_text = json.Decoder(str).decode
_read_object = json.Decoder(dict[str, Any]).decode
_read_targets = json.Decoder(tuple[LeafTarget, ...]).decode
_NOTHING: Final[dict[str, Any]] = {}
Values = Mapping[str, Raw]


def texts(row: EventRow) -> list[str]:
    """Return the text of each column of an event: text as it is, anything else as JSON, "" where there is nothing.

    Raises Tampered when leaf and opening cannot be read.
    """
    leaf, values = read_leaf(row.leaf), read_values(row.opening)
    try:
        return _texts(row, leaf, values)
    except (msgspec.MsgspecError, UnicodeError, TypeError) as error:
        raise Tampered(
            f"the stored event at position {row.position} cannot be read: {error}", rule="row"
        ) from None


def _texts(row: EventRow, leaf: Leaf, values: Values) -> list[str]:
    get, actor, targets = values.get, leaf.actor, leaf.targets
    error = _read_object(values["error"]) if "error" in values else _NOTHING
    return [
        leaf.occurred_at,
        leaf.action,
        leaf.outcome,
        actor.type,
        _text(get("actor/id")),
        _text(get("actor/name")),
        _text(get("actor/email")),
        targets[0].type if targets else "",
        targets[0].id if targets else "",
        _text(get("targets/0/name")),
        leaf.workspace or "",
        leaf.stream,
        _text(get("context/ip")),
        error.get("code") or "",
        error.get("message") or "",
        _text(get("before")),
        _text(get("after")),
        _text(get("metadata")),
        _more_targets(leaf, values) if len(targets) > 1 or REST in values else "",
        "" if actor.roles is None else _encode(actor.roles).decode(),
        _delegators(leaf, values) if actor.on_behalf_of else "",
        actor.credential_id or "",
        _text(get("context/user_agent")),
        leaf.request_id or "",
        _text(get("context/session_id")),
        _text(get("context/trace_id")),
        _text(get("context/http")),
        _text(get("context/location")),
        error.get("type") or "",
        leaf.source,
        "" if leaf.producer is None else _encode(leaf.producer).decode(),
        leaf.received_at,
        _text(get("redacted")),
        _text(get("flags")),
        _erased(values[ERASED]) if ERASED in values else "",
        leaf.id,
        organization_of(leaf.origin),
        str(row.position),
        row.leaf_hash.hex(),
    ]


def _text(value: Raw | None) -> str:
    """Return a value as the log holds it: canonical JSON, and text without its quotes."""
    if value is None:
        return ""
    written = bytes(value)
    if written[:1] == b'"':
        return _read_text(written)
    return "" if written == b"null" else written.decode()


def _more_targets(leaf: Leaf, values: Values) -> str:
    targets = leaf.targets + (_read_targets(values[REST]) if REST in values else ())
    shown = []
    for at, one in enumerate(targets[1:], 1):
        name = values.get(f"targets/{at}/name")
        shown.append({"id": one.id, "type": one.type} | ({} if name is None else {"name": json.decode(name)}))
    return _encode(shown).decode()


def _delegators(leaf: Leaf, values: Values) -> str:
    shown = []
    for at, one in enumerate(leaf.actor.on_behalf_of):
        sealed = values.get(f"actor/on_behalf_of/{at}")
        who: dict[str, Any] = {
            "type": one.type,
            "credential_id": one.credential_id,
            "roles": _roles(one.roles),
        }
        who = {key: value for key, value in who.items() if value is not None}
        shown.append(who | ({} if sealed is None else _read_object(sealed)))
    return _encode(shown).decode()


def _roles(roles: LeafRoles | None) -> Any:
    return None if roles is None else msgspec.to_builtins(roles)


def _erased(value: Raw) -> str:
    return _encode(["/" + path for path in sorted(_read_object(value))]).decode()
