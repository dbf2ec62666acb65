"""OTLP/HTTP: where any OpenTelemetry log exporter may send its records; those that carry `audit.action` are recorded.

Source: OTLP specification, "OTLP/HTTP": statuses, retryable answers, partial success.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from starlette.responses import Response

from tallystick.errors import AuditError
from tallystick.web.api.answers import NO_STORE
from tallystick.web.api.translated import record_all
from tallystick.web.body import require_type
from tallystick.web.call import Answer, Call
from tallystick.web.guard import headers_of, status_of
from tallystick.web.operation import Body, Reply

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
_THREAD_ABOVE_BYTES: Final = 64 * 1024
# google.rpc.Code of an HTTP status; the others are UNKNOWN.
_CODES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 409: 6, 413: 11, 415: 3, 429: 8, 503: 14}
_STATUS: Final = {
    "type": "object",
    "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
}
_ANSWER: Final = {
    "type": "object",
    "properties": {
        "partialSuccess": {
            "type": "object",
            "properties": {"rejectedLogRecords": {"type": "string"}, "errorMessage": {"type": "string"}},
        }
    },
}
_BINARY: Final = {"type": "string", "format": "binary"}
_REFUSALS: Final = {
    400: "Not understood; not worth another try.",
    401: "No valid credential.",
    403: "Not permitted.",
    408: "The body came too slowly.",
    413: "Too large; send it in parts.",
    415: "Another media type than protobuf or JSON.",
    429: "Too many attempts; try again after Retry-After.",
    503: "Try again after Retry-After.",
}
LOGS: Final[dict[str, Any]] = {
    "body": Body(
        types=(JSON, PROTOBUF),
        schema={"type": "object", "properties": {"resourceLogs": {"type": "array"}}},
        example={
            "resourceLogs": [
                {
                    "resource": {
                        "attributes": [{"key": "service.name", "value": {"stringValue": "billing"}}]
                    },
                    "scopeLogs": [
                        {
                            "logRecords": [
                                {
                                    "timeUnixNano": "1767225600000000000",
                                    "attributes": [
                                        {"key": "audit.action", "value": {"stringValue": "budget.update"}},
                                        {"key": "audit.actor.id", "value": {"stringValue": "u_123"}},
                                    ],
                                }
                            ]
                        }
                    ],
                }
            ]
        },
    ),
    "replies": (
        Reply(status=200, summary="Recorded; partialSuccess says what was not.", schema=_ANSWER),
        Reply(status=200, summary="The same in protobuf.", type=PROTOBUF, schema=_BINARY),
        *(
            Reply(status=status, summary=summary, type=kind, schema=schema)
            for status, summary in _REFUSALS.items()
            for kind, schema in ((JSON, _STATUS), (PROTOBUF, _BINARY))
        ),
    ),
}


async def export_logs(call: Call) -> Answer:
    """Record OpenTelemetry log records that carry `audit.action`; the others are counted as rejected.

    Sent again, the same records make no second event.
    """
    kind = require_type(call, (PROTOBUF, JSON))
    try:
        return await _export(call, as_json=kind == JSON)
    except AuditError as error:
        if kind == PROTOBUF:
            error.add_note(PROTOBUF)  # an error is answered in the form of the request
        raise


async def _export(call: Call, *, as_json: bool) -> Answer:
    from tallystick.sources.otlp import translate  # protobuf takes memory that only this needs

    raw = await call.services.bodies.read(call)
    if len(raw) > _THREAD_ABOVE_BYTES:
        found = await asyncio.to_thread(translate, raw, as_json=as_json)
    else:
        found = translate(raw, as_json=as_json)
    errors = [one.error for one in await record_all(call, found.events) if one.error is not None]
    said: list[str] = []
    if found.others:
        said.append(f"{found.others} log records carry no audit.action and were not recorded.")
    if errors:
        said.append(f"{len(errors)} were refused, the first one because: {errors[0].message}")
    return _accepted(found.others + len(errors), " ".join(said), as_json=as_json)


def _accepted(rejected: int, said: str, *, as_json: bool) -> Response:
    if as_json:
        partial = {"rejectedLogRecords": str(rejected), "errorMessage": said}
        body = msgspec.json.encode({"partialSuccess": partial} if rejected else {})
        return Response(body, 200, NO_STORE, media_type=JSON)
    partial = _number(1, rejected) + _text(2, said)
    return Response(_text(1, partial) if rejected else b"", 200, NO_STORE, media_type=PROTOBUF)


def otlp_errors(error: AuditError, _: str) -> Response:
    """Write an error as google.rpc.Status, in the form of the request where that is known."""
    status, _title = status_of(error)
    code, headers = _CODES.get(status, 2), headers_of(error, status)
    if PROTOBUF in getattr(error, "__notes__", ()):
        return Response(_number(1, code) + _text(2, str(error)), status, headers, media_type=PROTOBUF)
    body = msgspec.json.encode({"code": code, "message": str(error)})
    return Response(body, status, headers, media_type=JSON)


# Three fields of two messages: not worth loading protobuf for an answer.


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
