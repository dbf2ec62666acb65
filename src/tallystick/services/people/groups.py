"""Groups: sets of members that a directory keeps, and the role that goes with each.

Who sets the role of a group trusts the directory to say who is in it; so that takes holding what the role gives, and
changing who is in the group does not.
"""

from __future__ import annotations

from msgspec import Struct

from tallystick.errors import Conflict, NotFound, Refused, TooLarge
from tallystick.event.model import Context, Target
from tallystick.services.own_events import record_act, require_whole_organization
from tallystick.services.people.directory import NAME_CHARACTERS_MAX, changed, told_members
from tallystick.services.people.managing import Managing
from tallystick.services.people.rights import find_role, require_may_give, require_text
from tallystick.services.permissions import MEMBERS
from tallystick.services.principal import Principal
from tallystick.store import directory as rows
from tallystick.store import people as people_rows
from tallystick.store.connect import Connection
from tallystick.store.directory import GroupRow, Named

GROUPS_MAX = 10_000
MEMBERS_OF_ONE_MAX = 20_000


class WantedGroup(Struct, frozen=True, kw_only=True):
    """A group as a directory wants it; `members` are ids."""

    display_name: str
    external_id: str | None
    members: tuple[str, ...]


class Groups(Managing):
    """Groups of one server's organizations."""

    async def groups(
        self, principal: Principal, named: Named, *, offset: int, limit: int, with_members: bool = True
    ) -> tuple[int, list[GroupRow]]:
        """Return how many groups are named so, and up to `limit` of them beyond the first `offset`."""
        require_whole_organization(principal, MEMBERS)
        organization_id = principal.organization_id
        total = await rows.count(self._writer, organization_id, "group", named)
        found: list[GroupRow] = []
        if limit and offset < total:
            found = await rows.groups(
                self._writer, organization_id, named, offset=offset, limit=limit, with_members=with_members
            )
        return total, found

    async def group(self, principal: Principal, group_id: str) -> GroupRow:
        """Return one group; raises NotFound."""
        require_whole_organization(principal, MEMBERS)
        found: list[GroupRow] = []
        if 1 <= len(group_id) <= 64 and group_id.isprintable():
            named = Named(id=group_id)
            found = await rows.groups(self._writer, principal.organization_id, named, offset=0, limit=1)
        if not found:
            raise _unknown()
        return found[0]

    async def create(self, principal: Principal, wanted: WantedGroup, context: Context) -> GroupRow:
        """Make a group, which gives no role yet; raises Conflict when there is one of this name."""
        require_whole_organization(principal, MEMBERS)
        _check(wanted)
        organization_id, at = principal.organization_id, self._now()
        group_id = "grp_" + self._random(8).hex()

        async def inside(connection: Connection, entries: object) -> None:
            total = await rows.groups(connection, organization_id, Named(), offset=GROUPS_MAX - 1, limit=1)
            if total:
                raise TooLarge(f"An organization has at most {GROUPS_MAX:,} groups.", rule="too_many_groups")
            await self._require_free(connection, principal, group_id, wanted)
            await rows.change(
                connection,
                organization_id,
                "insert_group",
                group_id,
                wanted.display_name,
                wanted.external_id,
                at,
            )
            await self._join(connection, principal, group_id, wanted.members)

        await record_act(
            self._ingest, principal, "group.created", targets=[_target(group_id, wanted.display_name)],
            after={"display_name": wanted.display_name, "external_id": wanted.external_id,
                   **told_members(wanted.members)},
            metadata=_METADATA, context=context, inside=inside,
        )  # fmt: skip
        return await self.group(principal, group_id)

    async def replace(
        self, principal: Principal, seen: GroupRow, wanted: WantedGroup, context: Context
    ) -> GroupRow:
        """Make a group what the directory wants; who joins or leaves may do something else within five seconds.

        Raises ChangedMeanwhile when it is no longer as it was `seen`.
        """
        require_whole_organization(principal, MEMBERS)
        _check(wanted)
        had = [id for id, _ in seen.members]
        joined = [id for id in dict.fromkeys(wanted.members) if id not in set(had)]
        left = [id for id in had if id not in set(wanted.members)]
        before = {"display_name": seen.display_name, "external_id": seen.external_id}
        after = {"display_name": wanted.display_name, "external_id": wanted.external_id}
        if before == after and not joined and not left:
            return seen
        organization_id, at = principal.organization_id, self._now()

        async def inside(connection: Connection, entries: object) -> None:
            await self._require_unchanged(connection, principal, seen)
            await self._require_free(connection, principal, seen.id, wanted)
            await rows.change(
                connection, organization_id, "update_group", seen.id, wanted.display_name, wanted.external_id
            )
            await self._join(connection, principal, seen.id, joined)
            if left:
                await rows.change(connection, organization_id, "leave_group", seen.id, left)
                await rows.change(connection, organization_id, "touch_members", left)
            await rows.change(connection, organization_id, "keep_entry", seen.id, b"{}", at)

        action = "group.members_changed" if joined or left else "group.updated"
        changes = {name for name in after if before[name] != after[name]}
        await record_act(
            self._ingest, principal, action, targets=[_target(seen.id, wanted.display_name)],
            before={**{name: before[name] for name in changes}, **({"left": told_members(left)} if left else {})},
            after={**{name: after[name] for name in changes}, **({"joined": told_members(joined)} if joined else {})},
            metadata=_METADATA, context=context, inside=inside,
        )  # fmt: skip
        self._forget()
        return await self.group(principal, seen.id)

    async def remove(self, principal: Principal, seen: GroupRow, context: Context) -> None:
        """Remove a group, and what it gave to who was in it."""
        require_whole_organization(principal, MEMBERS)
        organization_id, at = principal.organization_id, self._now()
        members = [id for id, _ in seen.members]

        async def inside(connection: Connection, entries: object) -> None:
            await self._require_unchanged(connection, principal, seen)
            await rows.change(connection, organization_id, "touch_group", seen.id)
            await rows.change(connection, organization_id, "remove_group", seen.id, at)
            await rows.change(connection, organization_id, "leave_group", seen.id, members)
            await rows.change(connection, organization_id, "drop_entry", seen.id)

        await record_act(
            self._ingest, principal, "group.removed", targets=[_target(seen.id, seen.display_name)],
            before={"display_name": seen.display_name, "external_id": seen.external_id, "role": seen.role,
                    **told_members(members)},
            metadata=_METADATA, context=context, inside=inside,
        )  # fmt: skip
        self._forget()

    async def give_role(
        self, principal: Principal, group_id: str, role: str | None, workspace: str | None, context: Context
    ) -> GroupRow:
        """Say what role goes with a group, on the organization or in one workspace; None = none.

        Raises Forbidden for a role that gives, or gave, more than the caller holds, Refused for an unknown one.
        """
        require_whole_organization(principal, MEMBERS)
        seen, organization_id = await self.group(principal, group_id), principal.organization_id
        if seen.role is not None:
            held = await find_role(
                self._writer, organization_id, seen.role, on_workspace=seen.workspace_id is not None
            )
            require_may_give(principal, held.permissions)
        given = None
        if role is not None:
            given = await find_role(self._writer, organization_id, role, on_workspace=workspace is not None)
            require_may_give(principal, given.permissions)
            await self._require_workspace(principal, workspace)
        elif workspace is not None:
            raise Refused("A workspace goes with a role; say which.", path="/role", rule="role")
        mapped = (None if given is None else given.id, workspace)
        if mapped == (seen.role, seen.workspace_id):
            return seen

        async def inside(connection: Connection, entries: object) -> None:
            values = (*mapped, seen.role, seen.workspace_id)
            if not await rows.change(connection, organization_id, "map_group", seen.id, *values):
                raise changed()
            await rows.change(connection, organization_id, "touch_group", seen.id)

        await record_act(
            self._ingest, principal, "group.role_changed", targets=[_target(seen.id, seen.display_name)],
            before={"role": seen.role, "workspace": seen.workspace_id},
            after={"role": mapped[0], "workspace": workspace}, context=context, inside=inside,
        )  # fmt: skip
        self._forget()
        return await self.group(principal, group_id)

    async def _require_workspace(self, principal: Principal, workspace: str | None) -> None:
        if workspace is None:
            return
        found = None
        if 1 <= len(workspace) <= NAME_CHARACTERS_MAX and workspace.isprintable():
            found = await people_rows.read_one(
                self._writer, principal.organization_id, "workspace", workspace
            )
        if found is None or found["deleted_at"] is not None:
            raise Refused("There is no workspace with this id in this organization.", path="/workspace")

    async def _require_unchanged(self, connection: Connection, principal: Principal, seen: GroupRow) -> None:
        now = await rows.groups(connection, principal.organization_id, Named(id=seen.id), offset=0, limit=1)
        if now != [seen]:
            raise changed()

    async def _require_free(
        self, connection: Connection, principal: Principal, group_id: str, wanted: WantedGroup
    ) -> None:
        named = Named(name=wanted.display_name.lower())
        same = await rows.groups(
            connection, principal.organization_id, named, offset=0, limit=2, with_members=False
        )
        if any(one.id != group_id for one in same):
            raise Conflict("There is a group with this name already.", path="/displayName", rule="uniqueness")

    async def _join(
        self,
        connection: Connection,
        principal: Principal,
        group_id: str,
        members: tuple[str, ...] | list[str],
    ) -> None:
        wanted = list(dict.fromkeys(members))
        if not wanted:
            return
        if await rows.number(connection, principal.organization_id, "known_members", wanted) != len(wanted):
            raise Refused(
                "A group's members are members of this organization.", path="/members", rule="value"
            )
        await rows.change(connection, principal.organization_id, "join_group", group_id, wanted)
        await rows.change(connection, principal.organization_id, "touch_members", wanted)


_METADATA = {"by": "scim"}


def _check(wanted: WantedGroup) -> None:
    require_text(wanted.display_name, NAME_CHARACTERS_MAX, "/displayName")
    if wanted.external_id is not None:
        require_text(wanted.external_id, NAME_CHARACTERS_MAX, "/externalId")
    if len(wanted.members) > MEMBERS_OF_ONE_MAX:
        raise TooLarge(f"A group has at most {MEMBERS_OF_ONE_MAX:,} members.", rule="too_many_members")
    if any(not 1 <= len(id) <= 64 or not id.isprintable() for id in wanted.members):
        raise Refused("A group's members are members of this organization.", path="/members", rule="value")


def _target(group_id: str, display_name: str) -> Target:
    return Target(type="user_group", id=group_id, name=display_name)


def _unknown() -> NotFound:
    return NotFound("There is no group with this id in this organization.")
