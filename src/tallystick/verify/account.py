"""The account a log keeps of itself: is every hole and every erased value there by a record that allows it?

Rows, holes and records come in any order; `settle` compares them at the end. A record counts only for what stands before
it in the log, under the policies and holds that stood there before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, assert_never

from tallystick.errors import AuditError
from tallystick.event.moment import read_instant
from tallystick.verify.positions import Positions, Range, union
from tallystick.verify.records import (
    DEFAULT_DAYS,
    DEFAULT_RULE,
    NOTICE,
    ErasedRecord,
    HoldRecord,
    PolicyRecord,
    PrunedPart,
    PrunedRecord,
    Recorded,
    ReleaseRecord,
)
from tallystick.verify.report import Report
from tallystick.verify.trust import Trust, open_signed

SHOWN_MAX: Final = 20


class Account:
    """Collects what is gone from one log and what its records say of that."""

    def __init__(self, report: Report, trusted: Trust, origin: str) -> None:
        self._report, self._trusted, self._origin = report, trusted, origin
        self._records: dict[int, Recorded] = {}
        self._gone: list[Range] = []
        self._erased: dict[tuple[str, ...], list[Range]] = {}

    def add(self, recorded: Recorded) -> None:
        """Take a record; the same one may come twice."""
        self._records[recorded.position] = recorded

    def removed(self, first: int, count: int) -> None:
        """Note events that are there only by their hashes because they were removed."""
        _extend(self._gone, first, first + count)

    def erased(self, position: int, paths: Iterable[str]) -> None:
        """Note an event that lacks the values at `paths`."""
        _extend(self._erased.setdefault(tuple(sorted(paths)), []), position, position + 1)

    def settle(self, start: int, end: int, *, whole: bool, complete: bool) -> None:
        """Compare it all, for positions [start, end).

        `whole` tells that every event there is at hand in full, `complete` that these are all there are.
        """
        gone = Positions(self._gone)
        policies = _Policies()
        holds = _Holds()
        rows: list[Positions] = []
        fields: dict[str, list[Positions]] = {}
        for recorded in sorted(self._records.values(), key=lambda one: one.position):
            record = recorded.record
            match record:
                case PolicyRecord():
                    self._check_notice(recorded, record, policies)
                    policies.add(recorded, record)
                case HoldRecord():
                    holds.set(recorded, record)
                case ReleaseRecord():
                    holds.release(record.hold)
                case PrunedRecord():
                    rows.append(self._pruned(recorded, record, policies, holds))
                case ErasedRecord():
                    removed, lost = self._erasure(recorded, record, holds)
                    rows.append(removed)
                    for path, positions in lost.items():
                        fields.setdefault(path, []).append(positions)
                case _:
                    assert_never(record)
        covered = union(rows)
        self._compare_rows(gone, covered, start, end, whole=whole)
        self._compare_fields(
            {path: union(found) for path, found in fields.items()}, gone, start, end, whole=whole
        )
        self._conclude(gone, holds, complete=complete)

    def _violate(self, kind: str, position: int, message: str) -> None:
        self._report.violate(kind, f"position {position}", message)

    def _check_notice(self, recorded: Recorded, record: PolicyRecord, policies: _Policies) -> None:
        at = recorded.received_at
        new = policies.default_days(at) if record.ended else record.days
        if _is_shorter(new, policies.days(record.rule, at)) and _moment(record.effective_at) - at < NOTICE:
            self._violate(
                "notice",
                recorded.position,
                f"it shortens a retention with less than {NOTICE.days} days' notice",
            )

    def _pruned(
        self, recorded: Recorded, record: PrunedRecord, policies: _Policies, holds: _Holds
    ) -> Positions:
        allowed: list[Positions] = []
        for part in record.parts:
            positions = self._positions(recorded, part.positions)
            self._check_part(recorded, part, positions, policies)
            self._check_holds(recorded, positions, holds)
            allowed.append(positions)
        found = union(allowed)
        if len(found) != record.events or sum(map(len, allowed)) != record.events:
            self._violate(
                "record", recorded.position, "it does not count the events that it says were removed"
            )
        return found

    def _check_part(
        self, recorded: Recorded, part: PrunedPart, positions: Positions, policies: _Policies
    ) -> None:
        wrong = policies.objection(recorded, part)
        before = _moment(part.before)
        if wrong is None and before > recorded.received_at - timedelta(days=part.days):
            wrong = f"it removed events younger than the {part.days} days that they had to stay"
        if wrong is None and self._trusted.logs:
            wrong = self._too_young(part, positions, before)
        if wrong is not None:
            self._violate("retention", recorded.position, wrong)

    def _too_young(self, part: PrunedPart, positions: Positions, before: datetime) -> str | None:
        """Return why the checkpoint in a record does not prove its events to be as old as it says, None if it does."""
        try:
            signed = open_signed(part.checkpoint, self._trusted, origin=self._origin)
        except AuditError as error:
            return f"nothing proves how old the events were that it removed: {error}"
        if signed.checkpoint.size < positions.end:
            return "it removed events younger than the checkpoint that is to prove their age"
        if not signed.at:
            self._say_once("how old removed events were: no key of the log's clock was given")
        elif _moment(signed.at) > before:
            return "the checkpoint that is to prove the age of what it removed is younger than that"
        return None

    def _erasure(
        self, recorded: Recorded, record: ErasedRecord, holds: _Holds
    ) -> tuple[Positions, dict[str, Positions]]:
        removed = self._positions(recorded, record.removed)
        self._check_holds(recorded, removed, holds)
        fields: dict[str, Positions] = {}
        for one in record.fields:
            positions = self._positions(recorded, one.positions)
            self._check_holds(recorded, positions, holds)
            for path in one.paths:
                fields[path] = fields.get(path, Positions()) | positions
        return removed, fields

    def _positions(self, recorded: Recorded, written: Sequence[Sequence[int]]) -> Positions:
        """Return the positions a record names, none when they are not as they must be."""
        try:
            positions = Positions.read(written)
        except ValueError as error:
            self._violate("record", recorded.position, str(error))
            return Positions()
        if positions.end > recorded.position:
            self._violate("record", recorded.position, "it speaks of events that come after it")
        return positions.within(0, recorded.position)

    def _check_holds(self, recorded: Recorded, positions: Positions, holds: _Holds) -> None:
        for hold, held in holds.in_force.items():
            if both := held & positions:
                self._violate(
                    "held",
                    recorded.position,
                    f"{len(both)} events were taken that the legal hold {hold} was for, such as {both.ranges[0][0]}",
                )

    def _compare_rows(
        self, gone: Positions, covered: Positions, start: int, end: int, *, whole: bool
    ) -> None:
        for first, after in (gone - covered).ranges[:SHOWN_MAX]:
            self._violate("hole", first, f"{after - first} events are missing and no record allows it")
        if not whole:
            return
        for first, after in (covered.within(start, end) - gone).ranges[:SHOWN_MAX]:
            self._violate(
                "not_removed", first, f"{after - first} events are here that a record says are gone"
            )

    def _compare_fields(
        self, fields: dict[str, Positions], gone: Positions, start: int, end: int, *, whole: bool
    ) -> None:
        seen: dict[str, list[Positions]] = {}
        for paths, ranges in self._erased.items():
            for path in paths:
                seen.setdefault(path, []).append(Positions(ranges))
        found = {path: union(sets) for path, sets in seen.items()}
        for path in sorted({*found, *fields}):
            lost, told = found.get(path, Positions()), fields.get(path, Positions())
            for first, after in (lost - told).ranges[:SHOWN_MAX]:
                self._violate("erased", first, f"{after - first} events lack a value and no record says why")
            if whole:
                for first, after in (told.within(start, end) - gone - lost).ranges[:SHOWN_MAX]:
                    self._violate(
                        "not_erased", first, f"{after - first} events have a value that a record says is gone"
                    )

    def _conclude(self, gone: Positions, holds: _Holds, *, complete: bool) -> None:
        report = self._report
        erased = union(Positions(ranges) for ranges in self._erased.values())
        if gone:
            report.facts["removed"] = len(gone)
        if erased:
            report.facts["erased"] = len(erased)
        if not gone and not erased:
            return
        rules = {
            part.rule
            for one in self._records.values()
            if isinstance(one.record, PrunedRecord)
            for part in one.record.parts
        }
        if rules - {DEFAULT_RULE}:
            self._say_once(
                "that removed events were of the stream or workspace whose rule they were removed by"
            )
        if holds.any:
            self._say_once(
                "that nothing was removed or erased which a hold was for and came after it was set"
            )
        if holds.unlisted:
            self._say_once("that nothing was taken which a hold was for that covers too many events to list")
        if not complete:
            self._say_once(
                "that no other policy or hold stood against it: only a whole log shows all of them"
            )
        if not report.violations:
            report.proven.append(
                f"{len(gone)} events removed and {len(erased)} erased in part: each as a record in the log allows"
            )

    def _say_once(self, line: str) -> None:
        if line not in self._report.not_proven:
            self._report.not_proven.append(line)


class _Policies:
    """The versions of each rule that were recorded so far, in their order."""

    def __init__(self) -> None:
        self._versions: dict[str, list[tuple[Recorded, PolicyRecord]]] = {}

    def add(self, recorded: Recorded, record: PolicyRecord) -> None:
        self._versions.setdefault(record.rule, []).append((recorded, record))

    def _in_force(self, rule: str, at: datetime) -> tuple[Recorded, PolicyRecord] | None:
        found = None
        for recorded, record in self._versions.get(rule, []):
            if _moment(record.effective_at) <= at:
                found = (recorded, record)
        return found if found is not None and not found[1].ended else None

    def default_days(self, at: datetime) -> int | None:
        found = self._in_force(DEFAULT_RULE, at)
        return DEFAULT_DAYS if found is None else found[1].days

    def days(self, rule: str, at: datetime) -> int | None:
        found = self._in_force(rule, at)
        return self.default_days(at) if found is None else found[1].days

    def objection(self, recorded: Recorded, part: PrunedPart) -> str | None:
        """Return why a removal is not what the policies before it allow, None when it is."""
        found = self._in_force(part.rule, recorded.received_at)
        if found is None or found[0].position != part.policy:
            return "no policy in force allowed what it removed"
        if found[1].days is None or found[1].days != part.days:
            return "the policy it names keeps events for another time"
        return None


class _Holds:
    """What each hold in force was for when it was set."""

    def __init__(self) -> None:
        self.in_force: dict[str, Positions] = {}
        self.any = False
        self.unlisted = False

    def set(self, recorded: Recorded, record: HoldRecord) -> None:
        self.any = True
        self.unlisted = self.unlisted or record.positions is None
        ranges = ((first, first + count) for first, count in record.positions or ())
        self.in_force[record.hold] = Positions(ranges).within(0, recorded.position)

    def release(self, hold: str) -> None:
        self.in_force.pop(hold, None)


def _is_shorter(new: int | None, old: int | None) -> bool:
    return new is not None and (old is None or new < old)


def _extend(ranges: list[Range], first: int, end: int) -> None:
    if ranges and ranges[-1][1] == first:
        ranges[-1] = (ranges[-1][0], end)
    else:
        ranges.append((first, end))


def _moment(text: str) -> datetime:
    """Return a time written by us; what cannot be read lies in the far future, so that it allows nothing."""
    try:
        return read_instant(text)[0]
    except AuditError:
        return _NEVER


_NEVER: Final = read_instant("9999-01-01T00:00:00Z")[0]
