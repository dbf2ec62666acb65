"""The purge: events at the end of their retention are removed, a step at a time, each with its record in the log.

A month of which little stays goes as a whole, anything else in batches. A step plans outside any lock, removes, and
only then takes the log's lock to append its record, so that recording goes on meanwhile. Whatever changed between plan
and removal makes the step fail whole, and the next one plans anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from msgspec import Struct

from tallystick.errors import TryLater, UnknownOutcome
from tallystick.event.moment import instant_text
from tallystick.services.keeping.door import Door, Place, Stale
from tallystick.services.keeping.policies import DEFAULT_CLASS, add_built_in, built_in_event, versions_of
from tallystick.services.keeping.rules import (
    PolicyVersion,
    Tide,
    cutoff,
    in_force,
    never,
)
from tallystick.services.keeping.strangers import forget_strangers
from tallystick.store import keeping, logs
from tallystick.store.connect import Connection, transaction
from tallystick.store.keeping import Bound, Counts, MonthSpan
from tallystick.verify.positions import Positions, union
from tallystick.verify.records import (
    DEFAULT_DAYS,
    DEFAULT_RULE,
    PRUNED,
    RANGES_MAX,
    ArchiveRecord,
    PrunedPart,
    PrunedRecord,
)

TILE: Final = 256
PREVIEW_AT_ONCE: Final = 200_000
IDS_KEPT: Final = timedelta(days=35)  # a sender may come back with an event for that long


class PurgeLimits(Struct, frozen=True, kw_only=True):
    """How a purge goes about it: rows of a batch, the pause after each, and when a month is worth removing whole.

    A month goes as a whole from `month_rows` rows on, when at most `stay_share` of as many rows, or `stay_rows`, stay
    in it. `patience` is how long appends may wait for it at most; after `attempts` it goes in batches.
    """

    batch_rows: int = 2_000
    pause_seconds: float = 0.05
    month_rows: int = 10_000
    stay_rows: int = 1_000
    stay_share: float = 0.05
    patience: timedelta = timedelta(milliseconds=50)
    attempts: int = 20


class Plan(Struct, frozen=True, kw_only=True):
    """All a purge of one log goes by: what each rule lets go, its months, and whether anything is held."""

    at: datetime
    tides: Mapping[str, Tide]
    bounds: Sequence[Bound]
    spans: Sequence[MonthSpan]
    held: bool
    last_policy: int

    @property
    def end(self) -> int:
        """The position before which something may be due."""
        return max((one.bound for one in self.bounds), default=0)


Archive = Callable[[UUID, int, int], Awaitable[ArchiveRecord | None]]


async def no_archive(organization_id: UUID, first: int, end: int) -> ArchiveRecord | None:
    """Keep no copy."""
    return None


class Purge:
    """Purges logs; `archive` keeps a copy of [first, end) before anything of it goes, and raises when it cannot."""

    def __init__(
        self, door: Door, *, now: Callable[[], datetime], archive: Archive = no_archive,
        limits: PurgeLimits | None = None,
    ) -> None:  # fmt: skip
        self._door = door
        self._pool = door.keeper
        self._now = now
        self._archive = archive
        self._limits = limits or PurgeLimits()

    async def run(self, organization_id: UUID) -> int:
        """Remove everything that is due in one log now and return how many events that was."""
        plan = await self.plan(organization_id)
        removed = 0
        for span in plan.spans:
            if span.first >= plan.end:
                break
            removed += await self._purge_month(organization_id, plan, span)
        if removed:
            await forget_strangers(self._pool, organization_id)
        return removed

    async def preview(
        self, organization_id: UUID, versions: Sequence[PolicyVersion], at: datetime
    ) -> dict[str, tuple[int, int]]:
        """Return how many events of now each rule of `versions` would let go at a moment, and how many of them are held."""
        async with transaction(self._pool, reading=True, organization=organization_id) as connection:
            head = await logs.head(connection, organization_id)
            size = head.size if head else 0
            force = in_force(versions, at)
            force.setdefault(DEFAULT_RULE, _built_in(at))
            tides = [await self._tide(connection, organization_id, one, at, size) for one in force.values()]
            bounds = [
                Bound(one.version.rule, one.version.stream, _level(one.version.workspace), one.bound)
                for one in tides
            ]
            counts: dict[str, tuple[int, int]] = {one.rule: (0, 0) for one in bounds}
            end = max((one.bound for one in bounds), default=0)
            for first in range(0, end, PREVIEW_AT_ONCE):
                found = await keeping.due_count(
                    connection, organization_id, bounds, first, min(end, first + PREVIEW_AT_ONCE)
                )
                for rule, (events, held) in found.items():
                    counts[rule] = (counts[rule][0] + events, counts[rule][1] + held)
        return counts

    async def plan(self, organization_id: UUID) -> Plan:
        """Return what is due now; where no policy was ever recorded and something is due, records the default."""
        plan = await self._plan(organization_id)
        if plan.end and DEFAULT_RULE in plan.tides and plan.tides[DEFAULT_RULE].version.position < 0:
            await self._record_default(organization_id)
            plan = await self._plan(organization_id)
        return plan

    async def _plan(self, organization_id: UUID) -> Plan:
        at = self._now()
        async with transaction(self._pool, reading=True, organization=organization_id) as connection:
            head = await logs.head(connection, organization_id)
            size = head.size if head else 0
            versions = await versions_of(connection, organization_id)
            force = in_force(versions, at)
            force.setdefault(DEFAULT_RULE, _built_in(at))
            tides = {
                version.rule: await self._tide(connection, organization_id, version, at, size)
                for version in force.values()
            }
            holds = await keeping.fetch(connection, "holds", organization=organization_id)
            spans = await keeping.months(connection, organization_id, size)
        return Plan(
            at=at,
            tides=tides,
            bounds=[
                Bound(rule, tide.version.stream, _level(tide.version.workspace), tide.bound)
                for rule, tide in tides.items()
            ],
            spans=spans,
            held=any(hold["released_at"] is None for hold in holds),
            last_policy=max((one.position for one in versions), default=-1),
        )

    async def _tide(
        self, connection: Connection, organization_id: UUID, version: PolicyVersion, at: datetime, size: int
    ) -> Tide:
        before = cutoff(version.days, at)
        if before is None:
            return never(version)
        covered, note = await keeping.checkpoint_before(connection, organization_id, before)
        # The rows of the last, incomplete tile are all that knows their leaf hashes: they stay.
        bound = min(covered, size // TILE * TILE)
        return Tide(version=version, before=before, bound=bound, checkpoint=note)

    async def _record_default(self, organization_id: UUID) -> None:
        at = self._now()

        async def first(connection: Connection) -> None:
            if any(one.rule == DEFAULT_RULE for one in await versions_of(connection, organization_id)):
                raise Stale("The retention policy was changed meanwhile.")

        async def then(connection: Connection, places: Sequence[Place]) -> None:
            await add_built_in(connection, organization_id, places[0], at)

        with suppress(Stale):
            event = built_in_event(self._door, organization_id, at)
            await self._door.record(organization_id, [event], first=first, then=then)

    async def _purge_month(self, organization_id: UUID, plan: Plan, span: MonthSpan) -> int:
        whole = await self._worth_it(organization_id, plan, span)
        if whole is not None:
            for _ in range(self._limits.attempts):
                try:
                    return await self._remove(organization_id, plan, span, whole, whole_month=True)
                except UnknownOutcome:
                    raise
                except Stale:
                    break
                except TryLater:
                    await asyncio.sleep(self._limits.pause_seconds)
        return await self._purge_in_batches(organization_id, plan, span)

    async def _worth_it(
        self, organization_id: UUID, plan: Plan, span: MonthSpan
    ) -> dict[str, Positions] | None:
        """Return what is due of a month when little else is in it, None when it is better removed in batches."""
        limits, length = self._limits, span.end - span.first
        if span is plan.spans[-1] or length < limits.month_rows or span.end > plan.end:
            return None
        async with transaction(self._pool, reading=True, organization=organization_id) as connection:
            due = await self._due(connection, organization_id, plan, span.first, span.end, length)
            gone = await keeping.removed_within(connection, organization_id, span.first, span.end)
        removing = sum(map(len, due.values()))
        stay_max = int(max(limits.stay_rows, limits.stay_share * removing))
        stay = length - len(gone) - removing
        if removing < limits.month_rows or stay > stay_max or _ranges(due) > RANGES_MAX:
            return None
        others = await keeping.others_in_month(self._pool, organization_id, span, stay_max + 1)
        return due if stay + others <= stay_max else None

    async def _due(
        self, connection: Connection, organization_id: UUID, plan: Plan, first: int, end: int, rows_max: int
    ) -> dict[str, Positions]:
        return await keeping.due(
            connection, organization_id, plan.bounds, plan.spans, first, min(end, plan.end), rows_max, held=plan.held
        )  # fmt: skip

    async def _purge_in_batches(self, organization_id: UUID, plan: Plan, span: MonthSpan) -> int:
        removed, first = 0, span.first
        while first < min(span.end, plan.end):
            async with transaction(self._pool, reading=True, organization=organization_id) as connection:
                due = await self._due(
                    connection, organization_id, plan, first, span.end, self._limits.batch_rows
                )
            if not due:
                break
            removed += await self._remove(organization_id, plan, span, due, whole_month=False)
            first = max(positions.end for positions in due.values())
            await asyncio.sleep(self._limits.pause_seconds)
        return removed

    async def _remove(
        self,
        organization_id: UUID,
        plan: Plan,
        span: MonthSpan,
        due: Mapping[str, Positions],
        *,
        whole_month: bool,
    ) -> int:
        """Remove what is due of a month, as far as it fits one record; all of it or nothing."""
        positions = union(due.values())
        archive = await self._archive(organization_id, positions.ranges[0][0], positions.end)
        removal_id = self._door.new_id()
        event = self._door.prepared(
            organization_id, PRUNED, _record(plan, due, archive), id=removal_id, told_by_people=False,
            after={"events": len(positions), "rules": [_told(plan.tides[rule], due[rule]) for rule in due]},
        )  # fmt: skip
        counts: list[Counts] = []
        forget_before = plan.at - IDS_KEPT

        async def first(connection: Connection) -> None:
            await self._still(connection, organization_id, plan, positions)
            await keeping.begin_removal(connection, organization_id, removal_id, "retention", positions)
            if whole_month:
                remove = partial(keeping.remove_month, span=span, patience=self._limits.patience)
            else:
                received = keeping.received_within(plan.spans, positions.ranges[0][0], positions.end)
                remove = partial(keeping.remove_rows, received=received, forget_before=forget_before)
            counts.append(await remove(connection, organization_id, positions=positions))
            if counts[-1].events != len(positions):
                raise Stale("Some of these events are gone already.")

        async def then(connection: Connection, places: Sequence[Place]) -> None:
            (place,) = places
            await keeping.place_removal(
                connection, organization_id, removal_id, place.position, place.received_at
            )
            await keeping.settle(connection, organization_id, counts[-1])

        await self._door.record(organization_id, [event], first=first, then=then)
        if whole_month:
            await keeping.forget_ids(self._pool, organization_id, span, positions, forget_before)
        return len(positions)

    async def _still(
        self, connection: Connection, organization_id: UUID, plan: Plan, positions: Positions
    ) -> None:
        """Raise Stale when holds or policies changed since the plan was made."""
        versions = await versions_of(connection, organization_id)
        if max((one.position for one in versions), default=-1) != plan.last_policy:
            raise Stale("The retention policy was changed meanwhile.")
        if await keeping.held_among(connection, organization_id, positions):
            raise Stale("Some of these events are held by now.")


def _record(plan: Plan, due: Mapping[str, Positions], archive: ArchiveRecord | None) -> PrunedRecord:
    parts: list[PrunedPart] = []
    for rule, positions in sorted(due.items()):
        tide = plan.tides[rule]
        assert tide.before is not None
        assert tide.version.days is not None
        parts.append(
            PrunedPart(
                rule=rule,
                policy=tide.version.position,
                days=tide.version.days,
                before=instant_text(tide.before),
                checkpoint=tide.checkpoint,
                positions=tuple((first, count) for first, count in positions.written()),
            )
        )
    return PrunedRecord(events=sum(map(len, due.values())), parts=tuple(parts), archive=archive)


def _told(tide: Tide, positions: Positions) -> dict[str, object]:
    version = tide.version
    told: dict[str, object] = {"class": version.class_, "days": version.days, "events": len(positions)}
    for name, value in (("stream", version.stream), ("workspace", version.workspace)):
        if value is not None:
            told[name] = value
    return told


def _built_in(at: datetime) -> PolicyVersion:
    """Return the rule that holds where none was ever recorded."""
    return PolicyVersion(
        rule=DEFAULT_RULE, position=-1, stream=None, workspace=None, class_=DEFAULT_CLASS, days=DEFAULT_DAYS, ended=False,
        recorded_at=at, effective_at=at,
    )  # fmt: skip


def _level(workspace: str | None) -> str | None:
    """Return a rule's workspace as rows have it: "-" stands for the organization's own level."""
    return "" if workspace == "-" else workspace


def _ranges(due: Mapping[str, Positions]) -> int:
    return sum(len(positions.ranges) for positions in due.values())
