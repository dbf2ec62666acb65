"""Dual control: some acts need a second person. Asked for, approved and refused on record; nobody approves his own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from tallystick.errors import Conflict, Forbidden, NotFound
from tallystick.event.model import Context, Target
from tallystick.services.keeping.door import Door, Place
from tallystick.services.own_events import actor_of, require_whole_organization
from tallystick.services.principal import Principal
from tallystick.store import keeping
from tallystick.store.connect import Connection, transaction

LIFETIME: Final = timedelta(days=7)
LISTED_MAX: Final = 200
REQUESTED: Final = "approval.requested"
DECIDED: Final[Mapping[str, str]] = {"approved": "approval.approved", "refused": "approval.refused"}
SWITCHED: Final = "organization.updated"

Decision = Literal["approved", "refused"]


class ApprovalView(Struct, frozen=True, kw_only=True):
    """A request of approval as it is shown."""

    id: str
    act: str
    requested_by: str
    requested_at: datetime
    expires_at: datetime
    decision: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None


class Asked(Struct, frozen=True, kw_only=True):
    """The answer to an act that waits for a second person."""

    approval: ApprovalView
    waits_for: str = "a second person's approval"


class Approvals:
    """Keeps requests and decisions."""

    def __init__(self, door: Door, *, now: Callable[[], datetime], new_approval: Callable[[], str]) -> None:
        self._door = door
        self._now = now
        self._new_approval = new_approval

    async def is_on(self, organization_id: UUID) -> bool:
        """Tell whether this organization's acts need a second person where dual control says so."""
        async with transaction(self._door.keeper, reading=True, organization=organization_id) as connection:
            rows = await keeping.fetch(connection, "dual_control", organization=organization_id)
        return bool(rows and rows[0]["on"])

    async def switch(self, principal: Principal, *, on: bool, context: Context | None) -> None:
        """Switch dual control, on record."""
        organization_id = principal.organization_id
        event = self._door.prepared(
            organization_id, SWITCHED, actor=actor_of(principal), context=context,
            targets=[Target(type="organization", id=str(organization_id))],
            before={"dual_control": not on}, after={"dual_control": on},
        )  # fmt: skip

        async def then(connection: Connection, places: Sequence[Place]) -> None:
            if not await keeping.fetch(connection, "set_dual_control", organization=organization_id, on=on):
                raise NotFound("This organization no longer exists.")

        await self._door.record(organization_id, [event], then=then)

    async def ask(
        self, principal: Principal, act: str, request: Mapping[str, Any], context: Context | None
    ) -> Asked:
        """Keep a request until a second person decides; the log says that there is one, never what it names."""
        organization_id, approval_id, at = principal.organization_id, self._new_approval(), self._now()
        event = self._door.prepared(
            organization_id, REQUESTED, actor=actor_of(principal), context=context,
            targets=[Target(type="approval", id=approval_id)], after={"act": act},
        )  # fmt: skip
        made = ApprovalView(
            id=approval_id, act=act, requested_by=principal.id, requested_at=at, expires_at=at + LIFETIME
        )

        async def then(connection: Connection, places: Sequence[Place]) -> None:
            await keeping.fetch(
                connection, "add_approval", organization=organization_id, id=approval_id, act=act,
                request=msgspec.json.encode(request), requested_by=principal.id, requested_at=at,
                expires_at=made.expires_at,
            )  # fmt: skip

        await self._door.record(organization_id, [event], then=then)
        return Asked(approval=made)

    async def list_all(self, principal: Principal) -> list[ApprovalView]:
        """Return the latest requests, newest first."""
        return [view for view, _ in await self._find(principal.organization_id, None)]

    async def decide(
        self, principal: Principal, approval_id: str, decision: Decision, permission: Mapping[str, str],
        context: Context | None,
    ) -> tuple[ApprovalView, dict[str, Any]]:  # fmt: skip
        """Approve or refuse a request, and return it with what was asked for.

        Raises NotFound without one, Forbidden to who may not do the act himself or who asked for it, Conflict when it
        is decided or over.
        """
        organization_id = principal.organization_id
        found = await self._find(organization_id, approval_id)
        if not found:
            raise NotFound("There is no such request of approval.")
        (view, request) = found[0]
        require_whole_organization(principal, permission[view.act])
        if await self._people(organization_id, principal.id) & await self._people(
            organization_id, view.requested_by
        ):
            raise Forbidden(
                "Nobody decides about his own request, nor with a key he made. Ask a second person.",
                rule="own_request",
            )
        at = self._now()
        event = self._door.prepared(
            organization_id, DECIDED[decision], actor=actor_of(principal), context=context,
            targets=[Target(type="approval", id=approval_id)],
            after={"act": view.act, "requested_by": view.requested_by},
        )  # fmt: skip

        async def then(connection: Connection, places: Sequence[Place]) -> None:
            rows = await keeping.fetch(
                connection, "decide", organization=organization_id, id=approval_id, decision=decision,
                decided_by=principal.id, decided_at=at,
            )  # fmt: skip
            if not rows:
                raise Conflict("This request was decided before, or is over.", rule="decided")

        await self._door.record(organization_id, [event], then=then)
        return msgspec.structs.replace(
            view, decision=decision, decided_by=principal.id, decided_at=at
        ), request

    async def _people(self, organization_id: UUID, holder: str) -> set[str]:
        """Return who may be behind a credential: itself, and whoever made the key, back to the first."""
        async with transaction(self._door.keeper, reading=True, organization=organization_id) as connection:
            rows = await keeping.fetch(connection, "makers", organization=organization_id, id=holder)
        return {holder, *(row["created_by"] for row in rows if row["created_by"])}

    async def _find(
        self, organization_id: UUID, approval_id: str | None
    ) -> list[tuple[ApprovalView, dict[str, Any]]]:
        async with transaction(self._door.keeper, reading=True, organization=organization_id) as connection:
            rows = await keeping.fetch(
                connection, "approvals", organization=organization_id, id=approval_id, rows_max=LISTED_MAX
            )
        names = ApprovalView.__struct_fields__
        return [
            (ApprovalView(**{name: row[name] for name in names}), msgspec.json.decode(row["request"]))
            for row in rows
        ]
