"""An organization's own actions and their quarantine over HTTP."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from tallystick.errors import Refused
from tallystick.services.quarantine import LIMIT_MAX, Reprocessing, State
from tallystick.web.api.answers import json_answer
from tallystick.web.api.contract import Given
from tallystick.web.body import JSON_TYPES, require_type
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Body, Parameter, Reply

_EXAMPLE = {
    "name": "invoice.approve",
    "version": 1,
    "title": "Invoice approved",
    "verb": "update",
    "target_type": "invoice",
    "schema": {"type": "object", "required": ["after"], "properties": {"after": {"required": ["amount"]}}},
}
ACTION: dict[str, Any] = {
    "body": Body(types=("application/json",), schema={"type": "object"}, example=_EXAMPLE),
    "replies": (
        Reply(status=201, summary="Registered; events are held against it from now on."),
        Reply(status=200, summary="This version was registered before, just so."),
        Reply(status=409, summary="This version is registered otherwise.", type="application/problem+json"),
    ),
}
NAME = (Parameter(name="name", place="path", required=True),)
QUARANTINE = (
    Parameter(name="state", summary="open (default), released or all.",
              schema={"enum": ["open", "released", "all"]}),
    Parameter(name="action", summary="Only events of this action."),
    Parameter(name="limit", summary="Events on a page.",
              schema={"type": "integer", "minimum": 1, "maximum": LIMIT_MAX}),
    Parameter(name="cursor", summary="The next_cursor of the page before."),
)  # fmt: skip
REPROCESS: dict[str, Any] = {
    "body": Body(
        types=("application/json",),
        schema={
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "action": {"type": ["string", "null"]},
                "positions": {"type": ["array", "null"], "items": {"type": "integer"}, "maxItems": LIMIT_MAX},
                "after": {"type": "integer", "minimum": -1},
            },
        },
        example={"action": "invoice.approve"},
    ),
}


async def register_action(call: Call) -> Answer:
    """Register an action of the organization's own, or a new version of one, with a JSON Schema for its events.

    From then on an event that breaks the schema is recorded as usual and kept in quarantine as well.
    """
    require_type(call, JSON_TYPES)
    raw = await call.services.bodies.read(call)
    kept = await call.services.registered.register(
        call.caller, call.services.ingest, raw, context=call.context
    )
    return json_answer(kept.action, 201 if kept.created else 200)


async def list_actions(call: Call) -> Answer:
    """Return the newest version of each registered action, without the schemas."""
    Given(call, ()).done()
    return json_answer({"actions": await call.services.registered.list_newest(call.caller)})


async def list_versions(call: Call) -> Answer:
    """Return every version of one registered action, newest first."""
    Given(call, NAME).done()
    return json_answer(
        {"versions": await call.services.registered.list_versions(call.caller, call.path("name"))}
    )


async def list_quarantine(call: Call) -> Answer:
    """Return events that broke the schema of their action, with what they broke."""
    given = Given(call, QUARANTINE)
    limit = given.number("limit", default=100, least=1, most=LIMIT_MAX)
    state = given.choices("state", ("open", "released", "all")) or ("open",)
    action, cursor = given.texts("action"), given.text("cursor")
    given.done()
    found, following = await call.services.quarantine.list_events(
        call.caller,
        state=cast(State, state[0]),
        action=None if action is None else action[0],
        limit=limit,
        cursor=cursor,
    )
    return json_answer({"events": found, "next_cursor": following})


async def reprocess_quarantine(call: Call) -> Answer:
    """Hold events in quarantine against the newest schema of their action and release those that fit now.

    Up to 1,000 a call; `next` is the `after` of the next one.
    """
    require_type(call, JSON_TYPES)
    raw = await call.services.bodies.read(call)
    try:
        asked = msgspec.json.decode(raw or b"{}", type=Reprocessing)
    except msgspec.DecodeError as error:
        raise Refused(f"The request is not understood: {error}", rule="shape") from error
    if asked.positions is not None and len(asked.positions) > LIMIT_MAX:
        raise Refused(f"At most {LIMIT_MAX} positions in a call.", path="/positions", rule="length")
    if any(not -1 <= number < 2**62 for number in (asked.after, *(asked.positions or ()))):
        raise Refused("A position is a whole number from 0.", path="/positions", rule="number")
    done = await call.services.quarantine.reprocess(
        call.caller, call.services.ingest, asked, context=call.context
    )
    return json_answer(done)
