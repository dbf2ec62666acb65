"""Whether an organization may read its log: the switches of self-hosted LangSmith, under the same names.

Recording is always on. The process-wide switch closes every reading surface; an organization's own
`config.can_use_audit_logs` decides for it and wins over the default. Operators change it with plain SQL while the
server runs, so an answer is remembered for a second and no longer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from uuid import UUID

from msgspec import Struct

from tallystick.errors import Forbidden, NotFound
from tallystick.event.model import Context, Target
from tallystick.services.host_acts import HostActs
from tallystick.services.ingest import Ingest
from tallystick.services.own_events import record_act, require_whole_organization
from tallystick.services.permissions import MANAGE
from tallystick.services.principal import Principal
from tallystick.store import organizations
from tallystick.store.connect import Connection, Pool
from tallystick.store.switches import merge_config

CAN_USE_AUDIT_LOGS = "can_use_audit_logs"
REMEMBER_SECONDS = 1.0
_REMEMBER_MAX = 10_000


class OrganizationView(Struct, frozen=True, kw_only=True):
    """An organization as those who manage it see it: its own switch, and the one of the whole server."""

    id: UUID
    display_name: str
    can_use_audit_logs: bool
    audit_logs_enabled: bool


def may_read(config: dict[str, object], default: bool) -> bool:
    """Tell what an organization's config says about reading; anything but true, false or nothing is no."""
    value = config.get(CAN_USE_AUDIT_LOGS)
    return default if value is None else value is True


class Switches:
    """Answers whether reading is on, and switches it.

    Args:
        reader: connections that may read.
        enabled: `AUDIT_LOGS_ENABLED` of this process.
        default: what holds for an organization whose config says nothing.
        monotonic: seconds that never go back.
    """

    def __init__(self, reader: Pool, *, enabled: bool, default: bool, monotonic: Callable[[], float]) -> None:
        self._reader = reader
        self._enabled = enabled
        self._default = default
        self._monotonic = monotonic
        self._remembered: OrderedDict[UUID, tuple[float, bool]] = OrderedDict()

    @property
    def enabled(self) -> bool:
        """Whether this process reads for anybody."""
        return self._enabled

    async def require_reading(self, organization_id: UUID) -> None:
        """Raise Forbidden, saying how to switch reading on, when it is off for this organization."""
        if not self._enabled:
            raise Forbidden(
                "Reading audit logs is switched off on this server; recording goes on and nothing is lost. To switch "
                "it on, set AUDIT_LOGS_ENABLED=true and restart the server.",
                rule="audit_logs_off",
            )
        if not await self._is_on(organization_id):
            raise Forbidden(
                # A sentence for a person, never a statement we run.
                "Reading the audit log is switched off for this organization; recording goes on and nothing is lost. "  # noqa: S608
                f"To switch it on: tallystick organizations enable-audit-logs {organization_id}, or in SQL: UPDATE "
                "organizations SET config = COALESCE(config, '{}'::jsonb) || "
                f"'{{\"{CAN_USE_AUDIT_LOGS}\": true}}'::jsonb WHERE id = '{organization_id}';",
                rule="audit_logs_off",
            )

    async def _is_on(self, organization_id: UUID) -> bool:
        at = self._monotonic()
        remembered = self._remembered.get(organization_id)
        if remembered is not None and at - remembered[0] < REMEMBER_SECONDS:
            return remembered[1]
        found = await organizations.get(self._reader, organization_id)
        answer = may_read(found.config if found else {}, self._default)
        self._remembered[organization_id] = (at, answer)
        self._remembered.move_to_end(organization_id)
        if len(self._remembered) > _REMEMBER_MAX:
            self._remembered.popitem(last=False)
        return answer

    async def view(self, principal: Principal) -> OrganizationView:
        """Return the principal's organization and its switches as they are now."""
        principal.require(MANAGE)
        found = await organizations.get(self._reader, principal.organization_id)
        if found is None:
            raise NotFound("This key's organization no longer exists.")
        return OrganizationView(
            id=found.id,
            display_name=found.display_name,
            can_use_audit_logs=may_read(found.config, self._default),
            audit_logs_enabled=self._enabled,
        )

    async def switch(
        self, principal: Principal, ingest: Ingest, *, on: bool, context: Context | None = None
    ) -> None:
        """Switch reading on or off for the principal's organization; its log says who did, in the same transaction."""
        require_whole_organization(principal)
        organization_id = principal.organization_id
        found = await organizations.get(self._reader, organization_id)

        async def inside(connection: Connection, entries: object) -> None:
            if not await merge_config(connection, organization_id, {CAN_USE_AUDIT_LOGS: on}):
                raise NotFound("This key's organization no longer exists.")

        before = None if found is None else found.config.get(CAN_USE_AUDIT_LOGS)
        await record_act(
            ingest, principal, **_switched(organization_id, before, on=on), context=context, inside=inside
        )
        self._remembered.pop(organization_id, None)


async def switch_by_operator(acts: HostActs, writer: Pool, organization_id: UUID, *, on: bool) -> None:
    """Switch reading for an organization from outside any server; its log says who did.

    Raises NotFound when there is no such organization.
    """
    found = await organizations.get(writer, organization_id)
    if found is None:
        raise NotFound(
            f"There is no organization {organization_id}. List them: tallystick organizations list"
        )

    async def change(connection: Connection) -> None:
        await merge_config(connection, organization_id, {CAN_USE_AUDIT_LOGS: on})

    before = found.config.get(CAN_USE_AUDIT_LOGS)
    await acts.record(organization_id, [acts.act(**_switched(organization_id, before, on=on))], change)


def _switched(organization_id: UUID, before: object, *, on: bool) -> dict[str, Any]:
    return {
        "action": f"organization.audit_logs_{'enabled' if on else 'disabled'}",
        "targets": (Target(type="organization", id=str(organization_id)),),
        "before": {CAN_USE_AUDIT_LOGS: before},
        "after": {CAN_USE_AUDIT_LOGS: on},
    }
