"""Committing one group after another to each log: at once where nothing has changed, under its lock otherwise.

Where a log stands is remembered in its `Line` and replaced only after a commit is certain. The database is always
told what is remembered and refuses when it differs; then the log is read again, and checked, under its lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from tallystick.errors import AuditError, Conflict, Misconfigured, Tampered, TryLater, UnknownOutcome
from tallystick.event.leaf import read_leaf
from tallystick.event.prepare import Prepared
from tallystick.event.unseal import same_content
from tallystick.services.group import (
    SCHEMA_FLAG,
    Built,
    Entry,
    Group,
    Resolver,
    Stored,
    Subject,
    build,
    seal_group,
)  # fmt: skip
from tallystick.services.log_state import LogState, load_state
from tallystick.services.remembered import RememberedSubjects
from tallystick.services.sign import NOTHING_SIGNED, Signer, SignerDiffers
from tallystick.store import append as store
from tallystick.store.connect import Connection, Pool, classify, transaction
from tallystick.store.subjects import find_subjects, look_up_subjects


class Line:
    """What is remembered of one log between appends; `state` is None when it must be read again.

    `pending` are the new subjects of the group that is committing, `generation` is the number under which its
    subjects are remembered, which belongs to `epoch`, the log's count of erasures (None = never seen).
    """

    __slots__ = ("epoch", "generation", "organization_id", "origin", "pending", "state")

    def __init__(self, organization_id: UUID, origin: str, generation: int) -> None:
        self.organization_id = organization_id
        self.origin = origin
        self.state: LogState | None = None
        self.pending: dict[Subject, UUID] = {}
        self.generation = generation
        self.epoch: int | None = None


class Committer:
    """Prepares and commits groups, and answers their callers; at most `at_once` transactions at a time.

    Up to `one_trip` events are written in one statement; after `seconds_max` a commit counts as unknown.

    The caller commits the groups of one line one after the other; `prepare` of the next may overlap.
    """

    def __init__(
        self,
        writer: Pool,
        signer: Signer,
        *,
        now: Callable[[], datetime],
        random: Callable[[int], bytes],
        one_trip: int,
        at_once: int,
        seconds_max: float,
    ) -> None:
        self.tampered: dict[UUID, Tampered] = {}
        self._pool = writer
        self._signer = signer
        self._now = now
        self._random = random
        self._one_trip = one_trip
        self._seconds_max = seconds_max
        self._slots = asyncio.Semaphore(at_once)
        self._remembered = RememberedSubjects()
        self._resolver = Resolver(self._remembered, random)
        self._answering: set[asyncio.Task[None]] = set()
        self._months: set[tuple[int, int]] = set()

    def line(self, organization_id: UUID) -> Line:
        """Return what is remembered of a log that was not used yet: nothing."""
        return Line(organization_id, self._signer.origin(organization_id), self._remembered.new_generation())

    async def settled(self) -> None:
        """Wait until every caller that sent something again has its answer."""
        while self._answering:
            await asyncio.wait(self._answering)

    async def ensure_months(self, at: datetime) -> None:
        """Make the partitions of the month of `at` and of the next one, unless that was done."""
        next_month = at.replace(day=1) + timedelta(days=32)
        for month, until_then in ((at, ()), (next_month, (TryLater,))):
            if (month.year, month.month) not in self._months:
                # A partition takes a short lock on the whole table. The next month's may wait for a better time.
                with suppress(*until_then):
                    await store.ensure_month(self._pool, month)
                    self._months.add((month.year, month.month))

    async def prepare(self, line: Line, group: Group) -> bool:
        """Resolve the subjects of a group and seal it; False when that failed and its callers were told."""

        async def find(subjects: Sequence[Subject]) -> dict[Subject, UUID]:
            return await look_up_subjects(self._pool, line.organization_id, subjects)

        try:
            at = self._now()
            if line.state is not None:
                at = max(at, line.state.received_at)
            await self.ensure_months(at)
            await self._resolver.resolve(group, line.generation, line.pending, find)
            await self._seal(line, group, at)
        except Exception as error:
            group.fail(error)
            return False
        return True

    async def commit(self, line: Line, group: Group) -> None:
        """Commit a prepared group and answer its callers; never raises."""
        line.pending = group.new_refs
        try:
            async with self._slots:
                built = await self._write_in_time(line, group)
        except store.Unstorable as error:
            await self._isolate(line, group, error)
        except Exception as error:
            self._give_up(line, error)
            group.fail(error)
        else:
            self.tampered.pop(line.organization_id, None)
            if built is not None:
                self._take_over(line, group, built)
            self._answer(line, group, built)
        finally:
            line.pending = {}

    def _give_up(self, line: Line, error: Exception) -> None:
        # After a certain rollback the log still stands where it stood; after anything else it is read again.
        if not isinstance(error, TryLater) or isinstance(error, UnknownOutcome):
            line.state = None
        if isinstance(error, Tampered):
            self.tampered[line.organization_id] = error

    async def _seal(self, line: Line, group: Group, at: datetime) -> None:
        await seal_group(group, origin=line.origin, received_at=at, random=self._random)

    def _build(self, line: Line, state: LogState, group: Group) -> Built:
        return build(group, state, organization_id=line.organization_id, signer=self._signer, now=self._now())

    async def _write_in_time(self, line: Line, group: Group) -> Built | None:
        try:
            async with asyncio.timeout(self._seconds_max):
                return await self._write(line, group)
        except TimeoutError as error:
            # Every statement has a time-out of its own; this one is for a driver that waits for ever.
            raise classify(error, during_commit=True) from error

    async def _write(self, line: Line, group: Group) -> Built | None:
        """Write and commit a group; None when all of it was in the log already."""
        special = any(job.inside is not None or job.violations for job in group.jobs)
        if line.state is not None and len(group.entries) <= self._one_trip and not special:
            built = await self._write_at_once(line, line.state, group)
            if built is not None:
                return built
        return await self._write_locked(line, group)

    async def _write_at_once(self, line: Line, state: LogState, group: Group) -> Built | None:
        if group.received_at is not None and group.received_at < state.received_at:
            await self._seal(line, group, state.received_at)
        try:
            built = self._build(line, state, group)
        except SignerDiffers:
            return None  # perhaps another server went on with this log: look under its lock
        known = await store.append_at_once(self._pool, built.append)
        return built if known is None else None

    async def _write_locked(self, line: Line, group: Group) -> Built | None:
        async with transaction(self._pool, organization=line.organization_id) as connection:
            for job in group.jobs:
                if job.before is not None:
                    await job.before(connection)
            subjects = group.new_subjects()
            start = await store.begin_append(connection, line.organization_id, group.ids(), subjects)
            state = await self._state(connection, line, start)
            group.set_aside(start.known)
            if not group.entries and all(job.events for job in group.jobs):
                return None
            await self._catch_up(connection, line, group, state, clash=start.clash)
            built = self._build(line, state, group)
            await store.write(connection, built.append)
            _place(group, built)
            await self._write_inside(connection, line, group)
            return built

    async def _state(self, connection: Connection, line: Line, start: store.Start) -> LogState:
        state = line.state
        if state is not None and state.is_at(start):
            signed = self._signer.state(line.origin) or NOTHING_SIGNED
            if signed == state.mark():
                return state
        return await load_state(connection, line.organization_id, start, self._signer)

    async def _catch_up(
        self, connection: Connection, line: Line, group: Group, state: LogState, *, clash: bool
    ) -> None:
        """Do again, under the lock, what another server's append or an erasure has overtaken since `prepare`."""

        async def find(subjects: Sequence[Subject]) -> dict[Subject, UUID]:
            return await find_subjects(connection, line.organization_id, subjects)

        refs = [entry.refs for entry in group.entries]
        if line.epoch != state.subject_epoch:
            line.generation, line.epoch = self._remembered.new_generation(), state.subject_epoch
            clash = True
        if clash:
            await self._resolver.resolve(group, line.generation, {}, find)
        at = group.received_at or self._now()
        if at < state.received_at or refs != [entry.refs for entry in group.entries]:
            # Never with the clock of now: the next group has its stamp already, would be sealed again as well, with an
            # even later one, and so would every group after it.
            await self._seal(line, group, max(at, state.received_at))

    async def _write_inside(self, connection: Connection, line: Line, group: Group) -> None:
        held = [entry for entry in group.entries if entry.index in entry.job.violations]
        if held:
            rows = [
                store.Quarantined(entry.position, entry.prepared.action, entry.job.violations[entry.index])
                for entry in held
            ]
            await store.quarantine(connection, line.organization_id, rows)
        for job in group.jobs:
            if job.inside is not None:
                await job.inside(connection, [entry for entry in group.entries if entry.job is job])

    def _take_over(self, line: Line, group: Group, built: Built) -> None:
        """Make what was committed the line's own; from here on nothing may fail the group."""
        line.state = built.after
        self._resolver.remember(group)
        _place(group, built)
        try:
            self._signer.confirm(line.origin, built.after.mark(), follows=built.before.mark())
        except Tampered as error:
            line.state = None
            self.tampered[line.organization_id] = error
        except (OSError, Misconfigured):
            line.state = (
                None  # the next append reads the log again: the signer catches up, or says why it cannot
            )

    def _answer(self, line: Line, group: Group, built: Built | None) -> None:
        if built is not None:
            received_at = built.append.received_at
            for entry in group.entries:
                entry.job.results[entry.index] = Stored(entry.prepared.id, entry.position, received_at)
        lines: dict[bytes, str] = {}
        for job in group.jobs:
            if built is not None:
                job.growth, job.note, job.lines = built.growth, built.append.note, lines
            job.answer_if_settled()
        if group.repeats:
            task = asyncio.create_task(self._answer_repeats(line.organization_id, group.repeats))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer_repeats(self, organization_id: UUID, repeats: list[Entry]) -> None:
        try:
            ids = list({entry.prepared.id for entry in repeats})
            found = await store.stored_events(self._pool, organization_id, ids)
            for entry in repeats:
                entry.job.settle(entry.index, judge_repeat(entry, found[entry.prepared.id]))
        except AuditError as error:
            for entry in repeats:
                entry.job.settle(entry.index, error)
        except Exception as error:
            for entry in repeats:
                entry.job.fail(error)

    async def _isolate(self, line: Line, group: Group, error: store.Unstorable) -> None:
        """Find the one event the database cannot hold, so that it does not take the others of its group with it."""
        if any(job.inside is not None for job in group.jobs):
            group.fail(error)
        elif len(group.entries) > 1:
            for half in group.halves():
                if await self.prepare(line, half):
                    await self.commit(line, half)
        else:
            for entry in group.entries:
                entry.job.settle(entry.index, error)
            rest = Group.of_entries(group.jobs, group.repeats, partial=True)
            if group.repeats and await self.prepare(line, rest):
                await self.commit(line, rest)


def judge_repeat(entry: Entry, stored: store.StoredEvent) -> Stored | Conflict:
    """Tell a retry from a conflict, by sealing what was sent again with what the stored row was sealed with."""
    leaf, opening, seed = stored.leaf, stored.opening, stored.seed
    if leaf is None or opening is None or seed is None:
        # A row that retention removed cannot be compared; its id is taken all the same.
        return Stored(stored.id, stored.position, stored.received_at, duplicate=True)
    sent = (entry.prepared, _other_schema_flag(entry.prepared))
    if any(same_content(event, leaf=leaf, opening=opening, seed=seed) for event in sent):
        number = entry.prepared.producer
        renumbered = number is not None and number != read_leaf(leaf).producer
        return Stored(stored.id, stored.position, stored.received_at, duplicate=True, renumbered=renumbered)
    return Conflict(
        f"The id {stored.id} was used before, for an event with other content. Nothing was changed. "
        "Give each event an id of its own.",
        path="/id",
    )


def _other_schema_flag(event: Prepared) -> Prepared:
    # A schema registered or changed between two attempts must not turn a retry into a conflict.
    others = tuple(flag for flag in event.flags if flag != SCHEMA_FLAG)
    return replace(event, flags=others if len(others) < len(event.flags) else (*others, SCHEMA_FLAG))


def _place(group: Group, built: Built) -> None:
    for position, entry in enumerate(group.entries, built.growth.before.size):
        entry.position = position
