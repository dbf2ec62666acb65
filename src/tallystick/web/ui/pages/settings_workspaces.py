"""Workspaces and teams on a page: made, renamed, archived, deleted; their events stay readable."""

from __future__ import annotations

from tallystick.errors import AuditError, Refused
from tallystick.web.call import Answer, Call
from tallystick.web.guard import status_of
from tallystick.web.ui.forms import field, read_form
from tallystick.web.ui.render import render, see_other

WHERE = "/settings/workspaces"
DONE = {
    "made": "It is there.",
    "changed": "Saved.",
    "deleted": "The workspace was deleted. Its events can still be read.",
}


async def show(call: Call) -> Answer:
    """List workspaces and teams."""
    return await _list(call)


async def _list(call: Call, *, error: AuditError | None = None) -> Answer:
    return render(
        call, "settings/workspaces.html", 200 if error is None else status_of(error)[0], title="Workspaces",
        workspaces=await call.services.workspaces.list_all(call.caller, deleted=True),
        teams=await call.services.workspaces.list_teams(call.caller), error=error,
        done=DONE.get(dict(call.query()).get("done", ""), ""),
    )  # fmt: skip


async def create(call: Call) -> Answer:
    """Make a workspace."""
    fields = await read_form(call)
    try:
        await call.services.workspaces.create(
            call.caller, field(fields, "display_name", 256), call.context, workspace_id=fields.get("id") or None,
            team_id=fields.get("team") or None,
        )  # fmt: skip
    except AuditError as error:
        return await _list(call, error=error)
    return see_other(f"{WHERE}?done=made")


async def create_team(call: Call) -> Answer:
    """Make a team."""
    try:
        name = field(await read_form(call), "display_name", 256)
        await call.services.workspaces.create_team(call.caller, name, call.context)
    except AuditError as error:
        return await _list(call, error=error)
    return see_other(f"{WHERE}?done=made")


async def delete_team(call: Call) -> Answer:
    """Delete a team; its workspaces stay."""
    await call.services.workspaces.delete_team(call.caller, call.path("id"), call.context)
    return see_other(f"{WHERE}?done=changed")


async def show_one(call: Call) -> Answer:
    """Show one workspace to change it."""
    return await _one(call)


async def _one(call: Call, *, error: AuditError | None = None) -> Answer:
    one = await call.services.workspaces.get(call.caller, _id(call))
    return render(
        call, "settings/workspace.html", 200 if error is None else status_of(error)[0], title=one["display_name"],
        one=one, teams=await call.services.workspaces.list_teams(call.caller), error=error,
    )  # fmt: skip


async def change(call: Call) -> Answer:
    """Rename a workspace, give it to a team, archive it or take it back."""
    fields = await read_form(call)
    try:
        await call.services.workspaces.update(
            call.caller, _id(call), call.context, display_name=field(fields, "display_name", 256),
            team_id=fields.get("team", ""), archived="archived" in fields,
        )  # fmt: skip
    except AuditError as error:
        return await _one(call, error=error)
    return see_other(f"{WHERE}?done=changed")


async def delete(call: Call) -> Answer:
    """Delete a workspace whose id was typed."""
    typed = (await read_form(call)).get("typed", "").strip()
    try:
        if typed != _id(call):
            raise Refused(
                "This is not the id of the workspace. Nothing was deleted.", path="/typed", rule="form"
            )
        await call.services.workspaces.delete(call.caller, typed, call.context)
    except AuditError as error:
        return await _one(call, error=error)
    return see_other(f"{WHERE}?done=deleted")


def _id(call: Call) -> str:
    return call.path("id")
