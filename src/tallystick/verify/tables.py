"""What a database holds beside the rows of one log, and whether it agrees with them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct, field

from tallystick.errors import Tampered
from tallystick.event.leaf import ERASED, read_leaf, read_opening
from tallystick.verify.positions import Positions
from tallystick.verify.report import Report, quoted
from tallystick.verify.stored import StoredRow
from tallystick.verify.tree import EPOCH

COUNTED: Final = ("action", "workspace", "target_type", "stream", "outcome", "verb", "actor_type")
IDS_IN_BUCKET: Final = 4096
SEEN_MAX: Final = 200_000
DIFFERENCES_MAX: Final = 5
_MICROSECOND: Final = timedelta(microseconds=1)


class LogTables(Struct, kw_only=True):
    """The other tables' rows of one log.

    `checkpoints` are (size, note); `months` first positions by first instant; `terms` counts by (kind, value);
    `hours` counts by (hour, outcome); `subjects` (type, id) by ref; `labels` holds `label_key` of each label. `removed`
    are the positions that are said to be removed, `tile_hashes` the full tiles of level 0 that hold their hashes.
    """

    size: int = 0
    frontier: bytes = b""
    last_received_at: datetime = EPOCH
    note: str = ""
    checkpoints: list[tuple[int, str]] = field(default_factory=list)
    months: dict[datetime, int] = field(default_factory=dict)
    terms: dict[tuple[str, str], int] = field(default_factory=dict)
    hours: dict[tuple[datetime, str], int] = field(default_factory=dict)
    subjects: dict[UUID, tuple[str, str]] = field(default_factory=dict)
    labels: set[int] = field(default_factory=set)
    removed: Positions = field(default_factory=Positions)
    tile_hashes: dict[int, bytes] = field(default_factory=dict)


def label_key(ref: UUID, label: str) -> int:
    """Return what stands for one label of one subject: names are many, and are not kept."""
    return hash((ref, label))


class Ids:
    """Compares the ids of rows with the table of ids in constant memory.

    Keyed sums of the entries of 4,096 positions each: equal sums mean equal entries, since nobody who edited the
    database knew `secret`, which is random and of this one run.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._sums: Counter[int] = Counter()

    def expect(self, id: UUID, position: int, received_at: datetime) -> None:
        """Note an entry that must be there."""
        self._sums[position // IDS_IN_BUCKET] += self._number(id, position, received_at)

    def found(self, id: UUID, position: int, received_at: datetime) -> None:
        """Note an entry that is there."""
        self._sums[position // IDS_IN_BUCKET] -= self._number(id, position, received_at)

    def differences(self) -> list[range]:
        """Return the positions within which something differs."""
        return [
            range(bucket * IDS_IN_BUCKET, (bucket + 1) * IDS_IN_BUCKET)
            for bucket, total in sorted(self._sums.items())
            if total
        ]

    def _number(self, id: UUID, position: int, received_at: datetime) -> int:
        entry = b"%b%d %d" % (id.bytes, position, (received_at - EPOCH) // _MICROSECOND)
        return int.from_bytes(hashlib.blake2b(entry, key=self._secret, digest_size=16).digest(), "big")


class Counts:
    """What the dictionaries and the directory must hold for the rows seen."""

    def __init__(self, tables: LogTables, report: Report) -> None:
        self._tables, self._report = tables, report
        self._terms: Counter[tuple[str, str]] = Counter()
        self._hours: Counter[tuple[datetime, str]] = Counter()
        self._seen: set[tuple[Any, ...]] = set()

    def add(self, row: StoredRow) -> None:
        """Count one row, and look up whom it names."""
        for kind in COUNTED:
            self._terms[kind, getattr(row, kind)] += 1
        self._terms["actor_ref", str(row.actor_ref)] += 1
        hour = row.occurred_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        self._hours[hour, row.outcome] += 1
        self._look_up(row)

    def finish(self, months: Mapping[datetime, int]) -> None:
        """Compare the counts."""
        for name, stored, expected in (
            ("terms", self._tables.terms, self._terms),
            ("event_counts", self._tables.hours, self._hours),
            ("log_months", self._months_left(), months),
        ):
            if stored != dict(expected):
                self._differ(name, stored, expected)

    def _months_left(self) -> dict[datetime, int]:
        """Return where months begin, from the first event that is left of each; months of which nothing is left are out."""
        removed, found = self._tables.removed, dict[datetime, int]()
        begins = sorted(self._tables.months.items())
        ends = [*(first for _, first in begins[1:]), self._tables.size]
        for (month, first), end in zip(begins, ends, strict=False):
            left = Positions([(first, end)]) - removed if removed else Positions([(first, end)])
            if left or first >= end:
                found[month] = left.ranges[0][0] if left else first
        return found

    def _differ(self, table: str, stored: Mapping[Any, int], expected: Mapping[Any, int]) -> None:
        wrong = [key for key in {**stored, **expected} if stored.get(key) != expected.get(key)]
        shown = ", ".join(quoted(key) for key in wrong[:DIFFERENCES_MAX])
        self._report.violate(
            "dictionary", table, f"{len(wrong)} entries are not what the events say, for example {shown}"
        )

    def _look_up(self, row: StoredRow) -> None:
        try:
            people = people_of(row)
        except Tampered:
            return  # the row's own check says what is wrong with it
        for person in people:
            if person not in self._seen:
                if len(self._seen) >= SEEN_MAX:
                    self._seen.clear()
                self._seen.add(person)
                self._check_person(row.position, *person)

    def _check_person(
        self, position: int, ref: UUID, kind: str, id: str, name: str | None, email: str | None
    ) -> None:
        where = f"position {position}"
        if self._tables.subjects.get(ref) != (kind, id):
            self._report.violate("directory", where, "the subject directory does not say who its actor is")
        labels = (label_key(ref, text.lower()) for text in (id, name, email) if text)
        if not self._tables.labels.issuperset(labels):
            self._report.violate(
                "directory", where, "its actor cannot be found by the id, name or e-mail it had"
            )


Person = tuple[UUID, str, str, str | None, str | None]


def people_of(row: StoredRow) -> list[Person]:
    """Return ref, type, id, name and e-mail of the actor and of those acted for, without those who were erased."""
    leaf, values = read_leaf(row.leaf), read_opening(row.opening)
    erased = values.get(ERASED, {})
    actor = leaf.actor
    people: list[Person] = []
    try:
        if "actor/id" not in erased:
            people.append(
                (
                    UUID(actor.ref),
                    actor.type,
                    values.get("actor/id", ""),
                    values.get("actor/name"),
                    values.get("actor/email"),
                )
            )
        for at, one in enumerate(actor.on_behalf_of):
            if f"actor/on_behalf_of/{at}" in erased:
                continue
            who = msgspec.convert(values.get(f"actor/on_behalf_of/{at}", {}), dict[str, str])
            people.append((UUID(one.ref), one.type, who.get("id", ""), who.get("name"), who.get("email")))
    except (ValueError, TypeError) as error:
        raise Tampered(f"who acted cannot be read: {error}", rule="opening") from None
    return people
