"""Legal holds: what must stay, whatever a policy or an erasure says, until the hold is released."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct

from tallystick.errors import Conflict, NotFound, Refused, TooLarge
from tallystick.event.limits import FOREIGN
from tallystick.event.model import Context, Target
from tallystick.event.moment import instant_text
from tallystick.services.keeping.door import Door, Place
from tallystick.services.own_events import actor_of, require_whole_organization
from tallystick.services.permissions import HOLDS
from tallystick.services.principal import Principal
from tallystick.store import keeping
from tallystick.store.connect import Connection, transaction
from tallystick.verify.positions import Positions
from tallystick.verify.records import HOLD_RELEASED, HOLD_SET, RANGES_MAX, HoldRecord, ReleaseRecord

REASON_MAX = 512
HOLDS_MAX = 1_000  # in force at once


class HoldWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to hold: events that fit every filter given; `since` inclusive, `until` exclusive, by either clock of an event.

    `actor` is an id, name or e-mail of whoever acted or on whose behalf; `workspace` "-" = the organization's own level.
    """

    reason: str
    actor: str | None = None
    target: str | None = None
    workspace: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class HoldView(Struct, frozen=True, kw_only=True):
    """A hold as it is shown."""

    id: str
    reason: str
    actor: str | None
    target: str | None
    workspace: str | None
    since: datetime | None
    until: datetime | None
    set_at: datetime
    released_at: datetime | None = None


class Holds:
    """Sets, lists and releases the holds of an organization."""

    def __init__(self, door: Door, *, new_hold: Callable[[], str]) -> None:
        self._door = door
        self._new_hold = new_hold

    async def list_all(self, principal: Principal) -> list[HoldView]:
        """Return every hold, those released included, oldest first."""
        require_whole_organization(principal, HOLDS)
        return await self._all(principal)

    async def _all(self, principal: Principal) -> list[HoldView]:
        organization_id = principal.organization_id
        async with transaction(self._door.keeper, reading=True, organization=organization_id) as connection:
            return [
                HoldView(**{**dict(row), "workspace": "-" if row["workspace"] == "" else row["workspace"]})
                for row in await keeping.fetch(connection, "holds", organization=organization_id)
            ]

    async def preview(self, principal: Principal, wish: HoldWish) -> int:
        """Return how many events of now a hold would be for."""
        require_whole_organization(principal, HOLDS)
        _check(wish)
        async with transaction(
            self._door.keeper, reading=True, organization=principal.organization_id
        ) as connection:
            return len(await self._covered(connection, principal, wish))

    async def set(self, principal: Principal, wish: HoldWish, *, context: Context | None = None) -> HoldView:
        """Hold what fits from now on; recorded with the positions it is for at this moment.

        Raises Refused for a wish that makes no sense, TooLarge with 1,000 holds in force.
        """
        require_whole_organization(principal, HOLDS)
        _check(wish)
        if sum(one.released_at is None for one in await self._all(principal)) >= HOLDS_MAX:
            raise TooLarge(f"At most {HOLDS_MAX} holds are in force at once.", rule="too_many_holds")
        organization_id, hold_id = principal.organization_id, self._new_hold()
        async with transaction(self._door.keeper, reading=True, organization=organization_id) as connection:
            covered = await self._covered(connection, principal, wish)
        # A purge takes its turn: what went before this hold is on record is gone, and before it in the log.
        listed = len(covered.ranges) <= RANGES_MAX
        record = HoldRecord(
            hold=hold_id,
            events=len(covered),
            positions=tuple((first, count) for first, count in covered.written()) if listed else None,
        )
        event = self._door.prepared(
            organization_id, HOLD_SET, record, actor=actor_of(principal), context=context,
            targets=[Target(type="legal_hold", id=hold_id)], after=_told(wish),
        )  # fmt: skip
        made: list[HoldView] = []

        async def first(connection: Connection) -> None:
            now = await self._covered(connection, principal, wish)
            if covered - now:
                raise Conflict("Some of these events were removed at the very same time; set the hold again.")

        async def then(connection: Connection, places: Sequence[Place]) -> None:
            (place,) = places
            await keeping.fetch(
                connection, "add_hold", organization=organization_id, id=hold_id, reason=wish.reason,
                **_filters(wish), position=place.position, set_at=place.received_at,
            )  # fmt: skip
            made.append(
                HoldView(
                    id=hold_id, reason=wish.reason, actor=wish.actor, target=wish.target, workspace=wish.workspace,
                    since=wish.since, until=wish.until, set_at=place.received_at,
                )
            )  # fmt: skip

        await self._door.record(organization_id, [event], first=first, then=then)
        return made[0]

    async def release(
        self, principal: Principal, hold_id: str, *, context: Context | None = None
    ) -> HoldView:
        """Release a hold; raises NotFound when there is none of this id, Conflict when it was released before."""
        require_whole_organization(principal, HOLDS)
        organization_id = principal.organization_id
        found = next((one for one in await self._all(principal) if one.id == hold_id), None)
        if found is None:
            raise NotFound("There is no such legal hold.")
        if found.released_at is not None:
            raise Conflict("This hold was released before.", rule="released")
        event = self._door.prepared(
            organization_id, HOLD_RELEASED, ReleaseRecord(hold=hold_id), actor=actor_of(principal), context=context,
            targets=[Target(type="legal_hold", id=hold_id)], before={"reason": found.reason},
        )  # fmt: skip
        released: list[datetime] = []

        async def then(connection: Connection, places: Sequence[Place]) -> None:
            (place,) = places
            rows = await keeping.fetch(
                connection, "release_hold", organization=organization_id, id=hold_id, position=place.position,
                released_at=place.received_at,
            )  # fmt: skip
            if not rows:
                raise Conflict("This hold was released before.", rule="released")
            released.append(place.received_at)

        await self._door.record(organization_id, [event], then=then)
        return HoldView(
            **{name: getattr(found, name) for name in HoldView.__struct_fields__[:-1]},
            released_at=released[0],
        )

    async def _covered(self, connection: Connection, principal: Principal, wish: HoldWish) -> Positions:
        rows = await keeping.fetch(
            connection, "covered", organization=principal.organization_id, **_filters(wish)
        )
        return Positions((row["first"], row["first"] + row["events"]) for row in rows)


def _check(wish: HoldWish) -> None:
    if not 0 < len(wish.reason) <= REASON_MAX:
        raise Refused(f"A hold needs a reason of 1 to {REASON_MAX} characters.", path="/reason", rule="range")
    for name, limit in (
        ("actor", FOREIGN["actor.name"]),
        ("target", FOREIGN["targets.id"]),
        ("workspace", 256),
    ):
        value = getattr(wish, name)
        if value is not None and not 0 < len(value) <= limit:
            raise Refused(f"'{name}' has 1 to {limit} characters.", path=f"/{name}", rule="range")
    for name in ("since", "until"):
        moment = getattr(wish, name)
        if moment is not None and moment.tzinfo is None:
            raise Refused(f"'{name}' needs an offset from UTC.", path=f"/{name}", rule="time")
    if wish.since and wish.until and wish.since >= wish.until:
        raise Refused("'since' lies before 'until'.", path="/until", rule="time")


def _filters(wish: HoldWish) -> dict[str, object]:
    return {
        "actor": wish.actor,
        "target": wish.target,
        "workspace": "" if wish.workspace == "-" else wish.workspace,
        "since": wish.since,
        "until": wish.until,
    }


def _told(wish: HoldWish) -> dict[str, str]:
    told = {"reason": wish.reason}
    for name in ("actor", "target", "workspace"):
        if (value := getattr(wish, name)) is not None:
            told[name] = value
    for name in ("since", "until"):
        if (moment := getattr(wish, name)) is not None:
            told[name] = instant_text(moment)
    return told
