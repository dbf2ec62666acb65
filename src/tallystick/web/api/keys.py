"""API keys over HTTP: list, create, rotate, revoke."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from msgspec import Struct

from tallystick.errors import Refused
from tallystick.web.api.answers import json_answer
from tallystick.web.body import JSON_TYPES, require_type
from tallystick.web.call import Answer, Call


class KeyWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new key shall be."""

    name: str
    permissions: tuple[str, ...]
    workspace: str | None = None
    expires_in_days: int | None = None


async def list_keys(call: Call) -> Answer:
    """Return the organization's keys without their secrets."""
    return json_answer({"keys": await call.services.keys.list_all(call.caller)})


async def create_key(call: Call) -> Answer:
    """Make a key; the answer is the only time its secret is shown."""
    require_type(call, JSON_TYPES)
    raw = await call.services.bodies.read(call)
    try:
        wish = msgspec.json.decode(raw, type=KeyWish)
    except msgspec.DecodeError as error:
        raise Refused(f"The wish for a key is not understood: {error}", rule="shape") from error
    if wish.expires_in_days is not None and not 1 <= wish.expires_in_days <= 3650:
        raise Refused("A key expires in 1 to 3650 days.", path="/expires_in_days", rule="range")
    lifetime = None if wish.expires_in_days is None else timedelta(days=wish.expires_in_days)
    made = await call.services.keys.create(
        call.caller, wish.name, wish.permissions, call.context, workspace=wish.workspace, lifetime=lifetime
    )
    return json_answer(made, 201)


async def rotate_key(call: Call) -> Answer:
    """Make a key in the place of another, which works on for 24 hours; the secret is shown only here."""
    return json_answer(await call.services.keys.rotate(call.caller, call.path("id"), call.context), 201)


async def revoke_key(call: Call) -> Answer:
    """Revoke a key for good; it stops working within five seconds on every server."""
    await call.services.keys.revoke(call.caller, call.path("id"), call.context)
    return json_answer({"id": call.path("id"), "revoked": True})
