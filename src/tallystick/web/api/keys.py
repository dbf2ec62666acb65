"""API keys over HTTP: list, create, revoke."""

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
    return json_answer({"keys": await call.services.access.list_keys(call.caller.organization_id)})


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
    made = await call.services.access.create_key(
        call.caller.organization_id, wish.name, wish.permissions, workspace=wish.workspace, lifetime=lifetime
    )
    return json_answer(made, 201)


async def revoke_key(call: Call) -> Answer:
    """Revoke a key for good."""
    await call.services.access.revoke_key(call.caller.organization_id, call.path("id"))
    return json_answer({"id": call.path("id"), "revoked": True})
