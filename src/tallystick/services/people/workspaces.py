"""Teams and workspaces. A workspace may be archived or deleted: its events stay readable to the organization."""

from __future__ import annotations

from typing import Any

from tallystick.errors import Conflict, NotFound, Refused, TooLarge
from tallystick.event.limits import DEVELOPER
from tallystick.event.model import Context, Target
from tallystick.query.filters import ORGANIZATION_LEVEL
from tallystick.services.own_events import record_act, require_whole_organization
from tallystick.services.people.managing import Managing
from tallystick.services.people.rights import require_text
from tallystick.services.people.roles import changed_meanwhile
from tallystick.services.permissions import KEYS, MEMBERS, READ, implies
from tallystick.services.principal import Principal
from tallystick.store import people as rows
from tallystick.store.connect import Connection

TEAMS_MAX = 1_000
WORKSPACES_MAX = 10_000
NAME_CHARACTERS_MAX = 256


class Workspaces(Managing):
    """Lists, makes, changes, archives and deletes workspaces."""

    async def list_all(self, principal: Principal, *, deleted: bool = False) -> list[dict[str, Any]]:
        """Return the workspaces that `principal` may know of: all, or those it reads or has a role in."""
        found = await rows.read_all(self._writer, principal.organization_id, "workspaces", deleted)
        known = _known(principal)
        return [_shown(one) for one in found if known is None or one["id"] in known]

    async def get(self, principal: Principal, workspace_id: str) -> dict[str, Any]:
        """Return one workspace; raises NotFound, also for one that `principal` may not know of."""
        found = await self._find(principal, workspace_id)
        known = _known(principal)
        if known is not None and found["id"] not in known:
            raise _unknown()
        return _shown(found)

    async def create(
        self,
        principal: Principal,
        display_name: str,
        context: Context,
        *,
        workspace_id: str | None = None,
        team_id: str | None = None,
    ) -> dict[str, Any]:
        """Make a workspace, under the id that events name it by when one is given.

        Raises Conflict for an id that was ever used, NotFound for an unknown team.
        """
        require_whole_organization(principal, MEMBERS)
        made = {
            "id": "wsp_" + self._random(8).hex() if workspace_id is None else _id(workspace_id),
            "team_id": await self._team_id(principal, team_id),
            "display_name": require_text(display_name, NAME_CHARACTERS_MAX, "/display_name"),
            "created_at": self._now(),
        }
        organization_id = principal.organization_id

        async def inside(connection: Connection, entries: object) -> None:
            if await rows.count(connection, organization_id, "workspace_count") >= WORKSPACES_MAX:
                raise TooLarge(
                    f"At most {WORKSPACES_MAX:,} workspaces can be made.", rule="too_many_workspaces"
                )
            if not await rows.change(connection, organization_id, "insert_workspace", *made.values()):
                raise Conflict(
                    "This id is taken, perhaps by a workspace that was deleted. Choose another.",
                    path="/id",
                    rule="id_taken",
                )  # fmt: skip

        await self._record(principal, "workspace.created", made, context, inside, after=_told(made))
        return _shown(made)

    async def update(
        self,
        principal: Principal,
        workspace_id: str,
        context: Context,
        *,
        display_name: str | None,
        team_id: str | None,
        archived: bool | None,
    ) -> dict[str, Any]:
        """Change a workspace; `team_id` "" = of no team. An archived one is read on, and keys bound to it record no more."""
        require_whole_organization(principal, MEMBERS)
        before = await self._find(principal, workspace_id)
        if before["deleted_at"] is not None:
            raise _unknown()
        after = dict(before)
        if display_name is not None:
            after["display_name"] = require_text(display_name, NAME_CHARACTERS_MAX, "/display_name")
        if team_id is not None:
            after["team_id"] = await self._team_id(principal, team_id) if team_id else None
        if archived is not None:
            after["archived_at"] = (before["archived_at"] or self._now()) if archived else None
        if after == before:
            return _shown(before)
        organization_id = principal.organization_id

        async def inside(connection: Connection, entries: object) -> None:
            seen = [
                state[name]
                for state in (after, before)
                for name in ("display_name", "team_id", "archived_at")
            ]
            if not await rows.change(connection, organization_id, "update_workspace", before["id"], *seen):
                raise changed_meanwhile()

        act = "workspace.updated"
        if (after["archived_at"] is None) != (before["archived_at"] is None):
            act = "workspace.restored" if after["archived_at"] is None else "workspace.archived"
        await self._record(principal, act, after, context, inside, before=_told(before), after=_told(after))
        self._forget()
        return _shown(after)

    async def delete(self, principal: Principal, workspace_id: str, context: Context) -> None:
        """Delete a workspace: its keys are revoked and its roles end; its events stay, for the organization."""
        require_whole_organization(principal, MEMBERS)
        before = await self._find(principal, workspace_id)
        organization_id, at = principal.organization_id, self._now()

        async def inside(connection: Connection, entries: object) -> None:
            if not await rows.change(connection, organization_id, "delete_workspace", before["id"], at):
                raise _unknown()
            await rows.change(connection, organization_id, "touch_workspace_members", before["id"])
            await rows.change(connection, organization_id, "leave_workspace", before["id"])
            await rows.change(connection, organization_id, "groups_leave_workspace", before["id"])
            await rows.change(connection, organization_id, "revoke_keys_of_workspace", before["id"], at)

        if before["deleted_at"] is not None:
            raise _unknown()
        await self._record(principal, "workspace.deleted", before, context, inside, before=_told(before))
        self._forget()

    async def list_teams(self, principal: Principal) -> list[dict[str, Any]]:
        """Return the organization's teams by name."""
        return await rows.read_all(self._writer, principal.organization_id, "teams")

    async def create_team(self, principal: Principal, display_name: str, context: Context) -> dict[str, Any]:
        """Make a team."""
        require_whole_organization(principal, MEMBERS)
        made = {
            "id": "team_" + self._random(8).hex(),
            "display_name": require_text(display_name, NAME_CHARACTERS_MAX, "/display_name"),
            "created_at": self._now(),
        }
        organization_id = principal.organization_id

        async def inside(connection: Connection, entries: object) -> None:
            if await rows.count(connection, organization_id, "team_count") >= TEAMS_MAX:
                raise TooLarge(f"At most {TEAMS_MAX:,} teams can be made.", rule="too_many_teams")
            await rows.change(connection, organization_id, "insert_team", *made.values())

        told = {"display_name": made["display_name"]}
        await self._record(principal, "team.created", made, context, inside, after=told)
        return made

    async def rename_team(
        self, principal: Principal, team_id: str, display_name: str, context: Context
    ) -> dict[str, Any]:
        """Give a team another name; raises NotFound."""
        require_whole_organization(principal, MEMBERS)
        before = await self._find_team(principal, team_id)
        after = {**before, "display_name": require_text(display_name, NAME_CHARACTERS_MAX, "/display_name")}
        if after == before:
            return before

        async def inside(connection: Connection, entries: object) -> None:
            seen = (before["id"], after["display_name"], before["display_name"])
            if not await rows.change(connection, principal.organization_id, "rename_team", *seen):
                raise changed_meanwhile()

        names = [{"display_name": state["display_name"]} for state in (before, after)]
        await self._record(principal, "team.updated", after, context, inside, before=names[0], after=names[1])
        return after

    async def delete_team(self, principal: Principal, team_id: str, context: Context) -> None:
        """Delete a team; its workspaces stay and are of no team. Raises NotFound."""
        require_whole_organization(principal, MEMBERS)
        before = await self._find_team(principal, team_id)

        async def inside(connection: Connection, entries: object) -> None:
            where = (connection, principal.organization_id)
            if not await rows.change(*where, "delete_team", before["id"], self._now()):
                raise _unknown_team()
            await rows.change(*where, "leave_team", before["id"])

        told = {"display_name": before["display_name"]}
        await self._record(principal, "team.deleted", before, context, inside, before=told)

    async def _record(
        self, principal: Principal, action: str, thing: dict[str, Any], context: Context, inside: Any, **more: Any
    ) -> None:  # fmt: skip
        target = Target(type=action.partition(".")[0], id=thing["id"], name=thing["display_name"])
        await record_act(
            self._ingest, principal, action, targets=[target], context=context, inside=inside, **more
        )

    async def _find(self, principal: Principal, workspace_id: str) -> dict[str, Any]:
        found = None
        if _is_id(workspace_id):
            found = await rows.read_one(self._writer, principal.organization_id, "workspace", workspace_id)
        if found is None:
            raise _unknown()
        return found

    async def _find_team(self, principal: Principal, team_id: str) -> dict[str, Any]:
        found = None
        if _is_id(team_id):
            found = await rows.read_one(self._writer, principal.organization_id, "team", team_id)
        if found is None:
            raise _unknown_team()
        return found

    async def _team_id(self, principal: Principal, team_id: str | None) -> str | None:
        return None if team_id is None else (await self._find_team(principal, team_id))["id"]


def _known(principal: Principal) -> frozenset[str] | None:
    """Return the ids of the workspaces that `principal` may know of, None = all of them."""
    if not any(implies(principal.permissions, one) for one in (READ, MEMBERS, KEYS)):
        return frozenset(name for name, _ in principal.grants)
    return None if principal.kind == "member" else principal.workspaces


def _is_id(text: str) -> bool:
    return 1 <= len(text) <= DEVELOPER["workspace"] and text.isprintable()


def _id(text: str) -> str:
    if not _is_id(text) or text != text.strip() or text == ORGANIZATION_LEVEL:
        raise Refused(
            f"A workspace's id has 1 to {DEVELOPER['workspace']} printable characters, no space around it, and is not "
            f"'{ORGANIZATION_LEVEL}', which stands for the organization itself.",
            path="/id",
            rule="text",
        )
    return text


def _told(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "display_name": one["display_name"],
        "team_id": one["team_id"],
        "archived": one.get("archived_at") is not None,
    }


def _shown(one: dict[str, Any]) -> dict[str, Any]:
    return {"archived_at": None, "deleted_at": None, **one}


def _unknown() -> NotFound:
    return NotFound("There is no workspace with this id in this organization.")


def _unknown_team() -> NotFound:
    return NotFound("There is no team with this id in this organization.")
