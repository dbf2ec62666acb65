"""Members and roles on a page: who is in, what each may do, and who may do what."""

from __future__ import annotations

from typing import Any

from tallystick.errors import AuditError, Refused
from tallystick.services.permissions import MEANING, implies
from tallystick.web.api.sign_in import visit_of
from tallystick.web.call import Answer, Call
from tallystick.web.guard import status_of
from tallystick.web.ui.forms import field, read_fields, read_form
from tallystick.web.ui.render import render, see_other

WHERE = "/settings/members"
PAGE = 100
DONE = {
    "removed": "The member was removed. Sessions and links ended; what they did stays in the log under their name.",
    "changed": "Saved.", "role": "The role is there.", "role-gone": "The role was removed.",
}  # fmt: skip


async def show(call: Call) -> Answer:
    """List the members and the roles."""
    return await _list(call)


async def _list(call: Call, *, error: AuditError | None = None, link: dict[str, Any] | None = None) -> Answer:
    asked = dict(call.query())
    members, onwards = await call.services.members.list_page(
        call.caller, after=asked.get("after"), limit=PAGE
    )
    roles = await call.services.roles.list_all(call.caller)
    return render(
        call, "settings/members.html", 200 if error is None else status_of(error)[0], title="Members & roles",
        members=members, onwards=onwards, roles=roles, role_names={role["id"]: role["name"] for role in roles},
        meanings=MEANING, may_give=[one for one in MEANING if implies(call.caller.permissions, one)], implies=implies,
        error=error, link=link, done=DONE.get(asked.get("done", ""), ""),
    )  # fmt: skip


async def invite(call: Call) -> Answer:
    """Invite somebody and show the link this once."""
    fields = await read_form(call)
    try:
        invited = await call.services.members.invite(
            call.caller, field(fields, "email", 254), field(fields, "role", 64), call.context,
            display_name=fields.get("display_name") or None,
        )  # fmt: skip
    except AuditError as error:
        return await _list(call, error=error)
    return await _list(call, link=_shown(call, invited.member["email"], invited.link))


def _shown(call: Call, email: str, link: Any) -> dict[str, Any]:
    origin = call.services.address.origin_of(call.header(b"host"))
    return {"email": email, "url": origin + link.path, "until": link.expires_at}


async def add_role(call: Call) -> Answer:
    """Make a role of the organization's own."""
    pairs = await read_fields(call)
    name = next((value for key, value in pairs if key == "name"), "")
    try:
        await call.services.roles.create(
            call.caller, name, [value for key, value in pairs if key == "permission"], call.context
        )
    except AuditError as error:
        return await _list(call, error=error)
    return see_other(f"{WHERE}?done=role")


async def remove_role(call: Call) -> Answer:
    """Remove a role that nobody has."""
    try:
        await call.services.roles.remove(call.caller, call.path("id"), call.context)
    except AuditError as error:
        return await _list(call, error=error)
    return see_other(f"{WHERE}?done=role-gone")


async def show_one(call: Call) -> Answer:
    """Show one member: role, workspaces, sessions."""
    return await _one(call)


async def _one(call: Call, *, error: AuditError | None = None, link: dict[str, Any] | None = None) -> Answer:
    member = await call.services.members.get(call.caller, call.path("id"))
    roles = await call.services.roles.list_all(call.caller)
    sessions = [
        one for one in await call.services.sessions.all(call.caller) if one["member_id"] == member["id"]
    ]
    return render(
        call, "settings/member.html", 200 if error is None else status_of(error)[0], title=member["display_name"],
        member=member, roles=roles, role_names={role["id"]: role["name"] for role in roles}, sessions=sessions,
        workspaces=await call.services.workspaces.list_all(call.caller), error=error, link=link,
        done=DONE.get(dict(call.query()).get("done", ""), ""),
    )  # fmt: skip


async def change(call: Call) -> Answer:
    """Change a member's role or name, or whether it may sign in."""
    fields = await read_form(call)
    try:
        await call.services.members.update(
            call.caller, call.path("id"), call.context, role=field(fields, "role", 64),
            display_name=field(fields, "display_name", 256), active="active" in fields,
        )  # fmt: skip
    except AuditError as error:
        return await _one(call, error=error)
    return see_other(f"{WHERE}/{call.path('id')}?done=changed")


async def change_workspace(call: Call) -> Answer:
    """Give a member a role in one workspace, or take it."""
    fields = await read_form(call)
    try:
        await call.services.members.set_workspace_role(
            call.caller,
            call.path("id"),
            field(fields, "workspace", 256),
            fields.get("role") or None,
            call.context,
        )
    except AuditError as error:
        return await _one(call, error=error)
    return see_other(f"{WHERE}/{call.path('id')}?done=changed")


async def make_link(call: Call) -> Answer:
    """Make a link with which the member sets a new password, and show it this once."""
    try:
        made = await call.services.links.for_member(call.caller, call.path("id"), visit_of(call))
    except AuditError as error:
        return await _one(call, error=error)
    member = await call.services.members.get(call.caller, call.path("id"))
    return await _one(call, link=_shown(call, member["email"], made))


async def end_session(call: Call) -> Answer:
    """End one session of a member."""
    await call.services.sessions.revoke(call.caller, call.path("session"), visit_of(call))
    return see_other(f"{WHERE}/{call.path('id')}?done=changed")


async def remove(call: Call) -> Answer:
    """Remove a member whose address was typed."""
    member = await call.services.members.get(call.caller, call.path("id"))
    typed = (await read_form(call)).get("email", "").strip().casefold()
    try:
        if typed != member["email"]:
            raise Refused("This is not the member's address. Nobody was removed.", path="/email", rule="form")
        await call.services.members.remove(call.caller, member["id"], call.context)
    except AuditError as error:
        return await _one(call, error=error)
    return see_other(f"{WHERE}?done=removed")
