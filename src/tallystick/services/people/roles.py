"""An organization's own roles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tallystick.errors import Conflict, NotFound, Refused, TooLarge, TryLater
from tallystick.event.model import Context, Target
from tallystick.services.own_events import record_act, require_whole_organization
from tallystick.services.people.managing import Managing
from tallystick.services.people.rights import require_may_give, require_text
from tallystick.services.permissions import MANAGE, MEMBERS, ROLES, WORKSPACE_ROLES, expand_permissions
from tallystick.services.principal import Principal
from tallystick.store import people as rows
from tallystick.store.connect import Connection

ROLES_MAX = 100
NAME_CHARACTERS_MAX = 64


class Roles(Managing):
    """Lists, makes, changes and removes roles."""

    async def list_all(self, principal: Principal) -> list[dict[str, Any]]:
        """Return the built-in roles and the organization's own, each with its permissions."""
        built_in = [
            {
                "id": name, "name": name, "built_in": True, "permissions": sorted(held),
                "workspace_permissions": sorted(WORKSPACE_ROLES.get(name, ())),
            }
            for name, held in ROLES.items()
        ]  # fmt: skip
        own = await rows.read_all(self._writer, principal.organization_id, "roles")
        return [*built_in, *(_shown(role) for role in own)]

    async def create(
        self, principal: Principal, name: str, permissions: Sequence[str], context: Context
    ) -> dict[str, Any]:
        """Make a role; raises Conflict for a name that is taken, Forbidden for more than the caller holds."""
        require_whole_organization(principal, MEMBERS)
        made = {
            "id": "rol_" + self._random(8).hex(),
            "name": _name(name),
            "permissions": _permissions(principal, permissions),
            "created_at": self._now(),
        }
        organization_id = principal.organization_id

        async def inside(connection: Connection, entries: object) -> None:
            if await rows.count(connection, organization_id, "role_count") >= ROLES_MAX:
                raise TooLarge(f"An organization has at most {ROLES_MAX} own roles.", rule="too_many_roles")
            if not await rows.change(connection, organization_id, "insert_role", *made.values()):
                raise _taken(made["name"])

        await record_act(
            self._ingest, principal, "role.created", targets=[_target(made)], after=_told(made), context=context,
            inside=inside,
        )  # fmt: skip
        return _shown(made)

    async def update(
        self,
        principal: Principal,
        role_id: str,
        context: Context,
        *,
        name: str | None,
        permissions: Sequence[str] | None,
    ) -> dict[str, Any]:
        """Change a role for everybody who has it; raises NotFound, Conflict, Forbidden as `create` does."""
        require_whole_organization(principal, MEMBERS)
        before = await self._find(principal, role_id)
        require_may_give(principal, before["permissions"])
        after = {
            **before,
            "name": before["name"] if name is None else _name(name),
            "permissions": before["permissions"] if permissions is None else _permissions(principal, permissions),
        }  # fmt: skip
        if after == before:
            return _shown(before)
        organization_id = principal.organization_id

        async def inside(connection: Connection, entries: object) -> None:
            if await rows.count(connection, organization_id, "role_name_taken", before["id"], after["name"]):
                raise _taken(after["name"])
            seen = (after["name"], after["permissions"], before["name"], before["permissions"])
            if not await rows.change(connection, organization_id, "update_role", before["id"], *seen):
                raise changed_meanwhile()
            await rows.change(connection, organization_id, "touch_holders", before["id"])

        await record_act(
            self._ingest, principal, "role.updated", targets=[_target(after)], before=_told(before),
            after=_told(after), context=context, inside=inside,
        )  # fmt: skip
        self._forget()
        return _shown(after)

    async def remove(self, principal: Principal, role_id: str, context: Context) -> None:
        """Remove a role that nobody has any more; raises NotFound, Conflict while somebody has it."""
        require_whole_organization(principal, MEMBERS)
        before = await self._find(principal, role_id)
        require_may_give(principal, before["permissions"])
        organization_id = principal.organization_id

        async def inside(connection: Connection, entries: object) -> None:
            holders = await rows.count(connection, organization_id, "holders", before["id"])
            if holders:
                raise Conflict(
                    f"{holders} members, roles in workspaces or groups still have this role. Give them another first; "
                    "nothing was changed.",
                    rule="role_in_use",
                )
            if not await rows.change(connection, organization_id, "delete_role", before["id"], self._now()):
                raise _unknown()

        await record_act(
            self._ingest, principal, "role.removed", targets=[_target(before)], before=_told(before), context=context,
            inside=inside,
        )  # fmt: skip

    async def _find(self, principal: Principal, role_id: str) -> dict[str, Any]:
        found = None
        if len(role_id) <= 64 and role_id.isprintable():
            found = await rows.read_one(self._writer, principal.organization_id, "role", role_id)
        if found is None or found["id"] != role_id:
            raise _unknown()
        return found


def _name(text: str) -> str:
    name = require_text(text, NAME_CHARACTERS_MAX, "/name")
    if name.upper() in ROLES or name.startswith("rol_"):
        raise Refused(
            f"{name} is the name of a built-in role, or looks like an id.", path="/name", rule="text"
        )
    return name  # fmt: skip


def _permissions(principal: Principal, words: Sequence[str]) -> list[str]:
    permissions = expand_permissions(words)
    if MANAGE in permissions:
        raise Refused(
            f"No role but OWNER gives {MANAGE}. Name what the role shall give.",
            path="/permissions",
            rule="permission",
        )
    require_may_give(principal, permissions)
    return sorted(permissions)


def _target(role: dict[str, Any]) -> Target:
    return Target(type="role", id=role["id"], name=role["name"])


def _told(role: dict[str, Any]) -> dict[str, Any]:
    return {"name": role["name"], "permissions": list(role["permissions"])}


def _shown(role: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": role["id"], "name": role["name"], "built_in": False, "permissions": list(role["permissions"]),
        "created_at": role["created_at"],
    }  # fmt: skip


def _taken(name: str) -> Conflict:
    return Conflict(f"There is a role {name} already. Choose another name.", path="/name", rule="name_taken")


def _unknown() -> NotFound:
    return NotFound("There is no own role with this id in this organization.")


def changed_meanwhile() -> TryLater:
    """Return the error for a change that another change has overtaken."""
    return TryLater("Somebody else changed this at the same moment. Nothing was changed; try again.")
