"""LangWatch's pull of OCSF events for a SIEM: `GET /api/governance/ocsf`.

Source: LangWatch's governance export. Its order is (millisecond, event id), which an event that arrives late with an
old time can slip behind; our own `cursor` goes by position instead and misses nothing.
"""

from __future__ import annotations

from typing import Any

from tallystick import __version__
from tallystick.errors import AuditError
from tallystick.ocsf import render
from tallystick.services.contracts import Pulled, read_event_id
from tallystick.services.contracts.pull import SINCE_MS_MAX, SINCE_MS_MIN, START
from tallystick.web.api.answers import json_answer
from tallystick.web.api.contract import Given, errors_of, object_of, replies_of, require_organization
from tallystick.web.call import Answer, Call
from tallystick.web.guard import STATUS
from tallystick.web.operation import Parameter

LIMIT_DEFAULT = 500
LIMIT_MAX = 1_000
PARAMETERS = (
    Parameter(name="since_ms", summary="Events from this millisecond on; the whole log without it.",
              schema={"type": "integer"}),
    Parameter(name="since_event_id", summary="Within that millisecond, events with a greater id than this."),
    Parameter(name="limit", summary="Number of events to return.",
              schema={"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}),
    Parameter(name="cursor", summary=f"Ours: by position. {START} begins, then the cursor of each answer."),
)  # fmt: skip
REPLIES = replies_of(
    object_of(
        events={"type": "array", "items": {"type": "object"}},
        nextCursor={"type": ["integer", "null"]},
        nextCursorCompound={"type": ["object", "null"]},
    ),
    object_of(error={"type": "string"}, message={"type": "string"}),
)


async def pull_events(call: Call) -> Answer:
    """Return the next events as OCSF 1.1.0.

    LangWatch's contract; pass both parts of `nextCursorCompound` back. Or pass `cursor=start` and then each answer's
    `cursor` to go by position, which also finds events that arrive late.
    """
    require_organization(call)
    given = Given(call, PARAMETERS)
    limit = given.number("limit", default=LIMIT_DEFAULT, least=1, most=LIMIT_MAX)
    has_since = given.texts("since_ms") is not None
    since = given.number("since_ms", default=0, least=SINCE_MS_MIN, most=SINCE_MS_MAX)
    event_id, cursor = given.text("since_event_id"), given.text("cursor")
    if event_id is not None and not has_since:
        given.bad("since_event_id", "conflict", "It needs since_ms beside it")
    if cursor is not None and (has_since or event_id is not None):
        given.bad(
            "cursor", "conflict", "It already says where to go on; leave since_ms and since_event_id out"
        )
    given.done()
    pull = call.services.pull
    if cursor is not None:
        found, following = await pull.by_position(call.caller, cursor, limit)
        return json_answer(_body(call, found) | {"cursor": following})
    beyond = None if event_id is None else read_event_id(event_id)
    found = await pull.since(call.caller, since if has_since else None, beyond, limit)
    last = found[-1] if found else None
    return json_answer(
        _body(call, found)
        | {
            "nextCursor": None if last is None else last.milliseconds,
            "nextCursorCompound": None
            if last is None
            else {"eventTimeMs": last.milliseconds, "eventId": last.event["id"]},
        }
    )


def _body(call: Call, found: list[Pulled]) -> dict[str, Any]:
    log_name = call.services.contracts.log_name(call.caller.organization_id)
    events = [
        render(
            one.event,
            version="1.1.0",
            leaf_hash=one.leaf_hash,
            log_name=log_name,
            product_version=__version__,
        )
        for one in found
    ]
    return {"events": events, "nextCursor": None, "nextCursorCompound": None}


def _shape(error: AuditError, status: int, request_id: str) -> dict[str, Any]:
    title = next(title for kind, _, title in STATUS if isinstance(error, kind))
    return {"error": title, "message": str(error)}


langwatch_errors = errors_of(_shape)
