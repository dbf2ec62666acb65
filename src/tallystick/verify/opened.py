"""The beginning of an export: its header read, its checkpoint and whatever was kept outside opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tallystick.errors import AuditError, Refused
from tallystick.merkle.checkpoint import Checkpoint
from tallystick.verify.history import History
from tallystick.verify.known import Kept, Known, milestones, positions, read_known
from tallystick.verify.layout import Header, read_hashes, read_header
from tallystick.verify.report import Report
from tallystick.verify.trust import Keys, Trust, check_named, open_signed, trust


@dataclass(frozen=True, slots=True)
class Opened:
    """All that is known before the first event: `checkpoint` is None when nobody trusted signed it."""

    header: Header
    trusted: Trust
    checkpoint: Checkpoint | None
    known: list[Known]
    history: History
    right: tuple[bytes, ...]


def open_export(line: bytes, kept: Sequence[Kept], keys: Keys, report: Report) -> Opened:
    """Read the first line of an export, newline included, and note in `report` what is wrong with it.

    Raises Refused when this is no export, or its header is so damaged that nothing after it can be checked.
    """
    header = read_header(line)
    trusted = trust(keys, header.keys)
    known = read_known(kept, trusted, header.origin, report)
    try:
        history = History(
            header.start, read_hashes(header.left), milestones=milestones(known), wanted=positions(known)
        )
    except ValueError as error:
        raise Refused(f"the proof in the header does not fit its positions: {error}", rule="header") from None
    if header.origin.rpartition("/o/")[2] != header.organization:
        report.violate("header", "line 1", "the organization it names is not the one whose log this is")
    checkpoint = _checkpoint(header, trusted, report)
    report.facts |= {
        "origin": header.origin,
        "filter": header.filter,
        "first position": header.start,
        "end position": header.end,
        "log size": header.size,
        "created at": header.created_at,
    }
    return Opened(header, trusted, checkpoint, known, history, read_hashes(header.right))


def _checkpoint(header: Header, trusted: Trust, report: Report) -> Checkpoint | None:
    try:
        checkpoint, signed_at, by = open_signed(header.checkpoint, trusted, origin=header.origin)
        check_named(header.checkpoint, header.keys, by)
    except AuditError as error:
        report.violate("checkpoint", "line 1", f"its checkpoint is not signed as it must be: {error}")
        return None
    if signed_at:
        report.facts["signed at"] = signed_at
    if checkpoint.size != header.size:
        report.violate("checkpoint", "line 1", "its checkpoint is of another size than the header says")
        return None
    return checkpoint
