"""Retention, legal holds, erasure and approvals over HTTP."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from tallystick.errors import Refused
from tallystick.services.keeping.approvals import Asked
from tallystick.services.keeping.erasure import IDS_MAX, TEXTS_MAX, ErasureWish
from tallystick.services.keeping.holds import REASON_MAX, HoldWish
from tallystick.services.keeping.rules import CLASSES, CUSTOM, DAYS_MAX, Wish
from tallystick.services.own_events import require_whole_organization
from tallystick.services.permissions import RETENTION
from tallystick.web.api.answers import json_answer
from tallystick.web.body import JSON_TYPES, require_type
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Body, Parameter, Reply

T = TypeVar("T")

_TEXT = {"type": ["string", "null"], "minLength": 1, "maxLength": 1024}
_MOMENT = {"type": ["string", "null"], "format": "date-time"}
_PROBLEM = "application/problem+json"
_WAITS = Reply(status=202, summary="Dual control is on: it waits for a second person's approval.")
_ID = (Parameter(name="id", place="path", required=True),)


def _body(properties: dict[str, Any], required: list[str], example: Any) -> Body:
    schema = {"type": "object", "required": required, "additionalProperties": False, "properties": properties}
    return Body(types=("application/json",), schema=schema, example=example)


_POLICY = _body(
    {
        "class": {"type": "string", "enum": [*CLASSES, CUSTOM, ""]},
        "days": {"type": ["integer", "null"], "minimum": 1, "maximum": DAYS_MAX},
        "stream": _TEXT,
        "workspace": _TEXT,
        "ended": {"type": "boolean"},
    },
    [],
    {"class": "seven_years", "stream": "platform"},
)
_HOLD = _body(
    {
        "reason": {"type": "string", "minLength": 1, "maxLength": REASON_MAX},
        "actor": _TEXT,
        "target": _TEXT,
        "workspace": _TEXT,
        "since": _MOMENT,
        "until": _MOMENT,
    },
    ["reason"],
    {"reason": "Case 2026-17", "actor": "ada@example.com"},
)
_ERASURE = _body(
    {
        "id": _TEXT,
        "type": _TEXT,
        "email": _TEXT,
        "also": {"type": "array", "items": {"type": "string"}, "maxItems": TEXTS_MAX},
        "remove_whole": {"type": "boolean"},
        "events": {"type": "array", "items": {"type": "string", "format": "uuid"}, "maxItems": IDS_MAX},
        "paths": {"type": "array", "items": {"type": "string"}, "maxItems": TEXTS_MAX},
    },
    [],
    {"email": "ada@example.com"},
)
_CONFLICT = Reply(
    status=409, summary="Something was changed meanwhile, or a hold stands against it.", type=_PROBLEM
)
POLICY: dict[str, Any] = {
    "body": _POLICY,
    "replies": (Reply(status=200, summary="The rule as it will be."), _WAITS),
}
POLICY_PREVIEW: dict[str, Any] = {"body": _POLICY}
HOLD: dict[str, Any] = {"body": _HOLD, "replies": (Reply(status=201, summary="In force."), _CONFLICT)}
HOLD_PREVIEW: dict[str, Any] = {"body": _HOLD}
RELEASE: dict[str, Any] = {
    "parameters": _ID,
    "replies": (Reply(status=200, summary="Released."), _WAITS, _CONFLICT),
}
ERASURE: dict[str, Any] = {
    "body": _ERASURE,
    "replies": (Reply(status=201, summary="Erased; this is the certificate."), _WAITS, _CONFLICT),
}
ERASURE_PREVIEW: dict[str, Any] = {"body": _ERASURE}
APPROVAL: dict[str, Any] = {
    "parameters": _ID,
    "replies": (Reply(status=200, summary="Decided, and done where approved."), _CONFLICT),
}
DUAL_CONTROL: dict[str, Any] = {
    "body": _body({"dual_control": {"type": "boolean"}}, ["dual_control"], {"dual_control": True}),
    "replies": (Reply(status=200, summary="As it is now."), _WAITS),
}


class _Switch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dual_control: bool


async def _read(call: Call, shape: type[T]) -> T:
    require_type(call, JSON_TYPES)
    raw = await call.services.bodies.read(call)
    try:
        return msgspec.json.decode(raw, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"That is not understood: {error}", rule="shape") from error


def _answer(done: Any, status: int = 200) -> Answer:
    return json_answer(done, 202 if isinstance(done, Asked) else status)


async def get_retention(call: Call) -> Answer:
    """Return how long events are kept: the rules in force, and those announced."""
    return json_answer(await call.services.keeping.policies.view(call.caller))


async def preview_retention(call: Call) -> Answer:
    """Return how many events a change of retention would have go, before it is made."""
    return json_answer(await call.services.keeping.preview_policy(call.caller, await _read(call, Wish)))


async def change_retention(call: Call) -> Answer:
    """Change how long events are kept; what shortens takes effect after seven days."""
    wish = await _read(call, Wish)
    return _answer(await call.services.keeping.change_policy(call.caller, wish, call.context))


async def run_retention(call: Call) -> Answer:
    """Remove now what is due, which the server does by itself every hour."""
    require_whole_organization(call.caller, RETENTION)
    return json_answer({"removed": await call.services.keeping.purge.run(call.caller.organization_id)})


async def list_holds(call: Call) -> Answer:
    """Return every legal hold, those released included."""
    return json_answer({"holds": await call.services.keeping.holds.list_all(call.caller)})


async def preview_hold(call: Call) -> Answer:
    """Return how many events of now a hold would be for."""
    return json_answer(
        {"events": await call.services.keeping.holds.preview(call.caller, await _read(call, HoldWish))}
    )


async def set_hold(call: Call) -> Answer:
    """Hold what fits every filter given, until released: it is neither removed nor erased."""
    wish = await _read(call, HoldWish)
    return json_answer(await call.services.keeping.holds.set(call.caller, wish, context=call.context), 201)


async def release_hold(call: Call) -> Answer:
    """Release a hold."""
    return _answer(await call.services.keeping.release_hold(call.caller, call.path("id"), call.context))


async def list_erasures(call: Call) -> Answer:
    """Return what was erased so far, by pseudonym."""
    return json_answer({"erasures": await call.services.keeping.erasures.list_all(call.caller)})


async def preview_erasure(call: Call) -> Answer:
    """Return what an erasure would touch."""
    return json_answer(
        await call.services.keeping.erasures.preview(call.caller, await _read(call, ErasureWish))
    )


async def erase(call: Call) -> Answer:
    """Erase a person from everywhere, or chosen values of chosen events; every proof still holds."""
    wish = await _read(call, ErasureWish)
    return _answer(await call.services.keeping.erase(call.caller, wish, call.context), 201)


async def list_approvals(call: Call) -> Answer:
    """Return what waits for a second person or was decided, newest first."""
    desk = call.services.keeping
    return json_answer(
        {
            "dual_control": await desk.approvals.is_on(call.caller.organization_id),
            "approvals": await desk.approvals.list_all(call.caller),
        }
    )


async def approve(call: Call) -> Answer:
    """Approve what somebody else asked for, and have it done."""
    return json_answer(
        await call.services.keeping.decide(call.caller, call.path("id"), "approved", call.context)
    )


async def refuse(call: Call) -> Answer:
    """Refuse what somebody else asked for."""
    return json_answer(
        await call.services.keeping.decide(call.caller, call.path("id"), "refused", call.context)
    )


async def switch_dual_control(call: Call) -> Answer:
    """Have shortening retention, releasing holds and erasing need a second person, or not; off needs one too."""
    wish = await _read(call, _Switch)
    done = await call.services.keeping.switch(call.caller, on=wish.dual_control, context=call.context)
    return _answer(done if isinstance(done, Asked) else {"dual_control": done})
