"""Where acts of keeping are asked for: done at once, or kept until a second person approves, as the organization wants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from tallystick.event.model import Context
from tallystick.services.keeping.approvals import Approvals, ApprovalView, Asked, Decision
from tallystick.services.keeping.erasure import Certificate, Erasures, ErasureWish
from tallystick.services.keeping.erasure import check as check_erasure
from tallystick.services.keeping.holds import Holds, HoldView
from tallystick.services.keeping.policies import Policies, RuleView
from tallystick.services.keeping.purge import Purge
from tallystick.services.keeping.rules import Wish
from tallystick.services.own_events import require_whole_organization
from tallystick.services.permissions import HOLDS, MANAGE, RETENTION
from tallystick.services.principal import Principal

SHORTEN: Final = "retention.shorten"
RELEASE: Final = "hold.release"
ERASE: Final = "person.erase"
SWITCH_OFF: Final = "dual_control.off"
# What a second person must be allowed to do himself.
NEEDS: Final[Mapping[str, str]] = {SHORTEN: RETENTION, RELEASE: HOLDS, ERASE: MANAGE, SWITCH_OFF: MANAGE}


class Decided(Struct, frozen=True, kw_only=True):
    """A decision, and what came of an approved act."""

    approval: ApprovalView
    result: Any = None


class RulePreview(Struct, frozen=True, kw_only=True):
    """How many events a rule lets go, and how many of them a hold keeps."""

    rule: str
    events: int
    held: int


class RetentionPreview(Struct, frozen=True, kw_only=True):
    """What would go at the moment a change takes effect: as things stand, and with the change."""

    effective_at: str
    shortens: bool
    as_it_stands: list[RulePreview]
    with_the_change: list[RulePreview]


class Desk:
    """Takes every act of keeping."""

    def __init__(
        self, policies: Policies, holds: Holds, erasures: Erasures, purge: Purge, approvals: Approvals
    ) -> None:
        self.policies = policies
        self.holds = holds
        self.erasures = erasures
        self.purge = purge
        self.approvals = approvals

    async def preview_policy(self, principal: Principal, wish: Wish) -> RetentionPreview:
        """Return what a change of policy would have go, with counts, before it is made."""
        require_whole_organization(principal, RETENTION)
        organization_id = principal.organization_id
        now = await self.policies.versions(organization_id)
        then, at = await self.policies.would_be(organization_id, wish, self.policies.now())

        async def counted(versions: Any) -> list[RulePreview]:
            found = await self.purge.preview(organization_id, versions, at)
            return [
                RulePreview(rule=rule, events=events, held=held) for rule, (events, held) in found.items()
            ]

        return RetentionPreview(
            effective_at=at.isoformat(),
            shortens=await self.policies.shortens(principal, wish),
            as_it_stands=await counted(now),
            with_the_change=await counted(then),
        )

    async def change_policy(
        self, principal: Principal, wish: Wish, context: Context | None
    ) -> RuleView | Asked:
        """Change a rule; what shortens may have to wait for a second person."""
        require_whole_organization(principal, RETENTION)
        if await self.approvals.is_on(principal.organization_id) and await self.policies.shortens(
            principal, wish
        ):
            return await self.approvals.ask(principal, SHORTEN, _plain(wish), context)
        return await self.policies.change(principal, wish, context=context)

    async def release_hold(
        self, principal: Principal, hold_id: str, context: Context | None
    ) -> HoldView | Asked:
        """Release a hold, perhaps after a second person's approval."""
        require_whole_organization(principal, HOLDS)
        if await self.approvals.is_on(principal.organization_id):
            return await self.approvals.ask(principal, RELEASE, {"hold": hold_id}, context)
        return await self.holds.release(principal, hold_id, context=context)

    async def erase(
        self, principal: Principal, wish: ErasureWish, context: Context | None
    ) -> Certificate | Asked:
        """Erase, perhaps after a second person's approval."""
        require_whole_organization(principal, MANAGE)
        check_erasure(wish)
        if await self.approvals.is_on(principal.organization_id):
            return await self.approvals.ask(principal, ERASE, _plain(wish), context)
        return await self.erasures.erase(principal, wish, context=context)

    async def switch(self, principal: Principal, *, on: bool, context: Context | None) -> bool | Asked:
        """Switch dual control; to switch it off is itself an act that needs a second person. Returns what holds now."""
        require_whole_organization(principal, MANAGE)
        if await self.approvals.is_on(principal.organization_id) == on:
            return on
        if not on:
            return await self.approvals.ask(principal, SWITCH_OFF, {}, context)
        await self.approvals.switch(principal, on=True, context=context)
        return True

    async def decide(
        self, principal: Principal, approval_id: str, decision: Decision, context: Context | None
    ) -> Decided:
        """Approve a request and do what was asked for, as whoever approves; or refuse it."""
        view, request = await self.approvals.decide(principal, approval_id, decision, NEEDS, context)
        if decision == "refused":
            return Decided(approval=view)
        acts: Mapping[str, Callable[[], Awaitable[Any]]] = {
            SHORTEN: lambda: self.policies.change(principal, msgspec.convert(request, Wish), context=context),
            RELEASE: lambda: self.holds.release(principal, request["hold"], context=context),
            ERASE: lambda: self.erasures.erase(
                principal, msgspec.convert(request, ErasureWish), context=context
            ),
            SWITCH_OFF: lambda: self.approvals.switch(principal, on=False, context=context),
        }
        return Decided(approval=view, result=await acts[view.act]())


def _plain(wish: Struct) -> dict[str, Any]:
    return msgspec.to_builtins(wish)
