"""API keys on a page: made, shown once, rotated, revoked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tallystick.errors import AuditError, NotFound, Refused
from tallystick.services.access import NewKey
from tallystick.services.permissions import MEANING, MEMBERS, implies
from tallystick.web.call import Answer, Call
from tallystick.web.guard import status_of
from tallystick.web.ui.forms import field, read_fields, read_form
from tallystick.web.ui.render import render, see_other

WHERE = "/settings/keys"
LIFETIMES = {"": "never", "30": "30 days", "90": "90 days", "365": "a year"}


async def show(call: Call) -> Answer:
    """List the keys, with a form for another."""
    return await _list(call)


async def _list(call: Call, *, error: AuditError | None = None, made: NewKey | None = None) -> Answer:
    principal = call.caller
    now = call.services.now()
    keys = [{**key, "state": state_of(key, now)} for key in await call.services.keys.list_all(principal)]
    may_see = implies(principal.permissions, MEMBERS)
    return render(
        call, "settings/keys.html", 200 if error is None else status_of(error)[0], title="API keys", keys=keys,
        error=error, made=made, may_give={one: text for one, text in MEANING.items() if implies(principal.permissions, one)},
        workspaces=await call.services.workspaces.list_all(principal) if may_see else [], lifetimes=LIFETIMES,
        done=dict(call.query()).get("done", ""), url=call.services.address.origin_of(call.header(b"host")),
    )  # fmt: skip


def state_of(key: dict[str, Any], now: datetime) -> str:
    """Return live, revoked or expired."""
    if key["revoked_at"] is not None:
        return "revoked"
    return "expired" if key["expires_at"] is not None and key["expires_at"] <= now else "live"


async def create(call: Call) -> Answer:
    """Make a key and show it this once."""
    pairs = await read_fields(call)
    fields = {name: value for name, value in pairs if name != "permission"}
    try:
        days = fields.get("expires", "")
        if days not in LIFETIMES:
            raise Refused(
                f"'{days[:40]}' is no lifetime of a key. No key was made.", path="/expires", rule="form"
            )
        made = await call.services.keys.create(
            call.caller, field(fields, "name", 128), tuple(value for name, value in pairs if name == "permission"),
            call.context, workspace=fields.get("workspace") or None,
            lifetime=timedelta(days=int(days)) if days else None,
        )  # fmt: skip
    except AuditError as error:
        return await _list(call, error=error)
    return await _list(call, made=made)


async def rotate(call: Call) -> Answer:
    """Make a key in the place of another and show it this once; the old one works on for 24 hours."""
    try:
        made = await call.services.keys.rotate(call.caller, call.path("id"), call.context)
    except AuditError as error:
        return await _list(call, error=error)
    return await _list(call, made=made)


async def ask_to_revoke(call: Call) -> Answer:
    """Show what would end with a key, and ask for its name."""
    return render(call, "settings/key_revoke.html", title="Revoke a key", key=await _find(call), error=None)


async def revoke(call: Call) -> Answer:
    """Revoke a key whose name was typed."""
    key = await _find(call)
    typed = (await read_form(call)).get("name", "").strip()
    if typed != key["name"]:
        error = Refused("This is not the name of the key. Nothing was revoked.", path="/name", rule="form")
        return render(call, "settings/key_revoke.html", 400, title="Revoke a key", key=key, error=error)
    await call.services.keys.revoke(call.caller, key["id"], call.context)
    return see_other(f"{WHERE}?done=revoked")


async def _find(call: Call) -> dict[str, Any]:
    for key in await call.services.keys.list_all(call.caller):
        if key["id"] == call.path("id"):
            return key
    raise NotFound("There is no key with this id in this organization.")
