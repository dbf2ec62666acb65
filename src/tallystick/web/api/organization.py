"""The caller's organization over HTTP: its switches."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from tallystick.errors import Refused
from tallystick.web.api.answers import json_answer
from tallystick.web.body import JSON_TYPES, require_type
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Body

SWITCHES: dict[str, Any] = {
    "body": Body(
        types=("application/json",),
        schema={
            "type": "object",
            "required": ["can_use_audit_logs"],
            "additionalProperties": False,
            "properties": {"can_use_audit_logs": {"type": "boolean"}},
        },
        example={"can_use_audit_logs": True},
    ),
}


class _Wish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    can_use_audit_logs: bool


async def get_organization(call: Call) -> Answer:
    """Return the organization of this key and whether its log may be read."""
    return json_answer(await call.services.switches.view(call.caller))


async def switch_organization(call: Call) -> Answer:
    """Switch reading the audit log on or off; recording always goes on, and the log says who switched."""
    require_type(call, JSON_TYPES)
    raw = await call.services.bodies.read(call)
    try:
        wish = msgspec.json.decode(raw, type=_Wish)
    except msgspec.DecodeError as error:
        raise Refused(f"The wish is not understood: {error}", rule="shape") from error
    await call.services.switches.switch(
        call.caller, call.services.ingest, on=wish.can_use_audit_logs, context=call.context
    )
    return json_answer(await call.services.switches.view(call.caller))
