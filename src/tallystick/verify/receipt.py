"""Verifies one receipt: that an event is at its position in the log whose checkpoint the receipt carries."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from tallystick.errors import AuditError, Refused, Tampered
from tallystick.event.leaf import read_leaf
from tallystick.event.projection import organization_of
from tallystick.merkle.checkpoint import Checkpoint, parse_checkpoint
from tallystick.merkle.note import parse_note
from tallystick.merkle.proof import verify_inclusion
from tallystick.merkle.tlog_proof import parse_tlog_proof
from tallystick.merkle.tree import leaf_hash
from tallystick.verify.known import Kept, note_trust, read_known
from tallystick.verify.layout import Line
from tallystick.verify.report import Report
from tallystick.verify.row import check_full_line
from tallystick.verify.trust import Keys, Trust, open_signed, trust

_read_line = msgspec.json.Decoder(Line).decode


def verify_receipt(text: str, *, event: bytes = b"", kept: Sequence[Kept] = (), keys: Keys = ()) -> Report:
    """Verify a receipt (`tlog-proof@v1`) for `event`: its line of an export, or the bytes of its leaf.

    Without the event only the checkpoint inside can be checked; without `keys` not even its signature, since
    a receipt names no key. `kept` are other checkpoints and receipts of the same log. Never raises.
    """
    report = Report(subject="receipt")
    try:
        receipt = parse_tlog_proof(text)
        checkpoint = parse_checkpoint(parse_note(receipt.checkpoint).text)
    except Refused as error:
        report.unchecked = f"this is not a receipt: {error}"
        return report
    report.facts |= {"origin": checkpoint.origin, "position": receipt.index, "log size": checkpoint.size}
    trusted = trust(keys)
    _check_signature(receipt.checkpoint, trusted, report)
    if event:
        _check_inclusion(event, receipt.index, receipt.hashes, checkpoint, report)
    else:
        report.not_proven.append("which event it is for: the event itself was not given")
    _compare(checkpoint, trusted, kept, report)
    return report


def _check_signature(note: str, trusted: Trust, report: Report) -> None:
    if not trusted.logs:
        report.unchecked = "a receipt names no key: give the log's verifier key to check who signed it"
        return
    try:
        checkpoint, signed_at, _ = open_signed(note, trusted)
    except AuditError as error:
        report.violate("checkpoint", "the checkpoint", f"it is not signed as it must be: {error}")
    else:
        report.proven.append(
            f"its checkpoint of {checkpoint.size} events is signed by the log {checkpoint.origin}"
        )
        if signed_at:
            report.facts["signed at"] = signed_at


def _check_inclusion(
    event: bytes, index: int, hashes: Sequence[bytes], checkpoint: Checkpoint, report: Report
) -> None:
    try:
        hashed = _hash_of(event, index, checkpoint.origin)
        verify_inclusion(index, checkpoint.size, hashed, hashes, checkpoint.root)
    except AuditError as error:
        report.violate(error.rule, f"position {index}", str(error))
    else:
        report.proven.append(
            f"the event is at position {index} of the log of {checkpoint.size} events, unchanged"
        )


def _hash_of(event: bytes, index: int, origin: str) -> bytes:
    """Return the leaf hash of an export's line, after checking the line, or of a bare leaf."""
    raw = event.rstrip(b"\n")
    try:
        line = _read_line(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        read_leaf(raw)
        return leaf_hash(raw)
    hashed, wrong = check_full_line(raw, line, organization_of(origin))
    if wrong is not None:
        raise wrong
    if line.position != index:
        raise Tampered(f"the line is of position {line.position}, the receipt of {index}", rule="position")
    if line.leaf is UNSET or line.leaf.origin != origin:
        raise Tampered("the line is of another log than the receipt", rule="origin")
    return hashed


def _compare(checkpoint: Checkpoint, trusted: Trust, kept: Sequence[Kept], report: Report) -> None:
    known = read_known(kept, trusted, checkpoint.origin, report)
    for one in known:
        if one.checkpoint.size != checkpoint.size:
            report.not_proven.append(
                f"{one.label}: that both are of one history; sizes differ and no events are here"
            )
        elif one.checkpoint.root != checkpoint.root:
            report.violate(
                "forked", one.label, f"two different histories of {checkpoint.size} events were signed"
            )
        else:
            report.continued.append(one.label)
            report.proven.append(f"{one.label}: the same history of {checkpoint.size} events")
    note_trust(trusted, report, known)
