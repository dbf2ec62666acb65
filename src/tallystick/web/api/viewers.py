"""Delegated reading over HTTP: a backend makes tokens for its own customers, their pages exchange them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from tallystick.errors import Refused, Unauthorized
from tallystick.services.narrow import LOCKABLE, LOCKABLE_TIMES
from tallystick.services.viewers import (
    ALIASES,
    COLUMNS_MAX,
    GRANTABLE,
    LIFETIME_SECONDS,
    ORIGINS_MAX,
    ViewerWish,
)
from tallystick.web import cross_origin
from tallystick.web.api.answers import json_answer
from tallystick.web.body import JSON_TYPES, require_type
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Body, Parameter, Reply
from tallystick.web.ui.events.columns import BY_NAME as COLUMN_BY_NAME

_VALUE = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
VIEWER: dict[str, Any] = {
    "body": Body(
        types=("application/json",),
        schema={
            "type": "object",
            "required": ["filters"],
            "additionalProperties": False,
            "properties": {
                "filters": {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": False,
                    "properties": dict.fromkeys((*ALIASES, *LOCKABLE, *LOCKABLE_TIMES), _VALUE),
                },
                "name": {"type": "string", "maxLength": 128},
                "origins": {"type": "array", "items": {"type": "string"}, "maxItems": ORIGINS_MAX},
                "columns": {
                    "type": "array",
                    "items": {"enum": list(COLUMN_BY_NAME)},
                    "maxItems": COLUMNS_MAX,
                },
                "permissions": {"type": "array", "items": {"enum": list(GRANTABLE)}},
                "expires_in_seconds": {
                    "type": "integer",
                    "minimum": LIFETIME_SECONDS[0],
                    "default": LIFETIME_SECONDS[1],
                    "maximum": LIFETIME_SECONDS[2],
                },
            },
        },
        example={"filters": {"tenant": "ws_7"}, "origins": ["https://app.example.com"]},
    ),
    "replies": (
        Reply(status=201, summary="Made; the answer is the only time the token is shown."),
        Reply(status=403, summary="The key may not see that itself.", type="application/problem+json"),
    ),
}
VIEWER_ID = (Parameter(name="id", place="path", required=True),)
EXCHANGE: dict[str, Any] = {
    "replies": (
        Reply(status=201, summary="Exchanged; the token is used up, and this is the only time the new one is shown."),
        Reply(status=401, summary="No such token, or used, revoked, or over.", type="application/problem+json"),
        Reply(status=403, summary="Not for pages of this origin.", type="application/problem+json"),
    ),
}  # fmt: skip


async def create_viewer(call: Call) -> Answer:
    """Make a short-lived token that reads the events its filters lock, for a customer of the caller's own.

    It shows no more than the key that makes it may see, is good for one exchange, and ends with the key.
    """
    require_type(call, JSON_TYPES)
    raw = await call.services.bodies.read(call)
    try:
        wish = msgspec.json.decode(raw, type=ViewerWish)
    except msgspec.DecodeError as error:
        raise Refused(f"The wish for a viewer's token is not understood: {error}", rule="shape") from error
    wish = replace(wish, columns=tuple(dict.fromkeys(wish.columns)))
    unknown = next((name for name in wish.columns if name not in COLUMN_BY_NAME), None)
    if unknown is not None:
        known = ", ".join(COLUMN_BY_NAME)
        raise Refused(
            f"There is no column '{unknown[:40]}'; known are {known}.", path="/columns", rule="column"
        )
    return json_answer(await call.services.viewers.create(call.caller, wish, call.context), 201)


async def list_viewers(call: Call) -> Answer:
    """Return the viewers' tokens that are not over: those this key made, or all to who manages keys."""
    return json_answer({"viewer_sessions": await call.services.viewers.list_live(call.caller)})


async def revoke_viewer(call: Call) -> Answer:
    """End a viewer's token and the session it was exchanged for."""
    await call.services.viewers.revoke(call.caller, call.path("id"), call.context)
    return json_answer({"id": call.path("id"), "revoked": True})


async def exchange_viewer(call: Call) -> Answer:
    """Exchange a viewer's token, sent as `Authorization: Bearer vwt_…`, for a session, once.

    The answer's `token` (`vws_…`) is sent the same way with every read, from pages of the origins it was made for.
    """
    origin, own = cross_origin.origin_of(call)
    if origin is not None and not own and await call.services.viewers.allows(origin):
        call.cross_origin = origin  # so that a page is told why it gets none
    scheme, _, token = (call.header(b"authorization") or "").partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else ""
    try:
        session = await call.services.viewers.exchange(token, origin=origin, own=own, context=call.context)
    except Unauthorized:
        call.refused_credential = token
        raise
    return json_answer(session, 201)
