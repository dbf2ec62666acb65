"""CloudEvents to events, by the mapping declared here.

| CloudEvent | event |
|---|---|
| `id` and `source` together | `id`: the same for the same CloudEvent sent again |
| `type` | `action` |
| `source` | the actor, a service, unless one is named; kept in `metadata.cloudevent.source` |
| `subject` | a target: `type/id` where it has a slash, else of type `subject` |
| `time` | `occurred_at` |
| extensions `actortype`, `actorid`, `actorname`, `workspace`, `outcome`, `stream` | those fields |
| extension `traceparent` | `context.trace_id` |
| other attributes | `metadata.cloudevent` |
| `data.audit`, an object | fields of the event: `actor`, `targets`, `before`, `after`, `outcome`, `error`, `context` … |
| the rest of `data`, `data_base64` | `metadata.data` |

Source: CloudEvents 1.0.2 with its JSON format and HTTP binding.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import msgspec

from tallystick.errors import Refused

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
_DOMAIN: Final = b"tallystick/cloudevents/1\0"
_REQUIRED: Final = ("id", "source", "type", "specversion")
_FIELDS: Final = ("workspace", "outcome", "stream")
_ACTOR: Final = {"actortype": "type", "actorid": "id", "actorname": "name"}
_TRACE: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_TAKEN: Final = frozenset(
    {
        *_REQUIRED,
        *_FIELDS,
        *_ACTOR,
        "subject",
        "time",
        "data",
        "data_base64",
        "traceparent",
        "datacontenttype",
    }
) - {"source"}
_JSON_TYPE: Final = re.compile(r"application/([a-z0-9.+-]+\+)?json\b", re.IGNORECASE)


def event_of(cloud_event: Any) -> bytes:
    """Return the event, as JSON, that a CloudEvent in the JSON format stands for.

    Raises Refused, with the JSON pointer of the attribute, for what is no CloudEvent 1.0.
    """
    if not isinstance(cloud_event, dict):
        raise Refused("a CloudEvent is one JSON object", rule="invalid_json")
    for name in _REQUIRED:
        if not isinstance(cloud_event.get(name), str) or not cloud_event[name]:
            raise Refused(f"/{name}: a CloudEvent needs it, as text", path=f"/{name}", rule="invalid_field")
    if cloud_event["specversion"] != "1.0":
        raise Refused("/specversion: expected 1.0", path="/specversion", rule="invalid_field")
    tree: dict[str, Any] = {
        "id": str(id_of(cloud_event["source"], cloud_event["id"])),
        "action": cloud_event["type"],
        "actor": _actor(cloud_event),
    }
    if cloud_event.get("time") is not None:
        tree["occurred_at"] = cloud_event["time"]
    if cloud_event.get("subject"):
        tree["targets"] = [_target(cloud_event["subject"])]
    tree |= {name: cloud_event[name] for name in _FIELDS if cloud_event.get(name) is not None}
    if isinstance(trace := cloud_event.get("traceparent"), str) and (found := _TRACE.fullmatch(trace)):
        tree["context"] = {"trace_id": found[1]}
    data = cloud_event.get("data", cloud_event.get("data_base64"))
    if isinstance(data, dict) and isinstance(data.get("audit"), dict):
        tree |= _fields(data["audit"])
        data = {name: value for name, value in data.items() if name != "audit"} or None
    tree["metadata"] = _metadata(cloud_event, data, tree.get("metadata"))
    return msgspec.json.encode(tree)


def id_of(source: str, id: str) -> UUID:
    """Return the id of the event of a CloudEvent, which its source and id name together: UUIDv8 (RFC 9562)."""
    words = source.encode("utf-8", "surrogatepass")
    digest = bytearray(
        hashlib.sha256(
            _DOMAIN + len(words).to_bytes(4, "big") + words + id.encode("utf-8", "surrogatepass")
        ).digest()[:16]
    )
    digest[6], digest[8] = digest[6] & 0x0F | 0x80, digest[8] & 0x3F | 0x80
    return UUID(bytes=bytes(digest))


def from_binary(attributes: Mapping[str, str], content_type: str, body: bytes) -> dict[str, Any]:
    """Return a CloudEvent of the binary mode in the JSON format; `attributes` are its headers without `ce-`.

    Raises Refused where the body is not the JSON that its type says.
    """
    found: dict[str, Any] = {**attributes}
    if content_type:
        found["datacontenttype"] = content_type
    if not body:
        return found
    if not content_type or _JSON_TYPE.match(content_type):
        try:
            found["data"] = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(f"/data: this is not JSON: {error}", path="/data", rule="invalid_json") from error
    else:
        try:
            found["data"] = (
                body.decode() if content_type.startswith("text/") else base64.b64encode(body).decode()
            )
        except UnicodeDecodeError:
            found["data"] = base64.b64encode(body).decode()
    return found


def _fields(audit: dict[str, Any]) -> dict[str, Any]:
    if "id" in audit or "action" in audit:
        name = "id" if "id" in audit else "action"
        path = f"/data/audit/{name}"
        raise Refused(f"{path}: the CloudEvent itself says it", path=path, rule="invalid_field")
    return audit


def _actor(cloud_event: Mapping[str, Any]) -> dict[str, Any]:
    named = {own: cloud_event[name] for name, own in _ACTOR.items() if cloud_event.get(name) is not None}
    if not named:
        return {"type": "service", "id": cloud_event["source"]}
    return {"type": "user", **named}


def _target(subject: Any) -> dict[str, Any]:
    kind, slash, id = str(subject).partition("/")
    return {"type": kind, "id": id} if slash and kind and id else {"type": "subject", "id": str(subject)}


def _metadata(cloud_event: Mapping[str, Any], data: Any, given: Any) -> dict[str, Any]:
    others = {name: value for name, value in cloud_event.items() if name not in _TAKEN and value is not None}
    others["id"] = cloud_event["id"]
    found = {"cloudevent": others, **({} if data is None else {"data": data})}
    return found | given if isinstance(given, dict) else found
