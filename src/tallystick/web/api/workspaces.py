"""Workspaces and teams over HTTP."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from tallystick.errors import Refused
from tallystick.web.api.answers import json_answer
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Parameter
from tallystick.web.wish import DONE, ID, made, read_wish, wish

_TEXT = {"type": "string", "minLength": 1}
LIST: dict[str, Any] = {
    "parameters": (
        Parameter(
            name="deleted", summary="true: deleted ones too; their events can still be read.",
            schema={"type": "string", "enum": ["true", "false"]},
        ),
    )
}  # fmt: skip
ONE: dict[str, Any] = {"parameters": (ID,)}
CREATE: dict[str, Any] = {
    "body": wish(
        {"id": _TEXT, "display_name": _TEXT, "team_id": _TEXT},
        "display_name",
        example={"id": "ws_7", "display_name": "Support assistant"},
    ),
    "replies": made("Made."),
}
CHANGE: dict[str, Any] = {
    "parameters": (ID,),
    "body": wish(
        {"display_name": _TEXT, "team_id": {"type": "string"}, "archived": {"type": "boolean"}},
        example={"archived": True},
    ),
    "replies": DONE,
}
REMOVE: dict[str, Any] = {"parameters": (ID,), "replies": DONE}
TEAM: dict[str, Any] = {
    "body": wish({"display_name": _TEXT}, "display_name", example={"display_name": "Research"}),
    "replies": made("Made."),
}
TEAM_CHANGE: dict[str, Any] = {**TEAM, "parameters": (ID,), "replies": DONE}


class _Workspace(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    display_name: str
    id: str | None = None
    team_id: str | None = None


class _Change(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    display_name: str | None = None
    team_id: str | None = None
    archived: bool | None = None


class _Team(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    display_name: str


async def list_workspaces(call: Call) -> Answer:
    """Return the workspaces that this credential may know of."""
    pairs = call.query()
    if any(key != "deleted" for key, _ in pairs) or len(pairs) > 1:
        raise Refused("The only parameter of this call is `deleted`, once.", rule="parameter")
    if pairs and pairs[0][1] not in ("true", "false"):
        raise Refused("deleted is true or false.", path="/deleted", rule="parameter")
    deleted = bool(pairs) and pairs[0][1] == "true"
    found = await call.services.workspaces.list_all(call.caller, deleted=deleted)
    return json_answer({"workspaces": found})


async def get_workspace(call: Call) -> Answer:
    """Return one workspace."""
    return json_answer(await call.services.workspaces.get(call.caller, call.path("id")))


async def create_workspace(call: Call) -> Answer:
    """Make a workspace, under the id that events name it by."""
    asked = await read_wish(call, _Workspace)
    created = await call.services.workspaces.create(
        call.caller, asked.display_name, call.context, workspace_id=asked.id, team_id=asked.team_id
    )
    return json_answer(created, 201)


async def change_workspace(call: Call) -> Answer:
    """Change a workspace's name or team ("" = none), or archive it: its events stay readable."""
    asked = await read_wish(call, _Change)
    return json_answer(
        await call.services.workspaces.update(
            call.caller, call.path("id"), call.context, display_name=asked.display_name, team_id=asked.team_id,
            archived=asked.archived,
        )
    )  # fmt: skip


async def delete_workspace(call: Call) -> Answer:
    """Delete a workspace: its keys are revoked, its roles end, its events stay readable to the organization."""
    await call.services.workspaces.delete(call.caller, call.path("id"), call.context)
    return json_answer({"id": call.path("id"), "deleted": True})


async def list_teams(call: Call) -> Answer:
    """Return the organization's teams."""
    return json_answer({"teams": await call.services.workspaces.list_teams(call.caller)})


async def create_team(call: Call) -> Answer:
    """Make a team."""
    asked = await read_wish(call, _Team)
    return json_answer(
        await call.services.workspaces.create_team(call.caller, asked.display_name, call.context), 201
    )


async def rename_team(call: Call) -> Answer:
    """Give a team another name."""
    asked = await read_wish(call, _Team)
    return json_answer(
        await call.services.workspaces.rename_team(
            call.caller, call.path("id"), asked.display_name, call.context
        )
    )


async def delete_team(call: Call) -> Answer:
    """Delete a team; its workspaces stay."""
    await call.services.workspaces.delete_team(call.caller, call.path("id"), call.context)
    return json_answer({"id": call.path("id"), "deleted": True})
