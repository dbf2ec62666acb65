"""OpenTelemetry log records to events: those that carry `audit.action`, as the SDK's log processor reads them.

Source: OTLP 1.x, logs (opentelemetry-proto); JSON by its section "JSON Protobuf Encoding", with hexadecimal ids.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from tallystick.errors import Refused, TooLarge
from tallystick.event.moment import instant_text

ACTION: Final = "audit.action"
MESSAGES_MAX: Final = 200_000  # parts of one request: a byte or two can stand for an object in memory
_PREFIX: Final = "audit."
_DOMAIN: Final = b"tallystick/otlp/1\0"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAMELESS: Final = frozenset({"system", "anonymous"})
# What has a place of its own in an event; every other audit.… becomes metadata.
_TAKEN: Final = frozenset(
    _PREFIX + name
    for name in (
        "action", "id", "actor.type", "actor.id", "actor.name", "actor.email", "target.type", "target.id", "target.name",
        "outcome", "workspace",
    )
)  # fmt: skip


class Translated(Struct, frozen=True):
    """The events of a request, each as JSON, and how many log records are none."""

    events: list[bytes]
    others: int


def translate(raw: bytes, *, as_json: bool) -> Translated:
    """Return the events in an ExportLogsServiceRequest, in protobuf or in JSON.

    An event without `audit.id` gets an id made of the record itself, so that a request that is sent again makes no second
    event. Raises Refused for what is no such request, TooLarge for one of too many parts.
    """
    request = _from_json(raw) if as_json else _from_protobuf(raw)
    events: list[bytes] = []
    others = 0
    seen: Counter[bytes] = Counter()
    for resource, record in _records(request):
        attributes = _values(record.attributes)
        if ACTION not in attributes:
            others += 1
            continue
        tree = _event(record, attributes, _values(resource.attributes))
        tree["id"] = attributes.get(_PREFIX + "id") or str(_id(resource, record, seen))
        events.append(msgspec.json.encode(tree))
    return Translated(events, others)


def _from_protobuf(raw: bytes) -> Any:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    request = ExportLogsServiceRequest()
    _count_parts(raw, request.DESCRIPTOR)
    try:
        request.ParseFromString(raw)
    except DecodeError as error:
        raise Refused(
            "The body is no ExportLogsServiceRequest in protobuf.", rule="invalid_protobuf"
        ) from error
    return request


def _count_parts(raw: bytes, descriptor: Any) -> None:
    """Raise TooLarge where a message has more parts than memory is spent on; what is broken the parser will say."""
    left = MESSAGES_MAX
    stack = [(0, len(raw), descriptor)]
    while stack:
        at, end, kind = stack.pop()
        while at < end:
            left -= 1
            if left < 0:
                raise _too_many()
            tag, at = _varint(raw, at, end)
            size = 0
            match tag & 7:
                case 0:
                    _, at = _varint(raw, at, end)
                case 1:
                    at += 8
                case 5:
                    at += 4
                case 2:
                    size, at = _varint(raw, at, end)
                case _:
                    return
            field = kind.fields_by_number.get(tag >> 3)
            if size and field is not None and field.message_type is not None and at + size <= end:
                stack.append((at, at + size, field.message_type))
            at += size


def _varint(raw: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    return 0, end


def _too_many() -> TooLarge:
    return TooLarge(
        f"The request has more than {MESSAGES_MAX} parts; send it in smaller ones.", rule="batch_too_large"
    )


def _from_json(raw: bytes) -> Any:
    from google.protobuf.json_format import Parse, ParseError
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    if raw.count(b"{") + raw.count(b",") > MESSAGES_MAX:
        raise _too_many()
    try:
        request = Parse(raw, ExportLogsServiceRequest(), ignore_unknown_fields=True)
        for _, record in _records(request):
            # JSON writes these in hexadecimal, where protobuf's own JSON reads base64.
            record.trace_id = bytes.fromhex(base64.b64encode(record.trace_id).decode())
            record.span_id = bytes.fromhex(base64.b64encode(record.span_id).decode())
    except (ParseError, ValueError, RecursionError) as error:
        raise Refused("The body is no ExportLogsServiceRequest in JSON.", rule="invalid_json") from error
    return request


def _records(request: Any) -> Iterator[tuple[Any, Any]]:
    for part in request.resource_logs:
        for scope in part.scope_logs:
            for record in scope.log_records:
                yield part.resource, record


def _id(resource: Any, record: Any, seen: Counter[bytes]) -> UUID:
    """Return the id of a record: the same for the same one sent again, another for its twin in one request."""
    written = resource.SerializeToString(deterministic=True), record.SerializeToString(deterministic=True)
    digest = hashlib.sha256(_DOMAIN + len(written[0]).to_bytes(8, "big") + b"".join(written)).digest()
    seen[digest] += 1
    if seen[digest] > 1:
        digest = hashlib.sha256(_DOMAIN + digest + seen[digest].to_bytes(8, "big")).digest()
    made = bytearray(digest[:16])
    made[6], made[8] = made[6] & 0x0F | 0x80, made[8] & 0x3F | 0x80  # UUIDv8 (RFC 9562, 5.8)
    return UUID(bytes=bytes(made))


def _event(record: Any, attributes: Mapping[str, Any], resource: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {"action": attributes[ACTION], "actor": _actor(attributes, resource)}
    nanoseconds = record.time_unix_nano or record.observed_time_unix_nano
    if nanoseconds:
        tree["occurred_at"] = _moment(nanoseconds)
    if "audit.target.type" in attributes:
        tree["targets"] = [_named(attributes, "audit.target.", ("type", "id", "name"))]
    for name in ("outcome", "workspace"):
        if _PREFIX + name in attributes:
            tree[name] = attributes[_PREFIX + name]
    if any(record.trace_id):
        tree["context"] = {"trace_id": record.trace_id.hex()}
    metadata = {
        name.removeprefix(_PREFIX): value
        for name, value in attributes.items()
        if name.startswith(_PREFIX) and name not in _TAKEN
    }
    if record.HasField("body") and (body := _value(record.body)) not in (None, "", attributes[ACTION]):
        metadata.setdefault("body", body)
    if metadata:
        tree["metadata"] = metadata
    return tree


def _actor(attributes: Mapping[str, Any], resource: Mapping[str, Any]) -> dict[str, Any]:
    kind = attributes.get("audit.actor.type", "user" if "audit.actor.id" in attributes else None)
    if kind is None:
        return {"type": "service", "id": str(resource.get("service.name", "unknown_service"))}
    names = ("id", "name") if kind in _NAMELESS else ("id", "name", "email")
    return {"type": kind, **_named(attributes, "audit.actor.", names)}


def _named(attributes: Mapping[str, Any], prefix: str, names: Iterable[str]) -> dict[str, Any]:
    """Return what is given under `prefix`; numbers become text, as ids of databases are."""
    given = ((name, attributes.get(prefix + name)) for name in names)
    return {name: str(value) if type(value) is int else value for name, value in given if value is not None}


def _moment(nanoseconds: int) -> str:
    try:
        return instant_text(_EPOCH + timedelta(microseconds=nanoseconds // 1_000))
    except OverflowError:
        return str(nanoseconds)  # no such year: refused by name, with the others of the batch stored


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in attributes}


def _value(value: Any) -> Any:
    """Return an AnyValue as JSON; bytes as base64, what is no number in JSON as text."""
    kind = value.WhichOneof("value")
    match kind:
        case None:
            return None
        case "array_value":
            return [_value(one) for one in value.array_value.values]
        case "kvlist_value":
            return _values(value.kvlist_value.values)
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "double_value":
            return value.double_value if math.isfinite(value.double_value) else str(value.double_value)
        case _:
            return getattr(value, kind)
