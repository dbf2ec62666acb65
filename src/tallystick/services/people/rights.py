"""Who may give what: nobody gives, takes or reaches more than they hold."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from uuid import UUID

from msgspec import Struct

from tallystick.errors import Forbidden, Refused
from tallystick.services.permissions import MANAGE, OF_A_WORKSPACE, ROLES, WORKSPACE_ROLES, implies
from tallystick.services.principal import Principal
from tallystick.services.sign_in.holdings import holdings_of
from tallystick.store import people as rows
from tallystick.store import sessions as session_rows
from tallystick.store.connect import Connection, Pool


class Role(Struct, frozen=True, kw_only=True):
    """A role as it is kept with its holders: `id` is the name of a built-in one."""

    id: str
    name: str
    permissions: frozenset[str]


async def find_role(pool: Pool, organization_id: UUID, text: str, *, on_workspace: bool = False) -> Role:
    """Return the role with this name or id, with what it gives on the organization or on one workspace.

    Raises Refused for an unknown one, and for one that concerns more than a workspace can give.
    """
    built_in = WORKSPACE_ROLES if on_workspace else ROLES
    if text in built_in:
        return Role(id=text, name=text, permissions=built_in[text])
    found = None
    if 1 <= len(text) <= 64 and text.isprintable() and text.upper() not in ROLES:
        found = await rows.read_one(pool, organization_id, "role", text)
    if found is None:
        known = ", ".join(built_in)
        raise Refused(
            f"'{text[:64]}' is no role here; there are {known}, and those of the organization's own.",
            path="/role",
            rule="role",
        )
    permissions = frozenset(found["permissions"])
    if on_workspace and not permissions <= OF_A_WORKSPACE:
        more = ", ".join(sorted(permissions - OF_A_WORKSPACE))
        raise Refused(
            f"The role {found['name']} cannot be had on one workspace: {more} concerns the whole organization.",
            path="/role",
            rule="role",
        )
    return Role(id=found["id"], name=found["name"], permissions=permissions)


def require_may_give(principal: Principal, permissions: Iterable[str]) -> None:
    """Raise Forbidden unless `principal` holds everything it is about to give or take."""
    lacking = sorted(one for one in permissions if not implies(principal.permissions, one))
    if lacking:
        raise Forbidden(
            f"This takes {', '.join(lacking)}, which you do not hold yourself. Ask someone who holds {MANAGE}.",
            rule="more_rights",
        )


async def require_may_change(pool: Pool, principal: Principal, member_id: str) -> None:
    """Raise Forbidden when a member may do what `principal` may not."""
    held = holdings_of(await session_rows.holdings(pool, principal.organization_id, member_id))
    require_may_give(principal, held.permissions)


async def require_an_owner(connection: Connection, organization_id: UUID, change: Awaitable[object]) -> None:
    """Make a change, and raise Refused when it took the last one who may do everything and can sign in.

    The transaction holds the lock of the organization's log, so two such changes never pass each other.
    """
    before = await rows.count(connection, organization_id, "owners")
    await change
    if before and not await rows.count(connection, organization_id, "owners"):
        raise Refused(
            "This is the organization's last OWNER. Make somebody else an owner first; nothing was changed.",
            path="/role",
            rule="last_owner",
        )


def require_text(text: str, characters_max: int, path: str) -> str:
    """Return `text` without space around it; raises Refused when it is empty, too long or not printable."""
    text = text.strip()
    if not 1 <= len(text) <= characters_max or not text.isprintable():
        raise Refused(
            f"{path[1:]} has 1 to {characters_max} characters, all of them printable.", path=path, rule="text"
        )
    return text
