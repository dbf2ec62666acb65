"""Members: invited by a link that works once, changed by those who may do no less, and never the last owner gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from tallystick.errors import Conflict, NotFound, TooLarge
from tallystick.event.limits import DEVELOPER
from tallystick.event.model import Context, Target
from tallystick.services.ingest import Ingest
from tallystick.services.own_events import record_act, require_whole_organization
from tallystick.services.people.managing import Managing
from tallystick.services.people.rights import (
    Role,
    find_role,
    require_an_owner,
    require_may_change,
    require_may_give,
    require_text,
)
from tallystick.services.people.roles import changed_meanwhile
from tallystick.services.permissions import MEMBERS
from tallystick.services.principal import Principal
from tallystick.services.sign_in.links import Links, NewLink, require_email
from tallystick.services.sign_in.sign_in import fold_email
from tallystick.store import people as rows
from tallystick.store.connect import Connection, Pool

MEMBERS_MAX = 100_000
WORKSPACE_ROLES_MAX = 1_000
PAGE_MAX = 1_000


class Invited(Struct, frozen=True, kw_only=True):
    """Somebody just invited, and the path of the link to send to them, which is shown only here."""

    member: dict[str, Any]
    link: NewLink


class Members(Managing):
    """Lists, invites, changes and removes members."""

    def __init__(
        self,
        writer: Pool,
        ingest: Ingest,
        links: Links,
        *,
        forget: Callable[[], None],
        now: Callable[[], datetime],
        random: Callable[[int], bytes],
    ) -> None:
        super().__init__(writer, ingest, forget=forget, now=now, random=random)
        self._links = links

    async def list_page(
        self, principal: Principal, *, after: str | None, limit: int
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return up to `limit` members in the order of their ids beyond `after`, and the id to go on after."""
        require_whole_organization(principal, MEMBERS)
        limit = min(limit, PAGE_MAX)
        found = await rows.read_all(self._writer, principal.organization_id, "members", after, limit + 1)
        shown = [_shown(row) for row in found[:limit]]
        return shown, shown[-1]["id"] if len(found) > limit else None

    async def get(self, principal: Principal, member_id: str) -> dict[str, Any]:
        """Return one member; raises NotFound."""
        require_whole_organization(principal, MEMBERS)
        return _shown(await self._find(principal, member_id))

    async def invite(
        self,
        principal: Principal,
        email: str,
        role: str,
        context: Context,
        *,
        display_name: str | None = None,
        workspaces: Mapping[str, str] | None = None,
    ) -> Invited:
        """Make a member who signs in with a link the first time; `workspaces` are roles by workspace.

        Raises Conflict when a member has this address, Forbidden for a role with more than the caller holds.
        """
        require_whole_organization(principal, MEMBERS)
        email = fold_email(email)
        require_email(email)
        given = await find_role(self._writer, principal.organization_id, role)
        require_may_give(principal, given.permissions)
        in_workspaces = await self._workspace_roles(principal, workspaces or {})
        member = {
            "id": "mbr_" + self._random(8).hex(), "email": email,
            "display_name": require_text(display_name or email, 256, "/display_name"), "role": given.id,
            "created_at": self._now(),
        }  # fmt: skip
        link, digest = self._links.new("invite")
        organization_id = principal.organization_id

        async def inside(connection: Connection, entries: object) -> None:
            if await rows.count(connection, organization_id, "member_count") >= MEMBERS_MAX:
                raise TooLarge(
                    f"An organization has at most {MEMBERS_MAX:,} members.", rule="too_many_members"
                )
            if not await rows.change(connection, organization_id, "insert_member", *member.values()):
                raise Conflict(
                    "Somebody with this address is a member already.", path="/email", rule="email_taken"
                )
            for workspace, one in in_workspaces.items():
                await rows.change(
                    connection, organization_id, "set_workspace_role", member["id"], workspace, one.id
                )
            await self._links.keep(connection, organization_id, member["id"], link, digest)

        roles = {workspace: one.name for workspace, one in in_workspaces.items()}
        await record_act(
            self._ingest, principal, "invitation.created", targets=[_target(member)],
            after={"role": given.name, "email": email, "workspaces": roles}, context=context, inside=inside,
        )  # fmt: skip
        shown = {**member, "active": True, "invited": True, "second_factor": False,
                 "workspaces": [*in_workspaces], "workspace_roles": [one.id for one in in_workspaces.values()]}  # fmt: skip
        return Invited(member=_shown(shown), link=link)

    async def update(
        self,
        principal: Principal,
        member_id: str,
        context: Context,
        *,
        role: str | None,
        display_name: str | None,
        active: bool | None,
    ) -> dict[str, Any]:
        """Change a member's role, name, or whether it may sign in; what it was signed in as ends with its rights.

        Raises Refused when the last owner would be gone, Forbidden when the member may do more than the caller.
        """
        require_whole_organization(principal, MEMBERS)
        before = await self._find(principal, member_id)
        await require_may_change(self._writer, principal, member_id)
        after = dict(before)
        if role is not None:
            given = await find_role(self._writer, principal.organization_id, role)
            require_may_give(principal, given.permissions)
            after["role"] = given.id
        if display_name is not None:
            after["display_name"] = require_text(display_name, 256, "/display_name")
        if active is not None:
            after["active"] = active
        if after == before:
            return _shown(before)
        organization_id = principal.organization_id

        async def change(connection: Connection) -> None:
            seen = [state[name] for state in (after, before) for name in ("role", "display_name", "active")]
            if not await rows.change(connection, organization_id, "update_member", member_id, *seen):
                raise changed_meanwhile()
            if not after["active"]:
                await self._shut_out(connection, principal, member_id)

        async def inside(connection: Connection, entries: object) -> None:
            await require_an_owner(connection, organization_id, change(connection))

        action = _action(before, after)
        changed = [name for name in ("role", "display_name", "active") if before[name] != after[name]]
        told = [{name: state[name] for name in changed} for state in (before, after)]
        await record_act(
            self._ingest, principal, action, targets=[_target(after)], before=told[0], after=told[1], context=context,
            inside=inside,
        )  # fmt: skip
        self._forget()
        return _shown(after)

    async def remove(self, principal: Principal, member_id: str, context: Context) -> None:
        """Remove a member for good: its roles, sessions and links end with it. Raises what `update` raises."""
        require_whole_organization(principal, MEMBERS)
        before = await self._find(principal, member_id)
        await require_may_change(self._writer, principal, member_id)
        organization_id = principal.organization_id

        async def change(connection: Connection) -> None:
            if not await rows.change(connection, organization_id, "remove_member", member_id, self._now()):
                raise _unknown()
            await rows.change(connection, organization_id, "leave_workspaces", member_id)
            await rows.change(connection, organization_id, "leave_groups", member_id)
            await self._shut_out(connection, principal, member_id)

        async def inside(connection: Connection, entries: object) -> None:
            await require_an_owner(connection, organization_id, change(connection))

        await record_act(
            self._ingest, principal, "member.removed", targets=[_target(before)],
            before={"role": before["role"], "workspaces": _roles(before)}, context=context, inside=inside,
        )  # fmt: skip
        self._forget()

    async def set_workspace_role(
        self, principal: Principal, member_id: str, workspace: str, role: str | None, context: Context
    ) -> dict[str, Any]:
        """Give a member a role in a workspace, or take it with None; raises NotFound for either being unknown."""
        require_whole_organization(principal, MEMBERS)
        member = await self._find(principal, member_id)
        before = _roles(member).get(workspace)
        given = None
        if role is not None:
            given = (await self._workspace_roles(principal, {workspace: role}))[workspace]
        elif before is None:
            raise NotFound("This member has no role of its own in this workspace.")
        if before is not None:
            held = await find_role(self._writer, principal.organization_id, before, on_workspace=True)
            require_may_give(principal, held.permissions)
        organization_id = principal.organization_id

        async def inside(connection: Connection, entries: object) -> None:
            if given is None:
                await rows.change(connection, organization_id, "remove_workspace_role", member_id, workspace)
            else:
                await rows.change(
                    connection, organization_id, "set_workspace_role", member_id, workspace, given.id
                )
            if not await rows.change(connection, organization_id, "touch_member", member_id):
                raise _unknown()

        await record_act(
            self._ingest, principal, "member.workspace_role_changed",
            targets=[_target(member), Target(type="workspace", id=workspace)],
            before={"role": before}, after={"role": given.id if given else None}, context=context, inside=inside,
        )  # fmt: skip
        self._forget()
        return _shown(await self._find(principal, member_id))

    async def _workspace_roles(self, principal: Principal, wanted: Mapping[str, str]) -> dict[str, Role]:
        if len(wanted) > WORKSPACE_ROLES_MAX:
            raise TooLarge(f"At most {WORKSPACE_ROLES_MAX:,} workspaces at once.", rule="too_many_workspaces")
        found: dict[str, Role] = {}
        for workspace, role in wanted.items():
            row = None
            if 1 <= len(workspace) <= DEVELOPER["workspace"] and workspace.isprintable():
                row = await rows.read_one(self._writer, principal.organization_id, "workspace", workspace)
            if row is None or row["deleted_at"] is not None:
                raise NotFound("There is no workspace with this id in this organization.")
            given = await find_role(self._writer, principal.organization_id, role, on_workspace=True)
            require_may_give(principal, given.permissions)
            found[workspace] = given
        return found

    async def _shut_out(self, connection: Connection, principal: Principal, member_id: str) -> None:
        for statement in ("end_sessions", "void_links"):
            await rows.change(connection, principal.organization_id, statement, member_id, self._now())

    async def _find(self, principal: Principal, member_id: str) -> dict[str, Any]:
        found = None
        if 1 <= len(member_id) <= 64 and member_id.isprintable():
            found = await rows.read_one(self._writer, principal.organization_id, "member", member_id)
        if found is None:
            raise _unknown()
        return found


def _action(before: dict[str, Any], after: dict[str, Any]) -> str:
    if before["active"] != after["active"]:
        return "member.reactivated" if after["active"] else "member.deactivated"
    return "member.updated" if before["role"] == after["role"] else "member.role_changed"


def _roles(member: dict[str, Any]) -> dict[str, str]:
    return dict(zip(member["workspaces"], member["workspace_roles"], strict=True))


def _target(member: dict[str, Any]) -> Target:
    return Target(type="membership", id=member["id"], name=member["display_name"])


def _shown(member: dict[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in member.items() if name != "workspace_roles"}
    shown["workspaces"] = [{"id": workspace, "role": role} for workspace, role in _roles(member).items()]
    return shown


def _unknown() -> NotFound:
    return NotFound("There is no member with this id in this organization.")
