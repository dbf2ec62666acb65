"""What producers' numbers say: how far each got, what is missing, and who has fallen silent.

The log is read by position, behind everybody's back: recording an event costs nothing more. Each event is counted once,
whichever server reads it, because reading on is one transaction with the account (store/producers.py). Gaps and silence
become events of the log of the log, once each.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import structlog
from msgspec import Struct

from tallystick.errors import AuditError, NotFound, Refused, TryLater
from tallystick.event.leaf import LeafProducer, read_leaf
from tallystick.event.limits import DEVELOPER, INTEGER_MAX, PRODUCER_PATTERN
from tallystick.event.model import Actor, Outcome, Target
from tallystick.event.numbering import Numbering, Ranges, sentence
from tallystick.services.group import Entry
from tallystick.services.ingest import Ingest
from tallystick.services.own_events import own_event, require_whole_organization
from tallystick.services.permissions import READ, WRITE
from tallystick.services.principal import Principal
from tallystick.store import producers as rows
from tallystick.store.connect import Connection, Pool, transaction
from tallystick.store.producers import Behind, Doubt, EpochRow, NumberedLeaf, ProducerRow, Silence

ROUND_SECONDS: Final = 2.0
GRACE_SECONDS: Final = 60.0  # how long a number may be late before it is reported as missing
STRETCH: Final = 5_000  # positions read in one transaction
LOGS_AT_ONCE: Final = 100
PRODUCERS_MAX: Final = 10_000  # of one organization; numbers of further ones are not followed
EPOCHS_MAX: Final = 1_000  # of one producer; the oldest complete ones are forgotten
LISTED_MAX: Final = 200
EPOCHS_LISTED_MAX: Final = 2_000
RANGES_LISTED_MAX: Final = 100
INTERVAL_SECONDS_MAX: Final = 86_400.0
SERVER: Final = Actor(type="system", name="Tallystick server")
_NAME: Final = re.compile(PRODUCER_PATTERN).fullmatch
log = structlog.get_logger("tallystick")

State = Literal["active", "silent", "stopped", "unwatched"]


class Gap(Struct, frozen=True, kw_only=True):
    """Numbers from `first` to `last` that are missing; `reported` once an event of the log tells of it.

    `kind` `missing` is undeclared, `declared` has been told by the producer itself, `waiting` lies in its spool.
    """

    epoch: str
    first: int
    last: int
    kind: Literal["missing", "declared", "waiting"]
    reported: bool = False


class Standing(Struct, frozen=True, kw_only=True):
    """A producer: how far it got, what is missing, and when it was heard of.

    `epoch` and `sequence` are the newest; the counts are those of all its epochs. `waiting` says how many events lay in
    its spool at its last sign of life.
    """

    id: str
    state: State
    epoch: str | None
    sequence: int
    events: int
    missing: int
    declared: int
    waiting: int
    conflicts: int
    first_seen_at: datetime
    last_event_at: datetime | None
    last_position: int | None
    heartbeat_at: datetime | None
    interval_seconds: float
    silent_since: datetime | None
    gaps: list[Gap]
    more_gaps: bool = False
    summary: str = ""


class Page(Struct, frozen=True, kw_only=True):
    """Producers by name; `next_after` is where the next page begins, None after the last."""

    producers: list[Standing]
    next_after: str | None


class Beat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sign of life: the last number given out in `epoch`, and the first that still waits to be sent.

    With 0 seconds none is to be expected any more.
    """

    epoch: str
    sequence: int
    waiting_from: int | None = None
    interval_seconds: float = 0.0


class _Faster(AuditError):
    """Another server has recorded it."""


class Producers:
    """Follows the numbers of producers.

    Args:
        writer: connections of the writer's role.
        ingest: records what is found in the log of the log. now: the clock.
    """

    def __init__(
        self,
        writer: Pool,
        ingest: Ingest,
        *,
        now: Callable[[], datetime],
        grace_seconds: float = GRACE_SECONDS,
        stretch: int = STRETCH,
        producers_max: int = PRODUCERS_MAX,
        epochs_max: int = EPOCHS_MAX,
    ) -> None:
        self._writer = writer
        self._ingest = ingest
        self._now = now
        self._grace = timedelta(seconds=grace_seconds)
        self._stretch = stretch
        self._producers_max = producers_max
        self._epochs_max = epochs_max
        self._since = now()  # silence while no server was there to hear anything is nobody's

    # What is asked

    async def list(self, principal: Principal, *, after: str = "", limit: int = LISTED_MAX) -> Page:
        """Return the producers of the organization by name, those behind `after`."""
        require_whole_organization(principal, READ)
        limit = min(limit, LISTED_MAX)
        found, epochs = await rows.listed(
            self._writer, principal.organization_id, after, limit, EPOCHS_LISTED_MAX
        )
        now = self._now()
        page = [_standing(row, [one for one in epochs if one.producer == row.id], now) for row in found]
        return Page(producers=page, next_after=found[-1].id if len(found) == limit else None)

    async def one(self, principal: Principal, id: str) -> Standing:
        """Return one producer; raises NotFound where nobody of this name was ever seen."""
        require_whole_organization(principal, READ)
        found = await rows.one(self._writer, principal.organization_id, id, EPOCHS_LISTED_MAX)
        if found is None:
            raise NotFound(f"No producer {id!r} has numbered an event or given a sign of life here.")
        return _standing(*found, self._now())

    async def beat(self, principal: Principal, id: str, beat: Beat) -> None:
        """Note a sign of life; raises Refused for one that cannot be, TryLater where there are too many producers."""
        principal.require(WRITE)
        _check_beat(id, beat)
        said = (beat.epoch, beat.sequence, beat.waiting_from, beat.interval_seconds)
        kept = await rows.beat(
            self._writer, principal.organization_id, id, self._now(), said, self._producers_max
        )
        if not kept:
            raise TryLater(
                f"This organization has {self._producers_max} producers already; the numbers of further ones are not "
                "followed. Their events are recorded all the same.",
                retry_after_seconds=600,
            )

    # What is found

    async def run(self, round_seconds: float = ROUND_SECONDS) -> None:
        """Follow and report until cancelled; what fails is tried again in the next round."""
        while True:
            try:
                await self.round()
            except AuditError as error:
                log.warning("producers: this round failed, the next one goes on", reason=str(error))
            await asyncio.sleep(round_seconds)

    async def round(self) -> None:
        """Read all that is new, then report what is missing for long, and silence."""
        while read := [await self._follow(one) for one in await rows.behind(self._writer, LOGS_AT_ONCE)]:
            if not any(read):
                break
            await asyncio.sleep(0)
        for organization_id in await rows.claiming(self._writer):
            await self._take_claims(organization_id)
        for doubt in await rows.in_doubt(self._writer, self._stretch):
            await self._look_into(doubt)
        for silence in await rows.fallen_silent(self._writer, self._now(), self._since):
            await self._tell_silence(silence)
        for silence in await rows.back_again(self._writer):
            await self._tell_return(silence)

    async def _follow(self, behind: Behind) -> bool:
        """Read one stretch of a log; False when another server does."""
        organization_id = behind.organization_id
        async with transaction(self._writer, organization=organization_id) as connection:
            position = await rows.lock_cursor(connection, organization_id)
            if position is None:
                return False
            found, end = await rows.numbered(connection, organization_id, position, self._stretch)
            if found:
                await self._take_in(connection, organization_id, found)
            await rows.move_cursor(connection, organization_id, end)
        return end > position

    async def _take_in(
        self, connection: Connection, organization_id: UUID, found: Sequence[NumberedLeaf]
    ) -> None:
        leaves = [(leaf.position, leaf.received_at, _producer(leaf.leaf)) for leaf in found]
        newest = {producer.id: (received_at, position) for position, received_at, producer in leaves}
        known, total = await rows.known(connection, organization_id, list(newest))
        room = max(0, self._producers_max - total)
        followed = known | set(sorted(newest.keys() - known)[:room])
        keys = dict.fromkeys((one.id, one.epoch) for _, _, one in leaves if one.id in followed)
        kept = await rows.epochs_of(connection, organization_id, list(keys))
        accounts = {key: kept[key].account if key in kept else Numbering() for key in keys}
        last: dict[tuple[str, str], datetime] = {}
        for _, received_at, producer in leaves:
            key = (producer.id, producer.epoch)
            if key in accounts:
                accounts[key].take(producer)
                last[key] = received_at
        for key, account in accounts.items():
            await rows.put_epoch(connection, organization_id, key, account, last[key])
        for id in sorted(followed):
            await rows.put_producer(connection, organization_id, id, *newest[id])
        for id in sorted({producer for producer, epoch in keys if (producer, epoch) not in kept}):
            await rows.forget_epochs(connection, organization_id, id, self._epochs_max)

    async def _take_claims(self, organization_id: UUID) -> None:
        """Take in that more numbers were given out and sent than the log shows: what is missing at the end."""
        async with transaction(self._writer, organization=organization_id) as connection:
            if await rows.lock_cursor(connection, organization_id) is None:
                return
            found = await rows.claims(connection, organization_id)
            kept = await rows.epochs_of(
                connection, organization_id, [(claim.id, claim.epoch) for claim in found]
            )
            for claim in found:
                key = (claim.id, claim.epoch)
                account = kept[key].account if key in kept else Numbering()
                account.given_out(claim.last)
                await rows.put_epoch(connection, organization_id, key, account, claim.beat_at)

    async def _look_into(self, doubt: Doubt) -> None:
        """Suspect what is missing now, report what is missing for long, and say when all of it has come after all."""
        row, now = doubt.row, self._now()
        if row.account.conflicts and not row.conflicts_reported:
            await self._tell(doubt, "producer.conflict", row.reported, {"conflicts": row.account.conflicts})
            return
        if row.reported and not row.reported.both(row.account.missing):
            await self._tell(doubt, "producer.recovered", Ranges(), {"arrived": row.reported.count()})
            return
        late = _late(row, doubt.waiting)
        if row.suspected_at is None or not row.suspected:
            if late:
                await rows.suspect(self._writer, doubt.organization_id, row, late, now)
        elif now - row.suspected_at >= self._grace:
            overdue = row.suspected.both(late)
            if overdue:
                told = {"missing": overdue.count(), "ranges": _first(overdue)}
                told["summary"] = sentence(row.producer, overdue, overdue.count())
                both = Ranges([*row.reported.both(row.account.missing), *overdue])
                await self._tell(doubt, "producer.gap", both, told)
            else:
                await rows.suspect(self._writer, doubt.organization_id, row, Ranges(), None)

    async def _tell(self, doubt: Doubt, action: str, reported: Ranges, told: dict[str, Any]) -> None:
        row = doubt.row

        async def note(connection: Connection, _: Sequence[Entry]) -> None:
            conflicts = row.conflicts_reported or action == "producer.conflict"
            if not await rows.report(connection, doubt.organization_id, row, reported, conflicts=conflicts):
                raise _Faster("another server has told of it")

        outcome: Outcome = "success" if action == "producer.recovered" else "failure"
        await self._record(
            doubt.organization_id, action, row.producer, outcome, {"epoch": row.epoch, **told}, note
        )

    async def _tell_silence(self, silence: Silence) -> None:
        now = self._now()

        async def note(connection: Connection, _: Sequence[Entry]) -> None:
            if not await rows.set_silent(connection, silence.organization_id, silence.id, now, None):
                raise _Faster("another server has told of it")

        told = {"last_sign_at": silence.last_at, "interval_seconds": silence.interval_seconds}
        await self._record(silence.organization_id, "producer.silent", silence.id, "failure", told, note)

    async def _tell_return(self, silence: Silence) -> None:
        async def note(connection: Connection, _: Sequence[Entry]) -> None:
            if not await rows.set_silent(
                connection, silence.organization_id, silence.id, None, silence.last_at
            ):
                raise _Faster("another server has told of it")

        told = {"silent_since": silence.last_at}
        await self._record(silence.organization_id, "producer.recovered", silence.id, "success", told, note)

    async def _record(
        self, organization_id: UUID, action: str, id: str, outcome: Outcome, told: dict[str, Any], note: Any
    ) -> None:
        target = Target(type="producer", id=id)
        event = own_event(SERVER, action, targets=[target], outcome=outcome, metadata=told)
        with suppress(_Faster):
            await self._ingest.record_own(organization_id, event, inside=note)


def _producer(leaf: bytes) -> LeafProducer:
    producer = read_leaf(leaf).producer
    assert producer is not None  # it was asked for by that key
    return producer


def _late(row: EpochRow, waiting: int | None) -> Ranges:
    """Return what is missing, not reported, and does not wait in the producer's spool."""
    late = row.account.missing.without(row.reported)
    if waiting is not None:
        late.take(waiting, INTEGER_MAX)
    return late


def _first(ranges: Ranges) -> list[list[int]]:
    return [list(one) for one, _ in zip(ranges, range(RANGES_LISTED_MAX), strict=False)]


def _check_beat(id: str, beat: Beat) -> None:
    """Raise Refused for a sign of life that no producer can give."""
    for name, text in (("id", id), ("epoch", beat.epoch)):
        if not 1 <= len(text) <= DEVELOPER[f"producer.{name}"] or not _NAME(text):
            raise Refused(
                f"/{name}: expected letters, digits and . _ : -, beginning with a letter or digit",
                path=f"/{name}",
                rule="invalid_field",
            )
    waiting = beat.waiting_from
    if not 0 <= beat.sequence <= INTEGER_MAX:
        raise Refused("/sequence: expected a number from 0 to 2^53-1", path="/sequence", rule="invalid_field")
    if waiting is not None and not 1 <= waiting <= beat.sequence:
        raise Refused(
            "/waiting_from: expected a number from 1 to sequence", path="/waiting_from", rule="invalid_field"
        )
    if not 0 <= beat.interval_seconds <= INTERVAL_SECONDS_MAX:
        raise Refused(
            f"/interval_seconds: expected 0 to {INTERVAL_SECONDS_MAX:.0f} seconds",
            path="/interval_seconds",
            rule="invalid_field",
        )


def _standing(row: ProducerRow, epochs: Sequence[EpochRow], now: datetime) -> Standing:
    newest = epochs[0] if epochs else None
    gaps: list[Gap] = []
    missing = Ranges()
    missing_count = declared = 0
    for one in epochs:
        kinds = _gaps(one, row)
        gaps += kinds
        missing_count += one.account.unlisted + sum(
            g.last - g.first + 1 for g in kinds if g.kind == "missing"
        )
        declared += one.account.unsent.count()
        if not missing and one.account.missing:
            missing = Ranges((gap.first, gap.last) for gap in kinds if gap.kind == "missing")
    waiting = 0 if row.beat_waiting is None or row.beat_last is None else row.beat_last - row.beat_waiting + 1
    return Standing(
        id=row.id,
        state=_state(row),
        epoch=newest.epoch if newest else row.beat_epoch,
        sequence=newest.account.highest if newest else 0,
        events=sum(one.account.events for one in epochs),
        missing=missing_count,
        declared=declared,
        waiting=waiting,
        conflicts=sum(one.account.conflicts for one in epochs),
        first_seen_at=row.first_seen_at,
        last_event_at=row.last_event_at,
        last_position=row.last_position,
        heartbeat_at=row.beat_at,
        interval_seconds=row.interval_seconds or 0.0,
        silent_since=row.silent_since,
        gaps=gaps[:RANGES_LISTED_MAX],
        more_gaps=len(gaps) > RANGES_LISTED_MAX,
        summary=_summary(row, missing, missing_count, declared, now),
    )


def _gaps(one: EpochRow, row: ProducerRow) -> list[Gap]:
    """Return the gaps of an epoch in the order of their numbers."""
    waiting = row.beat_waiting if row.beat_epoch == one.epoch else None
    late = Ranges(one.account.missing)
    in_spool = Ranges(late.take(waiting, INTEGER_MAX)) if waiting is not None else Ranges()
    found = [
        Gap(epoch=one.epoch, first=first, last=last, kind="missing",
            reported=bool(Ranges([(first, last)]).both(one.reported)))
        for first, last in late
    ]  # fmt: skip
    found += [Gap(epoch=one.epoch, first=first, last=last, kind="waiting") for first, last in in_spool]
    found += [
        Gap(epoch=one.epoch, first=first, last=last, kind="declared") for first, last in one.account.unsent
    ]
    return sorted(found, key=lambda gap: gap.first)


def _state(row: ProducerRow) -> State:
    if row.silent_since is not None:
        return "silent"
    if row.interval_seconds:
        return "active"
    return "unwatched" if row.beat_at is None else "stopped"


def _summary(row: ProducerRow, missing: Ranges, count: int, declared: int, now: datetime) -> str:
    """Return in one line what there is to say about a producer."""
    said = [sentence(row.id, missing, count)] if count else []
    if row.silent_since is not None:
        signs = [at for at in (row.beat_at, row.last_event_at) if at is not None]
        quiet = now - max(signs) if signs else timedelta()
        said.append(f"no heartbeat for {_duration(quiet)}")
    if declared:
        said.append(f"{declared} declared by the producer as not sent")
    return "; ".join(said) or "nothing is missing"


def _duration(quiet: timedelta) -> str:
    seconds = int(quiet.total_seconds())
    for unit, size in (("days", 172_800), ("hours", 7_200), ("minutes", 120)):
        if seconds >= size:
            return f"{seconds // {'days': 86_400, 'hours': 3_600, 'minutes': 60}[unit]} {unit}"
    return f"{seconds} seconds"
