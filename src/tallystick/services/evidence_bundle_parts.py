"""What stands in a bundle beside its export: the checkpoints of its range, and the catalogue of what was removed."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from tallystick.catalogue.sentence import name_of
from tallystick.errors import Tampered
from tallystick.event.leaf import read_leaf
from tallystick.event.moment import read_instant
from tallystick.event.render import render
from tallystick.event.unseal import withhold
from tallystick.formats.evidence_zip import Spool
from tallystick.query.model import LIMIT_MAX, Clause, Query
from tallystick.services.log import inclusion_proof
from tallystick.services.principal import Principal
from tallystick.services.read import Read
from tallystick.store import evidence_bundles as rows
from tallystick.store import export as stored
from tallystick.store.connect import Pool, transaction
from tallystick.verify.bundle_layout import CHECKPOINTS_MAX, DECISIONS, KeptLine, written
from tallystick.verify.layout import Header, record_line
from tallystick.verify.records import (
    SOURCE,
    STREAM,
    ErasedRecord,
    HoldRecord,
    PolicyRecord,
    PrunedRecord,
    Ranges,
    Record,
    ReleaseRecord,
    read_record,
)

AT_ONCE = 16


class Removal(Struct, frozen=True, kw_only=True):
    """A record of keeping in words: when, what, by whom, on what authority, and how many events it concerns."""

    position: int
    at: datetime
    what: str
    by: str
    authority: str
    events: int | None


class Kept(Struct, frozen=True):
    """The checkpoints of a range: notes, oldest first, and how many the log retains there."""

    notes: list[str]
    in_range: int

    def content(self) -> bytes:
        """Return `checkpoints.jsonl`."""
        return b"".join(written(KeptLine(checkpoint=note)) for note in self.notes)


async def checkpoints_of(pool: Pool, organization_id: UUID, header: Header) -> Kept:
    """Return the retained checkpoints of an export's range, and the newest one, which proves it."""
    notes, total = await rows.checkpoints_between(
        pool, organization_id, header.start, header.end, CHECKPOINTS_MAX - 1
    )
    if header.checkpoint not in notes:
        notes, total = [*notes, header.checkpoint], total + 1
    return Kept(notes, total)


async def spool_removals(
    pool: Pool, read: Read, principal: Principal, header: Header, spool: Spool, *, tells_all: bool
) -> list[Removal]:
    """Write the catalogue of what was kept, held and removed below the export's size, and return it in words.

    Unless it `tells_all` the records come without what people wrote in them, as an export would have it.
    """
    places = set(await stored.records_within(pool, principal.organization_id, 0, header.size, header.size))
    if tells_all:
        places |= await _decisions(read, principal, header.size)
    found: list[Removal] = []
    ordered = sorted(places)
    policies: dict[int, str] = {}
    for at in range(0, len(ordered), AT_ONCE):
        for row in await stored.rows_at(pool, principal.organization_id, ordered[at : at + AT_ONCE]):
            if row.leaf is None or row.opening is None or row.seed is None:
                raise Tampered(f"the record at position {row.position} of the log is missing", rule="hole")
            opening, seed = row.opening, row.seed
            if not tells_all:
                opening, seed = withhold(opening, seed, but=frozenset({"metadata"}))
            async with transaction(pool, reading=True, organization=principal.organization_id) as connection:
                proof = await inclusion_proof(
                    connection, principal.organization_id, row.position, header.size
                )
            spool.write(record_line(row.position, row.leaf, opening, seed, proof))
            found.append(_in_words(row.position, row.leaf, opening, policies))
    return found


async def _decisions(read: Read, principal: Principal, size: int) -> set[int]:
    """Return where the decisions of second people stand, all of them."""
    wanted = Query(
        only=(Clause("action", tuple(f"^{name}$" for name in sorted(DECISIONS))), Clause("stream", (STREAM,))),
        limit=LIMIT_MAX,
    )  # fmt: skip
    found: set[int] = set()
    while True:
        page = await read.search(principal, wanted)
        found |= {one["position"] for one in page.events if one["source"] == SOURCE}
        if page.next_cursor is None:
            return {position for position in found if position < size}
        wanted = replace(wanted, cursor=page.next_cursor)


def _in_words(position: int, leaf: bytes, opening: bytes, policies: dict[int, str]) -> Removal:
    event = render(leaf, opening, position, with_changes=False)
    recorded = read_record(position, read_leaf(leaf), opening)
    by = name_of(event["actor"])
    if recorded is None:
        what, authority, events = _decision(event), "a person of this organization", None
    else:
        what, authority, events = _record(recorded.record, event, policies)
        if isinstance(recorded.record, PolicyRecord):
            policies[position] = f"{by}, position {position}"
    if isinstance(getattr(recorded, "record", None), PolicyRecord) and event["actor"].get("id") == SOURCE:
        authority = "the default that holds until somebody sets another"
    return Removal(
        position=position, at=read_instant(event["received_at"])[0], what=what, by=by, authority=authority,
        events=events,
    )  # fmt: skip


def _record(record: Record, event: dict[str, Any], policies: dict[int, str]) -> tuple[str, str, int | None]:
    """Return what a record says, by what authority it stands, and how many events it concerns."""
    told = event.get("after") or event.get("before") or {}
    told = told if isinstance(told, dict) else {}
    match record:
        case PolicyRecord():
            kept = "for ever" if record.days is None else f"for {record.days} days"
            what = (
                "Retention rule ended" if record.ended else f"Retention rule: {_scope(told)} is kept {kept}"
            )
            return (
                f"{what}, from {record.effective_at[:16].replace('T', ' ')} UTC",
                "who may set retention",
                None,
            )
        case PrunedRecord():
            by = sorted({policies.get(part.policy, f"position {part.policy}") for part in record.parts})
            days = " or ".join(sorted({str(part.days) for part in record.parts}))
            return (
                f"Removed at the end of their retention of {days} days",
                f"retention rule set by {'; '.join(by)}",
                record.events,
            )
        case HoldRecord():
            reason = told.get("reason")
            what = f"Legal hold set: {reason}" if reason else "Legal hold set"
            return what, "who may set legal holds", record.events
        case ReleaseRecord():
            reason = told.get("reason")
            return f"Legal hold released{f': {reason}' if reason else ''}", "who may set legal holds", None
        case ErasedRecord():
            values = sum(_count(one.positions) for one in record.fields)
            whole = _count(record.removed)
            parts = [f"values of {values} events"] * bool(values) + [f"{whole} whole events"] * bool(whole)
            return (
                f"Erased: {' and '.join(parts) or 'nothing more'}",
                "who manages the organization",
                values + whole,
            )


def _scope(told: dict[str, Any]) -> str:
    for name in ("stream", "workspace"):
        if told.get(name):
            return f"{name} “{told[name]}”"
    return "everything without a rule of its own"


def _decision(event: dict[str, Any]) -> str:
    told = event.get("after") or {}
    act = str(told.get("act", "an act")).replace(".", ": ").replace("_", " ")
    verb = event["action"].partition(".")[2]
    whom = f", asked for by {told['requested_by']}" if told.get("requested_by") else ""
    return f"A second person's approval {verb}: {act}{whom}"


def _count(ranges: Ranges) -> int:
    return sum(count for _, count in ranges)
