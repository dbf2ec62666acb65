"""One group of events on its way into one log: sealed here, turned into an `Append` once the log's state is known.

Nothing here touches the database or a clock; a group that could not be committed is simply forgotten.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from tallystick.catalogue.describe import verb_of
from tallystick.errors import AuditError
from tallystick.event.model import Flag
from tallystick.event.prepare import Prepared
from tallystick.event.prepare import Subject as SubjectOfEvent
from tallystick.event.seal import Sealed, seal
from tallystick.merkle.append import Growth, grow
from tallystick.merkle.tlog_proof import format_tlog_proof, hash_line
from tallystick.services.log_state import LogState
from tallystick.services.remembered import Key, Remembered, RememberedSubjects, labels_of
from tallystick.services.sign import Mark, Signer
from tallystick.store.append import Append, NewLabel, NewSubject, Tile
from tallystick.store.audit_row import ROW_COLUMNS, Row
from tallystick.store.connect import Connection
from tallystick.store.subjects import new_ref
from tallystick.store.trigrams import pieces_of_label

SEED_BYTES = 16
SCHEMA_FLAG = Flag(path="", kind="schema")  # on events that break the registered schema of their action
KEEP_NOTE_EVERY = timedelta(seconds=60)
_YIELD_EVERY = 64  # events sealed before other tasks get a turn: one or two milliseconds

Subject = tuple[str, str]
FindSubjects = Callable[[Sequence[Subject]], Awaitable[dict[Subject, UUID]]]
Inside = Callable[[Connection, Sequence["Entry"]], Awaitable[None]]
Before = Callable[[Connection], Awaitable[None]]


class Stored(Struct, frozen=True, gc=False):
    """An event that is in the log for good: where, since when, and whether it was there before this call.

    `renumbered` says that it was, under another producer's number than the one it was sent with now.
    """

    id: UUID
    position: int
    received_at: datetime
    duplicate: bool = False
    renumbered: bool = False


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the events of one call, in their order; an error where one was not stored.

    `growth`, `note` and `lines` (hashes written as text so far) are shared by all calls of the commit that stored
    them; `growth` is None when all were duplicates or errors.
    """

    results: list[Stored | AuditError]
    growth: Growth | None = None
    note: str = ""
    lines: dict[bytes, str] = field(default_factory=dict)

    def receipt(self, position: int) -> str | None:
        """Return the receipt (c2sp.org/tlog-proof) of an event this call stored, None for any other."""
        if self.growth is None or not self.growth.before.size <= position < self.growth.after.size:
            return None
        # The upper hashes are the same for all events of a commit: each is written as text once.
        known = self.lines
        lines = [
            known.get(one) or known.setdefault(one, hash_line(one))
            for one in self.growth.inclusion_proof(position)
        ]
        return format_tlog_proof(position, lines, self.note)


class Job:
    """The events of one call, what they violate (index → JSON), and the future that its caller waits for."""

    __slots__ = (
        *(
            "answered",
            "before",
            "events",
            "growth",
            "inside",
            "lines",
            "note",
            "results",
            "size_bytes",
            "source",
        ),
        "violations",
    )

    def __init__(
        self,
        events: Sequence[Prepared],
        source: str,
        *,
        violations: Mapping[int, bytes] | None = None,
        inside: Inside | None = None,
        before: Before | None = None,
    ) -> None:
        self.events = events
        self.source = source
        self.violations = violations or {}
        self.inside = inside
        self.before = before
        self.size_bytes = sum([event.size_bytes for event in events])
        self.results: list[Stored | AuditError | None] = [None] * len(events)
        self.growth: Growth | None = None
        self.note = ""
        self.lines: dict[bytes, str] = {}
        self.answered: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()

    def settle(self, index: int, result: Stored | AuditError) -> None:
        """Say what became of one event; the caller is answered after the last one."""
        self.results[index] = result
        self.answer_if_settled()

    def answer_if_settled(self) -> None:
        """Answer the caller once it is known what became of each event."""
        settled = [result for result in self.results if result is not None]
        if not self.answered.done() and len(settled) == len(self.results):
            self.answered.set_result(Appended(settled, self.growth, self.note, self.lines))

    def fail(self, error: BaseException) -> None:
        """Answer the caller with an error that concerns the whole call."""
        if not self.answered.done():
            self.answered.set_exception(error)


class Entry:
    """One event of a group: whose call it belongs to, its subjects' refs, its leaf, and its place once known."""

    __slots__ = ("index", "job", "position", "prepared", "refs", "sealed")

    refs: Sequence[UUID]
    sealed: Sealed
    position: int

    def __init__(self, job: Job, index: int, prepared: Prepared) -> None:
        self.job = job
        self.index = index
        self.prepared = prepared


@dataclass(slots=True)
class Group:
    """Events that are appended to one log in one transaction, all with one stamp.

    `entries` are to be stored, `repeats` have an id that the log or an earlier entry has; `new_refs` are the
    subjects the directory lacks, `new_labels` what they were not seen with before; `strangers` and `changed` are
    what is to be remembered once this is committed. `partial` says that other events of the same calls are in
    other groups.
    """

    jobs: list[Job]
    entries: list[Entry]
    repeats: list[Entry] = field(default_factory=list)
    received_at: datetime | None = None
    new_refs: dict[Subject, UUID] = field(default_factory=dict)
    new_labels: dict[tuple[UUID, str], None] = field(default_factory=dict)
    changed: list[tuple[Remembered, SubjectOfEvent]] = field(default_factory=list)
    strangers: dict[Key, Remembered] = field(default_factory=dict)
    partial: bool = False

    @classmethod
    def of(cls, jobs: list[Job]) -> Group:
        """Make a group of whole jobs; the second of two equal ids is set aside as a repeat."""
        return cls.of_entries(
            jobs, [Entry(job, at, event) for job in jobs for at, event in enumerate(job.events)]
        )

    @classmethod
    def of_entries(cls, jobs: list[Job], entries: Iterable[Entry], *, partial: bool = False) -> Group:
        """Make a group of all events of jobs, or of a part of them."""
        first: dict[str, Entry] = {}
        repeats = [one for one in entries if first.setdefault(one.prepared.id_text, one) is not one]
        return cls(jobs, list(first.values()), repeats, partial=partial)

    def ids(self) -> list[UUID]:
        """Return the ids of the events to be stored."""
        return [entry.prepared.id for entry in self.entries]

    def new_subjects(self) -> list[NewSubject]:
        """Return the subjects the directory lacks."""
        return [NewSubject(ref, type, id) for (type, id), ref in self.new_refs.items()]

    def set_aside(self, known: frozenset[UUID]) -> None:
        """Take the events whose ids the log holds already out of the group."""
        self.repeats += (entry for entry in self.entries if entry.prepared.id in known)
        self.entries = [entry for entry in self.entries if entry.prepared.id not in known]
        # Who appears only in events that are in the log already may have been erased since: do not bring them back.
        used = {ref for entry in self.entries for ref in entry.refs}
        self.new_refs = {subject: ref for subject, ref in self.new_refs.items() if ref in used}
        self.new_labels = {label: None for label in self.new_labels if label[0] in used}

    def halves(self) -> tuple[Group, Group]:
        """Split the group, to find the one event the database cannot hold."""
        middle = len(self.entries) // 2
        first = Group.of_entries(self.jobs, self.entries[:middle], partial=True)
        second = Group.of_entries(self.jobs, [*self.entries[middle:], *self.repeats], partial=True)
        return first, second

    def fail(self, error: BaseException) -> None:
        """Answer with an error: every caller of the group, or, when others of their events were stored, each event."""
        if self.partial and isinstance(error, AuditError):
            for entry in (*self.entries, *self.repeats):
                entry.job.settle(entry.index, error)
            return
        for job in self.jobs:
            job.fail(error)


@dataclass(frozen=True, slots=True)
class Resolver:
    """Finds the ref of each subject: remembered, in a group being committed, in the directory, or made new."""

    remembered: RememberedSubjects
    random: Callable[[int], bytes]

    async def resolve(
        self, group: Group, generation: int, pending: Mapping[Subject, UUID], find: FindSubjects
    ) -> None:
        """Fill in `refs` of every entry, and the group's new subjects and labels.

        `pending` are new subjects of a group that is being committed; they count as new here too, in case it
        fails. `find` asks the directory, once, for those not remembered.
        """
        group.new_refs, group.new_labels, group.changed, group.strangers = {}, {}, [], {}
        people = [self._people(group, generation, entry.prepared.subjects) for entry in group.entries]
        wanted = [(type, id) for _, type, id in group.strangers]
        found = await find(wanted) if wanted else {}
        for subject, stranger in zip(wanted, group.strangers.values(), strict=True):
            stranger.ref = found.get(subject)
            if stranger.ref is None:
                stranger.ref = group.new_refs[subject] = pending.get(subject) or new_ref(self.random(16))
        for entry, known in zip(group.entries, people, strict=True):
            entry.refs = [one.ref for one in known if one.ref is not None]  # each has one by now
        self._find_new_labels(group)

    def _people(self, group: Group, generation: int, subjects: Sequence[SubjectOfEvent]) -> list[Remembered]:
        people: list[Remembered] = []
        for subject in subjects:
            key = (generation, subject.type, subject.id)
            known = self.remembered.get(key) or group.strangers.get(key)
            if known is None:
                known = group.strangers[key] = Remembered()
            if known.name != subject.name or known.email != subject.email or not known.labels:
                group.changed.append((known, subject))
            people.append(known)
        return people

    def _find_new_labels(self, group: Group) -> None:
        for known, subject in group.changed:
            assert known.ref is not None
            for label in labels_of(subject.id, subject.name, subject.email):
                if label not in known.labels:
                    group.new_labels[known.ref, label] = None

    def remember(self, group: Group) -> None:
        """Remember the subjects of a group that is committed."""
        for key, stranger in group.strangers.items():
            self.remembered.put(key, stranger)
        for known, subject in group.changed:
            known.now_has(labels_of(subject.id, subject.name, subject.email), subject.name, subject.email)


async def seal_group(
    group: Group, *, origin: str, received_at: datetime, random: Callable[[int], bytes]
) -> None:
    """Seal every entry with one stamp; lets other tasks run in between. May be done again with a later stamp."""
    group.received_at = received_at
    for start in range(0, len(group.entries), _YIELD_EVERY):
        part = group.entries[start : start + _YIELD_EVERY]
        seeds = random(SEED_BYTES * len(part))
        for at, entry in enumerate(part):
            entry.sealed = seal(
                entry.prepared,
                origin=origin,
                source=entry.job.source,
                received_at=received_at,
                refs=entry.refs,
                seed=seeds[at * SEED_BYTES : (at + 1) * SEED_BYTES],
            )
        if start + _YIELD_EVERY < len(group.entries):
            await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class Built:
    """An append ready to be written, and the state of the log after it."""

    append: Append
    growth: Growth
    before: LogState
    after: LogState


def build(group: Group, state: LogState, *, organization_id: UUID, signer: Signer, now: datetime) -> Built:
    """Turn a sealed group into an append to a log at `state`, its checkpoint signed.

    Raises SignerDiffers when the signer knows another last state of this log.
    """
    received_at = group.received_at if group.entries and group.received_at else state.received_at
    growth = grow(state.frontier, [entry.sealed.leaf_hash for entry in group.entries])
    tiles, tails = growth.tiles(state.tails)
    origin = signer.origin(organization_id)
    note = signer.sign(origin, Mark(growth.after.size, growth.root), extends=state.mark(), at=now)
    keep = now - state.kept_at >= KEEP_NOTE_EVERY
    month = _month(received_at)
    rows = [_row(entry.prepared, entry.sealed, entry.refs[0]) for entry in group.entries]
    append = Append(
        organization_id=organization_id,
        before=state.place,
        received_at=received_at,
        rows=rows,
        size=growth.after.size,
        frontier=b"".join(growth.after.nodes),
        note=note,
        signed_at=now,
        keep_note=keep,
        month=month if rows and (not state.frontier.size or month != _month(state.received_at)) else None,
        tiles=[Tile(tile.level, tile.index, tile.hashes) for tile in tiles],
        terms=_terms(rows),
        hours=_hours(group.entries, received_at),
        subjects=group.new_subjects(),
        labels=[
            NewLabel(ref, label, pieces_of_label(organization_id, label)) for ref, label in group.new_labels
        ],
    )
    kept_at = now if keep else state.kept_at
    after = LogState(growth.after, tails, received_at, note, kept_at, state.subject_epoch)
    return Built(append, growth, state, after)


def _row(event: Prepared, sealed: Sealed, ref: UUID) -> Row:
    # A plain tuple in the order of ROW_COLUMNS: a named one takes twice as long to make.
    return (
        sealed.occurred_at,
        event.id,
        ref,
        event.actor_type,
        event.action,
        verb_of(event.action),
        event.outcome,
        event.stream,
        event.workspace,
        event.target_type,
        event.target_id,
        event.more_targets,
        event.ip,
        event.request_id,
        sealed.leaf_hash,
        sealed.seed,
        sealed.leaf,
        sealed.opening,
    )


_COUNTED = tuple(
    (kind, ROW_COLUMNS.index(kind))
    for kind in ("action", "workspace", "target_type", "stream", "outcome", "verb", "actor_type", "actor_ref")
)


def _terms(rows: Sequence[Row]) -> dict[tuple[str, str], int]:
    """Count the events of each dictionary term, by (kind, value); a ref's value is its text."""
    terms: dict[tuple[str, str], int] = {}
    for kind, at in _COUNTED:
        counts: dict[Any, int] = {}  # eight Counters cost a group of one more than sealing it
        for row in rows:
            value = row[at]
            counts[value] = counts.get(value, 0) + 1
        for value, events in counts.items():
            terms[kind, str(value)] = events
    return terms


def _hours(entries: Sequence[Entry], received_at: datetime) -> dict[tuple[datetime, str], int]:
    """Count the events of each hour they claim and each outcome."""
    # By the text's first 13 characters, `2026-11-21T12`: a tenth of the cost of cutting datetimes.
    counted = Counter([(entry.prepared.occurred_text[:13], entry.prepared.outcome) for entry in entries])
    hours: dict[tuple[datetime, str], int] = {}
    for (text, outcome), events in counted.items():
        at = datetime.fromisoformat(f"{text}:00:00+00:00") if text else received_at
        key = (at.replace(minute=0, second=0, microsecond=0), outcome)
        hours[key] = hours.get(key, 0) + events
    return hours


def _month(at: datetime) -> datetime:
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
