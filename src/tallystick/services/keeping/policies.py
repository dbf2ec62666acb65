"""Retention policies: seen, previewed and changed. What shortens takes effect after a notice; every change is an event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct
from msgspec.structs import replace

from tallystick.errors import Refused, TooLarge
from tallystick.event.model import Context, Target
from tallystick.event.moment import instant_text
from tallystick.event.prepare import Prepared
from tallystick.services.keeping.door import Door, Place, Stale
from tallystick.services.keeping.rules import (
    RULES_MAX,
    PolicyVersion,
    Wish,
    checked,
    default_days,
    in_force,
    is_shorter,
    to_come,
)
from tallystick.services.own_events import actor_of, require_whole_organization
from tallystick.services.permissions import RETENTION
from tallystick.services.principal import Principal
from tallystick.store import keeping
from tallystick.store.connect import Connection, transaction
from tallystick.verify.records import DEFAULT_DAYS, DEFAULT_RULE, NOTICE, POLICY_CHANGED, PolicyRecord

DEFAULT_CLASS = "one_year"
_MARGIN = timedelta(minutes=5)  # until the event is in the log, whose clock counts


class RuleView(Struct, frozen=True, kw_only=True, rename={"class_": "class"}):
    """A rule as it is shown; `days` None = for ever, `effective_at` says since when or from when on."""

    rule: str
    class_: str
    days: int | None
    stream: str | None = None
    workspace: str | None = None
    ended: bool = False
    effective_at: datetime | None = None


class PoliciesView(Struct, frozen=True, kw_only=True):
    """The rules in force, and those that are announced."""

    in_force: list[RuleView]
    announced: list[RuleView]


async def versions_of(connection: Connection, organization_id: UUID) -> list[PolicyVersion]:
    """Return every version of every rule of an organization, in the order they were recorded."""
    rows = await keeping.fetch(connection, "policies", organization=organization_id)
    return [
        PolicyVersion(
            rule=row["rule"], position=row["position"], stream=row["stream"], workspace=row["workspace"],
            class_=row["class"], days=row["days"], ended=row["ended"], recorded_at=row["recorded_at"],
            effective_at=row["effective_at"],
        )
        for row in rows
    ]  # fmt: skip


class Policies:
    """Shows and changes how long an organization's events are kept."""

    def __init__(self, door: Door, *, now: Callable[[], datetime], new_rule: Callable[[], str]) -> None:
        self._door = door
        self._now = now
        self._new_rule = new_rule

    async def view(self, principal: Principal) -> PoliciesView:
        """Return the rules in force and those to come."""
        require_whole_organization(principal, RETENTION)
        versions, at = await self.versions(principal.organization_id), self._now()
        force = in_force(versions, at)
        shown = [_view(one) for one in force.values()]
        if DEFAULT_RULE not in force:
            shown.insert(0, RuleView(rule=DEFAULT_RULE, class_=DEFAULT_CLASS, days=DEFAULT_DAYS))
        return PoliciesView(in_force=shown, announced=[_view(one) for one in to_come(versions, at)])

    async def shortens(self, principal: Principal, wish: Wish) -> bool:
        """Tell whether a wish would have events go sooner than they do now."""
        versions, at = await self.versions(principal.organization_id), self._now()
        return self._next(versions, wish, at)[1]

    async def change(self, principal: Principal, wish: Wish, *, context: Context | None = None) -> RuleView:
        """Change a rule, or make one, and record it; what shortens takes effect after seven days.

        Raises Refused for a wish that makes no sense, TooLarge beyond 200 rules.
        """
        require_whole_organization(principal, RETENTION)
        organization_id = principal.organization_id
        versions, at = await self.versions(organization_id), self._now()
        version, shorter = self._next(versions, wish, at)
        old = in_force(versions, at).get(version.rule)
        record = PolicyRecord(
            rule=version.rule,
            days=version.days,
            effective_at=instant_text(version.effective_at),
            ended=version.ended,
        )
        event = self._door.prepared(
            organization_id, POLICY_CHANGED, record, actor=actor_of(principal), context=context,
            targets=[Target(type="retention_policy", id=version.rule)],
            before=UNSET if old is None else _told(old), after=_told(version),
        )  # fmt: skip

        # The built-in rule goes on record before the first change of it: recorded later, it would overtake that change.
        built_in = version.rule == DEFAULT_RULE and all(one.rule != DEFAULT_RULE for one in versions)
        events = [built_in_event(self._door, organization_id, at)] if built_in else []

        async def first(connection: Connection) -> None:
            if await versions_of(connection, organization_id) != versions:
                raise Stale("Somebody else changed the retention policy at the same time; look again.")

        async def then(connection: Connection, places: Sequence[Place]) -> None:
            place = places[-1]
            if shorter and version.effective_at - place.received_at < NOTICE:
                raise Stale("Recording this took too long for its notice; try again.")
            if built_in:
                await add_built_in(connection, organization_id, places[0], at)
            await keeping.fetch(
                connection, "add_policy", organization=organization_id, rule=version.rule, position=place.position,
                stream=version.stream, workspace=version.workspace, days=version.days, ended=version.ended,
                recorded_at=place.received_at, effective_at=version.effective_at, **{"class": version.class_},
            )  # fmt: skip

        await self._door.record(organization_id, [*events, event], first=first, then=then)
        return _view(version)

    def _next(
        self, versions: Sequence[PolicyVersion], wish: Wish, at: datetime
    ) -> tuple[PolicyVersion, bool]:
        """Return the version that `wish` makes, and whether it shortens."""
        class_, days = checked(wish)
        force = in_force(versions, at)
        known = [one for one in versions if one.scope == (wish.stream, wish.workspace)]
        is_default = wish.stream is None and wish.workspace is None
        rule = DEFAULT_RULE if is_default else known[-1].rule if known else self._new_rule()
        if wish.ended and rule not in force:
            raise Refused("There is no such rule in force.", path="/ended", rule="scope")
        if not known and len({one.rule for one in versions}) >= RULES_MAX:
            raise TooLarge(f"An organization has at most {RULES_MAX} rules.", rule="too_many_rules")
        old = force[rule].days if rule in force else default_days(force)
        shorter = is_shorter(default_days(force) if wish.ended else days, old)
        effective_at = (at + NOTICE + _MARGIN).replace(microsecond=0) if shorter else at
        version = PolicyVersion(
            rule=rule, position=-1, stream=wish.stream, workspace=wish.workspace, class_=class_, days=days,
            ended=wish.ended, recorded_at=at, effective_at=effective_at,
        )  # fmt: skip
        return version, shorter

    async def would_be(
        self, organization_id: UUID, wish: Wish, at: datetime
    ) -> tuple[list[PolicyVersion], datetime]:
        """Return all versions as they would be with `wish`, and from when on."""
        versions = await self.versions(organization_id)
        version, _ = self._next(versions, wish, at)
        last = max((one.position for one in versions), default=-1) + 1
        return [*versions, replace(version, position=last)], version.effective_at

    def now(self) -> datetime:
        """Return what time it is."""
        return self._now()

    async def versions(self, organization_id: UUID) -> list[PolicyVersion]:
        """Return every version of every rule."""
        async with transaction(self._door.keeper, reading=True, organization=organization_id) as connection:
            return await versions_of(connection, organization_id)


def built_in_event(door: Door, organization_id: UUID, at: datetime) -> Prepared:
    """Return the record of the rule that is in force where nobody chose another, from `at` on."""
    record = PolicyRecord(rule=DEFAULT_RULE, days=DEFAULT_DAYS, effective_at=instant_text(at))
    after = {"class": DEFAULT_CLASS, "days": DEFAULT_DAYS}
    return door.prepared(organization_id, POLICY_CHANGED, record, after=after)


async def add_built_in(connection: Connection, organization_id: UUID, place: Place, at: datetime) -> None:
    """Add the rule of `built_in_event`, which stands at `place`."""
    await keeping.fetch(
        connection, "add_policy", organization=organization_id, rule=DEFAULT_RULE, position=place.position, stream=None,
        workspace=None, days=DEFAULT_DAYS, ended=False, recorded_at=place.received_at, effective_at=at,
        **{"class": DEFAULT_CLASS},
    )  # fmt: skip


def _view(version: PolicyVersion) -> RuleView:
    return RuleView(
        rule=version.rule, class_=version.class_, days=version.days, stream=version.stream,
        workspace=version.workspace, ended=version.ended, effective_at=version.effective_at,
    )  # fmt: skip


def _told(version: PolicyVersion) -> dict[str, Any]:
    told: dict[str, Any] = {"class": version.class_, "days": version.days, "ended": version.ended}
    for name, value in (("stream", version.stream), ("workspace", version.workspace)):
        if value is not None:
            told[name] = value
    return told | {"effective_at": instant_text(version.effective_at)}
