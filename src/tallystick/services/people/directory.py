"""What a directory (SCIM) does to members: it brings people in, changes them, and shuts them out when they leave.

A directory decides who may come in and who may not; what somebody may do comes from roles, and from the groups to
which somebody with the right to do so has given a role. The last owner is never shut out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from tallystick.errors import Conflict, NotFound, Refused, TooLarge, TryLater
from tallystick.event.model import Context, Target
from tallystick.services.own_events import record_act, require_whole_organization
from tallystick.services.people.managing import Managing
from tallystick.services.people.rights import (
    find_role,
    require_an_owner,
    require_may_give,
    require_text,
)
from tallystick.services.permissions import MEMBERS
from tallystick.services.principal import Principal
from tallystick.services.sign_in.sign_in import fold_email
from tallystick.store import directory as rows
from tallystick.store import people as people_rows
from tallystick.store.connect import Connection
from tallystick.store.directory import Named, UserRow

ROLE_OF_NEW = "MEMBER"
PAGE_MAX = 200
SCAN_MAX = 10_000  # members or groups a filter is held against one by one
MEMBERS_MAX = 100_000
NAME_CHARACTERS_MAX = 256
EMAIL_CHARACTERS_MAX = 320
ATTRIBUTES_BYTES_MAX = 32 * 1024


class ChangedMeanwhile(TryLater):
    """Somebody else changed it between reading and writing: read it again."""

    rule = "changed_meanwhile"


class Wanted(Struct, frozen=True, kw_only=True):
    """A member as a directory wants it; `attributes` is what it reads back beyond the rest."""

    user_name: str
    external_id: str | None
    email: str
    display_name: str
    active: bool
    attributes: dict[str, Any]


def fold_name(text: str) -> str:
    """Return a user name as it is compared: without case, in one Unicode form (RFC 7643, 2.3.1)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


class Directory(Managing):
    """Members as a directory keeps them."""

    async def users(
        self, principal: Principal, named: Named, *, offset: int, limit: int
    ) -> tuple[int, list[UserRow]]:
        """Return how many members are named so, and up to `limit` of them beyond the first `offset`."""
        require_whole_organization(principal, MEMBERS)
        total = await rows.count(self._writer, principal.organization_id, "user", named)
        found: list[UserRow] = []
        if limit and offset < total:
            found = await rows.users(
                self._writer, principal.organization_id, named, offset=offset, limit=min(limit, SCAN_MAX)
            )
        return total, found

    async def user(self, principal: Principal, member_id: str) -> UserRow:
        """Return one member; raises NotFound."""
        require_whole_organization(principal, MEMBERS)
        found: list[UserRow] = []
        if 1 <= len(member_id) <= 64 and member_id.isprintable():
            named = Named(id=member_id)
            found = await rows.users(self._writer, principal.organization_id, named, offset=0, limit=1)
        if not found:
            raise _unknown()
        return found[0]

    async def create(self, principal: Principal, wanted: Wanted, context: Context) -> UserRow:
        """Bring somebody in, who may do nothing until a role or a group says so.

        Raises Conflict when a member has this user name or address.
        """
        require_whole_organization(principal, MEMBERS)
        _check(wanted)
        organization_id, member_id, at = (
            principal.organization_id,
            "mbr_" + self._random(8).hex(),
            self._now(),
        )

        async def inside(connection: Connection, entries: object) -> None:
            if await people_rows.count(connection, organization_id, "member_count") >= MEMBERS_MAX:
                raise TooLarge(
                    f"An organization has at most {MEMBERS_MAX:,} members.", rule="too_many_members"
                )
            await self._require_free(connection, principal, member_id, wanted)
            await rows.change(
                connection, organization_id, "insert_user", member_id, wanted.email, wanted.display_name,
                ROLE_OF_NEW, wanted.active, wanted.external_id, fold_name(wanted.user_name), at,
            )  # fmt: skip
            await self._keep(connection, principal, member_id, wanted, at)

        await record_act(
            self._ingest, principal, "member.added", targets=[_target(member_id, wanted.display_name)],
            after={**_told(wanted), "role": ROLE_OF_NEW}, metadata=_METADATA, context=context, inside=inside,
        )  # fmt: skip
        return await self.user(principal, member_id)

    async def replace(self, principal: Principal, seen: UserRow, wanted: Wanted, context: Context) -> UserRow:
        """Make a member what the directory wants; who is shut out is so on every server within five seconds.

        Raises ChangedMeanwhile when it is no longer as it was `seen`, Refused when the last owner would be gone,
        Forbidden when somebody who may do more than the caller would get another address or be let in again.
        """
        require_whole_organization(principal, MEMBERS)
        _check(wanted)
        before, after = _told(_wanted_of(seen)), _told(wanted)
        if before == after and (seen.attributes or {}) == wanted.attributes:
            return seen
        if wanted.email != seen.email or (wanted.active and not seen.active):
            await self._require_may_give_back(principal, seen)
        organization_id, at = principal.organization_id, self._now()

        async def change(connection: Connection) -> None:
            await rows.change(
                connection, organization_id, "update_user", seen.id, wanted.email, wanted.display_name,
                wanted.active, wanted.external_id, fold_name(wanted.user_name),
            )  # fmt: skip
            await self._keep(connection, principal, seen.id, wanted, at)
            if seen.active and not wanted.active:
                await self._shut_out(connection, principal, seen.id, at)

        async def inside(connection: Connection, entries: object) -> None:
            await self._require_unchanged(connection, principal, seen)
            await self._require_free(connection, principal, seen.id, wanted)
            await require_an_owner(connection, organization_id, change(connection))

        changed = [name for name in after if before[name] != after[name]]
        action = "member.updated"
        if seen.active != wanted.active:
            action = "member.reactivated" if wanted.active else "member.deactivated"
        await record_act(
            self._ingest, principal, action, targets=[_target(seen.id, wanted.display_name)],
            before={name: before[name] for name in changed}, after={name: after[name] for name in changed},
            metadata=_METADATA, context=context, inside=inside,
        )  # fmt: skip
        self._forget()
        return await self.user(principal, seen.id)

    async def remove(self, principal: Principal, seen: UserRow, context: Context) -> None:
        """Remove a member for good, with roles, groups, sessions and links. Raises what `replace` raises."""
        require_whole_organization(principal, MEMBERS)
        organization_id, at = principal.organization_id, self._now()

        async def change(connection: Connection) -> None:
            await people_rows.change(connection, organization_id, "remove_member", seen.id, at)
            for statement in ("leave_workspaces", "leave_groups"):
                await people_rows.change(connection, organization_id, statement, seen.id)
            await self._shut_out(connection, principal, seen.id, at)
            await rows.change(connection, organization_id, "drop_entry", seen.id)

        async def inside(connection: Connection, entries: object) -> None:
            await self._require_unchanged(connection, principal, seen)
            await require_an_owner(connection, organization_id, change(connection))

        await record_act(
            self._ingest, principal, "member.removed", targets=[_target(seen.id, seen.display_name)],
            before={**_told(_wanted_of(seen)), "role": seen.role, "groups": [name for _, name in seen.groups]},
            metadata=_METADATA, context=context, inside=inside,
        )  # fmt: skip
        self._forget()

    async def _require_may_give_back(self, principal: Principal, seen: UserRow) -> None:
        """Raise Forbidden when the member's own roles, those of no group, give more than the caller holds.

        What a group gives was entrusted to the directory when the group was given its role.
        """
        member = await people_rows.read_one(self._writer, principal.organization_id, "member", seen.id)
        if member is None:
            raise _unknown()
        roles = [(member["role"], False), *((one, True) for one in member["workspace_roles"])]
        for role, on_workspace in roles:
            with suppress(Refused):  # a role that is no longer there gives nothing
                held = await find_role(
                    self._writer, principal.organization_id, role, on_workspace=on_workspace
                )
                require_may_give(principal, held.permissions)

    async def _require_unchanged(self, connection: Connection, principal: Principal, seen: UserRow) -> None:
        now = await rows.users(connection, principal.organization_id, Named(id=seen.id), offset=0, limit=1)
        if now != [seen]:
            raise changed()

    async def _require_free(
        self, connection: Connection, principal: Principal, member_id: str, wanted: Wanted
    ) -> None:
        names = (member_id, fold_name(wanted.user_name), wanted.email)
        if await rows.number(connection, principal.organization_id, "clashes", *names):
            raise Conflict(
                "Somebody with this user name or e-mail address is a member already.",
                path="/userName",
                rule="uniqueness",
            )

    async def _keep(
        self, connection: Connection, principal: Principal, member_id: str, wanted: Wanted, at: datetime
    ) -> None:
        encoded = msgspec.json.encode(wanted.attributes)
        await rows.change(connection, principal.organization_id, "keep_entry", member_id, encoded, at)

    async def _shut_out(
        self, connection: Connection, principal: Principal, member_id: str, at: datetime
    ) -> None:
        for statement in ("end_sessions", "void_links"):
            await people_rows.change(connection, principal.organization_id, statement, member_id, at)


_METADATA = {"by": "scim"}


def changed() -> ChangedMeanwhile:
    """Return the error for a change that another change has overtaken."""
    return ChangedMeanwhile("Somebody else changed this at the same moment. Nothing was changed; try again.")


def _check(wanted: Wanted) -> None:
    require_text(wanted.user_name, NAME_CHARACTERS_MAX, "/userName")
    require_text(wanted.display_name, NAME_CHARACTERS_MAX, "/displayName")
    require_text(wanted.email, EMAIL_CHARACTERS_MAX, "/emails")
    if wanted.external_id is not None:
        require_text(wanted.external_id, NAME_CHARACTERS_MAX, "/externalId")
    encoded = msgspec.json.encode(wanted.attributes)
    if len(encoded) > ATTRIBUTES_BYTES_MAX:
        raise TooLarge(f"What is said of one member has at most {ATTRIBUTES_BYTES_MAX} bytes.")
    if b"\\u0000" in encoded:
        raise Refused("No attribute can hold U+0000.", rule="text")


def _wanted_of(row: UserRow) -> Wanted:
    return Wanted(
        user_name=row.user_name,
        external_id=row.external_id,
        email=row.email,
        display_name=row.display_name,
        active=row.active,
        attributes=row.attributes or {},
    )


def _told(wanted: Wanted) -> dict[str, Any]:
    """Return what the log says of a member's state."""
    return {
        "user_name": fold_name(wanted.user_name),
        "external_id": wanted.external_id,
        "email": fold_email(wanted.email),
        "display_name": wanted.display_name,
        "active": wanted.active,
    }


def _target(member_id: str, display_name: str) -> Target:
    return Target(type="membership", id=member_id, name=display_name)


def _unknown() -> NotFound:
    return NotFound("There is no member with this id in this organization.")


def told_members(ids: Sequence[str]) -> dict[str, Any]:
    """Return ids for an event, which has room for a thousand, and how many there were."""
    return {"members": list(ids[:1000]), "number": len(ids)}
