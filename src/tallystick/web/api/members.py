"""Members, their roles, and the organization's own roles over HTTP."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from tallystick.errors import Refused
from tallystick.services.people.members import PAGE_MAX
from tallystick.web.api.answers import json_answer
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Parameter
from tallystick.web.wish import DONE, ID, made, read_wish, wish

_TEXT = {"type": "string", "minLength": 1}
_ROLE = {
    **_TEXT,
    "description": "OWNER, ADMIN, MEMBER, VIEWER, AUDITOR, or a role of the organization's own.",
}
_WORKSPACE = Parameter(name="workspace", place="path", required=True)
LIST: dict[str, Any] = {
    "parameters": (
        Parameter(name="after", summary="The `next` of the page before."),
        Parameter(name="limit", schema={"type": "integer", "minimum": 1, "maximum": PAGE_MAX}),
    )
}
INVITE: dict[str, Any] = {
    "body": wish(
        {
            "email": _TEXT,
            "role": _ROLE,
            "display_name": _TEXT,
            "workspaces": {"type": "object", "additionalProperties": _TEXT},
        },
        "email",
        "role",
        example={"email": "ada@example.com", "role": "AUDITOR"},
    ),
    "replies": made("Invited; the link is shown only here."),
}
ONE: dict[str, Any] = {"parameters": (ID,)}
CHANGE: dict[str, Any] = {
    "parameters": (ID,),
    "body": wish(
        {"role": _ROLE, "display_name": _TEXT, "active": {"type": "boolean"}}, example={"role": "VIEWER"}
    ),
    "replies": DONE,
}
REMOVE: dict[str, Any] = {"parameters": (ID,), "replies": DONE}
WORKSPACE_ROLE: dict[str, Any] = {
    "parameters": (ID, _WORKSPACE),
    "body": wish({"role": _ROLE}, "role", example={"role": "AUDITOR"}),
    "replies": DONE,
}
NO_WORKSPACE_ROLE: dict[str, Any] = {"parameters": (ID, _WORKSPACE), "replies": DONE}
_PERMISSIONS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
ROLE: dict[str, Any] = {
    "body": wish(
        {"name": _TEXT, "permissions": _PERMISSIONS}, "name", "permissions",
        example={"name": "Support", "permissions": ["auditLogs:read"]},
    ),
    "replies": made("Made."),
}  # fmt: skip
ROLE_CHANGE: dict[str, Any] = {
    "parameters": (ID,),
    "body": wish({"name": _TEXT, "permissions": _PERMISSIONS}, example={"name": "Support, second line"}),
    "replies": DONE,
}


class _Invitation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    email: str
    role: str
    display_name: str | None = None
    workspaces: dict[str, str] = {}


class _Change(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    role: str | None = None
    display_name: str | None = None
    active: bool | None = None


class _RoleInWorkspace(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    role: str


class _Role(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    permissions: tuple[str, ...]


class _RoleChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str | None = None
    permissions: tuple[str, ...] | None = None


async def who_am_i(call: Call) -> Answer:
    """Return who this credential stands for, what it may do and see, and whom to ask for more."""
    principal = call.caller
    workspaces = principal.workspaces
    return json_answer(
        {
            "organization_id": principal.organization_id,
            "kind": principal.kind,
            "id": principal.id,
            "name": principal.name,
            "email": principal.email,
            "permissions": sorted(principal.permissions),
            "workspaces": None if workspaces is None else sorted(workspaces),
            "workspace_permissions": {name: sorted(held) for name, held in principal.grants},
            "ask": await call.services.sessions.grantors(principal.organization_id),
        }
    )


async def list_members(call: Call) -> Answer:
    """Return the organization's members, who they are and what role they have."""
    pairs = dict(call.query())
    if unknown := set(pairs) - {"after", "limit"}:
        raise Refused(f"'{min(unknown)[:80]}' is no parameter of this call.", rule="parameter")
    limit = pairs.get("limit", str(PAGE_MAX))
    if not (limit.isascii() and limit.isdigit() and len(limit) < 6 and 1 <= int(limit) <= PAGE_MAX):
        raise Refused(f"limit is a number from 1 to {PAGE_MAX}.", path="/limit", rule="number")
    after = pairs.get("after")
    if after is not None and not (len(after) <= 64 and after.isprintable()):
        raise Refused("after is the `next` of a page that you received.", path="/after", rule="cursor")
    members, onwards = await call.services.members.list_page(call.caller, after=after, limit=int(limit))
    return json_answer({"members": members, "next": onwards})


async def invite_member(call: Call) -> Answer:
    """Invite somebody: a member, and a link that works once with which they set a password. Send it to them."""
    asked = await read_wish(call, _Invitation)
    invited = await call.services.members.invite(
        call.caller, asked.email, asked.role, call.context, display_name=asked.display_name,
        workspaces=asked.workspaces,
    )  # fmt: skip
    return json_answer(invited, 201)


async def get_member(call: Call) -> Answer:
    """Return one member."""
    return json_answer(await call.services.members.get(call.caller, call.path("id")))


async def change_member(call: Call) -> Answer:
    """Change a member's role or name, or whether they may sign in."""
    asked = await read_wish(call, _Change)
    return json_answer(
        await call.services.members.update(
            call.caller, call.path("id"), call.context, role=asked.role, display_name=asked.display_name,
            active=asked.active,
        )
    )  # fmt: skip


async def remove_member(call: Call) -> Answer:
    """Remove a member for good; what they did stays done under their name."""
    await call.services.members.remove(call.caller, call.path("id"), call.context)
    return json_answer({"id": call.path("id"), "removed": True})


async def set_workspace_role(call: Call) -> Answer:
    """Give a member a role in one workspace."""
    asked = await read_wish(call, _RoleInWorkspace)
    return json_answer(
        await call.services.members.set_workspace_role(
            call.caller, call.path("id"), call.path("workspace"), asked.role, call.context
        )
    )


async def remove_workspace_role(call: Call) -> Answer:
    """Take a member's role in one workspace."""
    return json_answer(
        await call.services.members.set_workspace_role(
            call.caller, call.path("id"), call.path("workspace"), None, call.context
        )
    )


async def list_roles(call: Call) -> Answer:
    """Return the built-in roles and the organization's own, with what each may do."""
    return json_answer({"roles": await call.services.roles.list_all(call.caller)})


async def create_role(call: Call) -> Answer:
    """Make a role of the organization's own."""
    asked = await read_wish(call, _Role)
    created = await call.services.roles.create(call.caller, asked.name, asked.permissions, call.context)
    return json_answer(created, 201)


async def change_role(call: Call) -> Answer:
    """Change a role for everybody who has it."""
    asked = await read_wish(call, _RoleChange)
    return json_answer(
        await call.services.roles.update(
            call.caller, call.path("id"), call.context, name=asked.name, permissions=asked.permissions
        )
    )


async def remove_role(call: Call) -> Answer:
    """Remove a role that nobody has any more."""
    await call.services.roles.remove(call.caller, call.path("id"), call.context)
    return json_answer({"id": call.path("id"), "removed": True})
