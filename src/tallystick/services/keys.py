"""An organization's API keys: made, rotated and revoked, each in one transaction with its event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from tallystick.errors import Conflict, NotFound, TooLarge
from tallystick.event.model import Context, Target
from tallystick.event.moment import instant_text
from tallystick.services.access import Access, NewKey, row_of
from tallystick.services.ingest import Ingest
from tallystick.services.own_events import record_act, require_whole_organization
from tallystick.services.people.rights import require_may_give
from tallystick.services.permissions import KEYS
from tallystick.services.principal import Principal
from tallystick.store import keys as rows
from tallystick.store.connect import Connection, Pool

KEYS_MAX = 10_000
OVERLAP = timedelta(hours=24)


class Keys:
    """Manages keys; `access` makes them and forgets what it remembers of them when they end."""

    def __init__(self, writer: Pool, ingest: Ingest, access: Access, *, now: Callable[[], datetime]) -> None:
        self._writer = writer
        self._ingest = ingest
        self._access = access
        self._now = now

    async def list_all(self, principal: Principal) -> list[dict[str, Any]]:
        """Return every key of the organization, newest first, without secrets or hashes."""
        require_whole_organization(principal, KEYS)
        return await rows.list_all(self._writer, principal.organization_id)

    async def create(
        self,
        principal: Principal,
        name: str,
        permissions: Sequence[str],
        context: Context,
        *,
        workspace: str | None = None,
        lifetime: timedelta | None = None,
    ) -> NewKey:
        """Make a key that may do no more than `principal`; its secret is shown only here.

        Raises Refused for what cannot be, Forbidden for more than the caller holds, TooLarge beyond 10,000 live keys.
        """
        require_whole_organization(principal, KEYS)
        made = self._access.new_key(name, permissions, workspace=workspace, lifetime=lifetime)
        require_may_give(principal, made.permissions)

        async def inside(connection: Connection, entries: object) -> None:
            await self._keep(connection, principal, made)

        await record_act(
            self._ingest, principal, "key.created", targets=[key_target(made.id, name)], after=told(made), context=context,
            inside=inside,
        )  # fmt: skip
        return made

    async def rotate(self, principal: Principal, key_id: str, context: Context) -> NewKey:
        """Make a key in the place of another, which works on for 24 hours at most.

        Raises NotFound, Conflict when that key is revoked, expired or was rotated before.
        """
        require_whole_organization(principal, KEYS)
        old = await self._find(principal, key_id)
        require_may_give(principal, old["permissions"])
        at = self._now()
        if old["revoked_at"] is not None or (old["expires_at"] is not None and old["expires_at"] <= at):
            raise _over(key_id)
        # The new one lives as long as the old one was meant to.
        lifetime = None if old["expires_at"] is None else old["expires_at"] - old["created_at"]
        made = self._access.new_key(
            old["name"], old["permissions"], workspace=old["workspace"], lifetime=lifetime
        )
        until = min(at + OVERLAP, old["expires_at"] or at + OVERLAP)

        async def inside(connection: Connection, entries: object) -> None:
            if await rows.has_heir(connection, principal.organization_id, key_id):
                raise _over(key_id)
            if not await rows.retire(connection, principal.organization_id, key_id, until):
                raise _over(key_id)
            await self._keep(connection, principal, made, rotated_from=key_id)

        await record_act(
            self._ingest, principal, "key.rotated", targets=[key_target(made.id, made.name), key_target(key_id, old["name"])],
            before={"id": key_id, "expires_at": _text(old["expires_at"])},
            after={"id": made.id, "old_expires_at": _text(until), **told(made)}, context=context, inside=inside,
        )  # fmt: skip
        self._access.forget()
        return made

    async def revoke(self, principal: Principal, key_id: str, context: Context) -> None:
        """Revoke a key for good; it stops working within five seconds everywhere. Once more changes nothing.

        Raises NotFound. Whoever manages keys may revoke any: a leaked one must not wait for an owner.
        """
        require_whole_organization(principal, KEYS)
        old = await self._find(principal, key_id)
        if old["revoked_at"] is not None:
            return

        async def inside(connection: Connection, entries: object) -> None:
            if not await rows.revoke(connection, principal.organization_id, key_id, self._now()):
                raise Conflict("Somebody else revoked this key at the same moment.", rule="revoked")

        await record_act(
            self._ingest, principal, "key.revoked", targets=[key_target(key_id, old["name"])],
            before={"revoked": False}, after={"revoked": True}, context=context, inside=inside,
        )  # fmt: skip
        self._access.forget()

    async def _keep(
        self, connection: Connection, principal: Principal, made: NewKey, *, rotated_from: str | None = None
    ) -> None:
        organization_id = principal.organization_id
        if await rows.count_live(connection, organization_id, self._now()) >= KEYS_MAX:
            raise TooLarge(
                f"An organization has at most {KEYS_MAX:,} live keys. Revoke some first.",
                rule="too_many_keys",
            )
        await rows.insert(
            connection, row_of(organization_id, made, created_by=principal.id, rotated_from=rotated_from)
        )

    async def _find(self, principal: Principal, key_id: str) -> dict[str, Any]:
        found = None
        if 1 <= len(key_id) <= 64 and key_id.isprintable():
            found = await rows.get(self._writer, principal.organization_id, key_id)
        if found is None:
            raise NotFound("There is no key with this id in this organization.")
        return found


def key_target(key_id: str, name: str) -> Target:
    """Return the target that stands for a key."""
    return Target(type="api_key", id=key_id, name=name)


def told(made: NewKey) -> dict[str, Any]:
    """Return what the log says of a new key: everything but its secret."""
    return {
        "name": made.name,
        "permissions": list(made.permissions),
        "workspace": made.workspace,
        "expires_at": _text(made.expires_at),
    }


def _text(at: datetime | None) -> str | None:
    return None if at is None else instant_text(at)


def _over(key_id: str) -> Conflict:
    return Conflict(
        f"The key {key_id} is revoked, expired or was rotated before; nothing was changed. Make a new one.",
        rule="key_over",
    )
