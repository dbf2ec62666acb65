"""Producers over HTTP: what is missing of whom, and the signs of life by which silence is told."""

from __future__ import annotations

from typing import Any

import msgspec

from tallystick.errors import Refused
from tallystick.event.limits import DEVELOPER, INTEGER_MAX, PRODUCER_PATTERN
from tallystick.services.producers import INTERVAL_SECONDS_MAX, LISTED_MAX, Beat
from tallystick.web.api.answers import json_answer
from tallystick.web.body import JSON_TYPES, require_type
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Body, Parameter, Reply

_NAME = {"type": "string", "minLength": 1, "maxLength": DEVELOPER["producer.id"], "pattern": PRODUCER_PATTERN}
_ID = Parameter(name="id", place="path", required=True, schema=_NAME)
_COUNT = {"type": "integer", "minimum": 0}
_MOMENT = {"type": ["string", "null"], "format": "date-time"}
_GAP = {
    "type": "object",
    "required": ["epoch", "first", "last", "kind", "reported"],
    "properties": {
        "epoch": {"type": "string"},
        "first": _COUNT,
        "last": _COUNT,
        "kind": {"enum": ["missing", "declared", "waiting"]},
        "reported": {"type": "boolean", "description": "An event of the log tells of it."},
    },
}
_STANDING = {
    "type": "object",
    "required": ["id", "state", "events", "missing", "declared", "conflicts", "gaps", "summary"],
    "properties": {
        "id": {"type": "string"},
        "state": {"enum": ["active", "silent", "stopped", "unwatched"]},
        "epoch": {"type": ["string", "null"]},
        "sequence": _COUNT,
        "events": _COUNT,
        "missing": _COUNT,
        "declared": _COUNT,
        "waiting": _COUNT,
        "conflicts": _COUNT,
        "first_seen_at": _MOMENT,
        "last_event_at": _MOMENT,
        "last_position": {"type": ["integer", "null"]},
        "heartbeat_at": _MOMENT,
        "interval_seconds": {"type": "number"},
        "silent_since": _MOMENT,
        "gaps": {"type": "array", "items": _GAP},
        "more_gaps": {"type": "boolean"},
        "summary": {"type": "string"},
    },
}
_NOTED = {
    "type": "object",
    "required": ["id", "epoch", "sequence"],
    "properties": {"id": {"type": "string"}, "epoch": {"type": "string"}, "sequence": _COUNT},
}
_PAGE = {
    "type": "object",
    "required": ["producers", "next_after"],
    "properties": {
        "producers": {"type": "array", "items": _STANDING},
        "next_after": {"type": ["string", "null"]},
    },
}
LIST: dict[str, Any] = {
    "parameters": (
        Parameter(name="after", summary="The next_after of the page before."),
        Parameter(
            name="limit",
            summary="Producers on a page.",
            schema={"type": "integer", "minimum": 1, "maximum": LISTED_MAX},
        ),
    ),
    "replies": (Reply(status=200, summary="Producers by name.", schema=_PAGE),),
}
ONE: dict[str, Any] = {
    "parameters": (_ID,),
    "replies": (Reply(status=200, summary="The producer.", schema=_STANDING),),
}
HEARTBEAT: dict[str, Any] = {
    "parameters": (_ID,),
    "body": Body(
        types=("application/json",),
        schema={
            "type": "object",
            "required": ["epoch", "sequence"],
            "additionalProperties": False,
            "properties": {
                "epoch": _NAME | {"maxLength": DEVELOPER["producer.epoch"]},
                "sequence": _COUNT | {"maximum": INTEGER_MAX},
                "waiting_from": {"type": ["integer", "null"], "minimum": 1, "maximum": INTEGER_MAX},
                "interval_seconds": {"type": "number", "minimum": 0, "maximum": INTERVAL_SECONDS_MAX},
            },
        },
        example={"epoch": "4f0c21aa", "sequence": 120, "waiting_from": None, "interval_seconds": 60},
    ),
    "replies": (Reply(status=200, summary="Noted.", schema=_NOTED),),
}


async def list_producers(call: Call) -> Answer:
    """Return the producers of events: how far their numbers go, what is missing, who has fallen silent."""
    given = dict(call.query())
    if unknown := given.keys() - {"after", "limit"}:
        raise Refused(f"{sorted(unknown)[0][:64]} is no parameter here.", rule="query")
    limit = given.get("limit", str(LISTED_MAX))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= LISTED_MAX):
        raise Refused(f"limit is a number from 1 to {LISTED_MAX}.", rule="query")
    after = given.get("after", "").replace("\0", "")
    return json_answer(await call.services.producers.list(call.caller, after=after, limit=int(limit)))


async def get_producer(call: Call) -> Answer:
    """Return one producer with the gaps in its numbers."""
    return json_answer(await call.services.producers.one(call.caller, call.path("id").replace("\0", "")))


async def beat(call: Call) -> Answer:
    """Note a producer's sign of life: how far its numbers go, and when to expect the next one.

    Nothing of it is in the log: it only tells that the end of the numbers is missing, or that nobody is there any more.
    """
    require_type(call, JSON_TYPES)
    raw = await call.services.bodies.read(call)
    try:
        said = msgspec.json.decode(raw, type=Beat)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"That is not understood: {error}", rule="shape") from error
    await call.services.producers.beat(call.caller, call.path("id"), said)
    return json_answer({"id": call.path("id"), "epoch": said.epoch, "sequence": said.sequence})
