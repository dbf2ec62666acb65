"""CloudEvents over HTTP: structured, in batches, and in binary mode."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

import msgspec

from tallystick.errors import Refused
from tallystick.event.batch import split
from tallystick.services.ingest import EventError, EventResult
from tallystick.sources.cloudevents import BATCH, STRUCTURED, event_of, from_binary
from tallystick.web.api.answers import json_answer
from tallystick.web.api.translated import record_all
from tallystick.web.body import require_type
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Body, Reply
from tallystick.web.parameters import BATCH as OWN_BATCH
from tallystick.web.parameters import EVENT as OWN_EVENT

_HEADER: Final = b"ce-"
_EXAMPLE: Final = {
    "specversion": "1.0",
    "id": "a-1",
    "source": "/billing",
    "type": "budget.update",
    "subject": "budget/b_1",
    "time": "2026-06-01T12:00:00Z",
    "actorid": "u_123",
    "data": {"limit": 200},
}
_TEXT: Final = {"type": "string", "minLength": 1}
_SCHEMA: Final = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": _TEXT,
        "source": _TEXT,
        "type": _TEXT,
        "subject": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "data": {},
    },
}
_RESULTS: Final = OWN_BATCH["replies"][0].schema
_RECORDED, _REPEATED, _CONFLICT = OWN_EVENT["replies"]
CLOUDEVENTS: Final[dict[str, Any]] = {
    "body": Body(types=(STRUCTURED,), schema=_SCHEMA, example=_EXAMPLE),
    "replies": (
        _RECORDED,
        Reply(status=200, summary="Recorded before; or a batch: one result for each event.",
              schema={"anyOf": [_REPEATED.schema, _RESULTS]}),
        _CONFLICT,
    ),
}  # fmt: skip


async def receive(call: Call) -> Answer:
    """Record a CloudEvent, or a batch of them; sent again they make no second event.

    Structured (`application/cloudevents+json`), batch (`application/cloudevents-batch+json`) or binary (`ce-` headers).
    """
    declared = (call.header(b"content-type") or "").partition(";")[0].strip().lower()
    if declared == BATCH:
        return await _batch(call)
    if declared == STRUCTURED:
        require_type(call, (STRUCTURED,))
        raw = await call.services.bodies.read(call)
        return await _one(call, _json(raw))
    attributes = _attributes(call)
    if "id" not in attributes:
        require_type(call, (STRUCTURED, BATCH))
    body = await call.services.bodies.read(call)
    return await _one(call, from_binary(attributes, call.header(b"content-type") or "", body))


def _attributes(call: Call) -> dict[str, str]:
    names = {name for name, _ in call.scope["headers"] if name.startswith(_HEADER)}
    return {name[3:].decode("latin-1"): unquote(call.header(name) or "") for name in names}


def _json(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"This is not JSON: {error}", rule="invalid_json") from error


async def _one(call: Call, cloud_event: Any) -> Answer:
    recorded = await call.services.ingest.record(call.caller, event_of(cloud_event))
    call.services.read.appended(call.caller.organization_id)
    status = "duplicate" if recorded.duplicate else "quarantined" if recorded.quarantined else "created"
    call.services.metrics.events.labels(status).inc()
    told = {name: getattr(recorded, name) for name in ("id", "position", "received_at", "receipt")}
    return json_answer(told, 200 if recorded.duplicate else 201)


async def _batch(call: Call) -> Answer:
    require_type(call, (BATCH,))
    pieces = split(await call.services.bodies.read(call), ndjson=False)
    results: list[EventResult | None] = []
    events: list[bytes] = []
    for piece in pieces:
        try:
            events.append(event_of(_json(piece)))
            results.append(None)
        except Refused as error:
            told = EventError(rule=error.rule, message=str(error), path=error.path)
            results.append(EventResult(status="rejected", error=told))
    recorded = iter(await record_all(call, events))
    return json_answer({"results": [one or next(recorded) for one in results], "receipt": None})
