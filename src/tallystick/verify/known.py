"""What a verifier has from before: trusted keys, and older checkpoints and receipts of the same log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from tallystick.errors import AuditError, Refused, Tampered
from tallystick.merkle.checkpoint import Checkpoint, parse_checkpoint
from tallystick.merkle.note import parse_note
from tallystick.merkle.proof import verify_inclusion
from tallystick.merkle.tlog_proof import HEADER, TlogProof, parse_tlog_proof
from tallystick.verify.history import History, Milestone
from tallystick.verify.report import Report
from tallystick.verify.trust import Keys, Trust, open_signed


class Kept(Struct, frozen=True):
    """A text kept outside the log, unread: a signed checkpoint or a receipt, and what to call it."""

    label: str
    text: str


class Known(Struct, frozen=True):
    """A checkpoint that was kept; `receipt` is the proof it came in, if any.

    `signed` tells whether a trusted key signed it. Without that it is still what the caller kept, so a log
    that contradicts it is not the log it was.
    """

    label: str
    checkpoint: Checkpoint
    receipt: TlogProof | None
    signed: bool


def read_known(kept: Iterable[Kept], trusted: Trust, origin: str, report: Report) -> list[Known]:
    """Open each kept text with the trusted keys; what cannot be used is reported and left out."""
    found: list[Known] = []
    for one in kept:
        try:
            known = _open(one, trusted, origin)
        except Tampered as error:
            report.violate("known", one.label, f"this kept text is not what the log signed: {error}")
        except Refused as error:
            report.not_proven.append(f"{one.label} says nothing about this log: {error}")
        else:
            found.append(known)
            if not known.signed:
                _note_other_key(known, trusted, report)
    return found


def _open(kept: Kept, trusted: Trust, origin: str) -> Known:
    if is_bare(kept.text):
        return Known(kept.label, _of_origin(parse_checkpoint(kept.text), origin), None, True)
    is_receipt = kept.text.startswith(HEADER)
    receipt = parse_tlog_proof(kept.text) if is_receipt else None
    note = receipt.checkpoint if receipt else kept.text
    try:
        return Known(kept.label, open_signed(note, trusted, origin=origin).checkpoint, receipt, True)
    except Refused as error:
        if error.rule != "unknown_key":
            raise
    return Known(kept.label, parse_checkpoint(parse_note(note).text), receipt, False)


def is_bare(text: str) -> bool:
    """Tell whether a kept text is the body of a checkpoint alone: the verifier's own word, from a policy."""
    return "\n\n" not in text


def _of_origin(checkpoint: Checkpoint, origin: str) -> Checkpoint:
    if checkpoint.origin != origin:
        raise Refused(f"it is of {checkpoint.origin[:200]!r}, not of {origin[:200]!r}", rule="origin")
    return checkpoint


def _note_other_key(known: Known, trusted: Trust, report: Report) -> None:
    if trusted.pinned:
        report.not_proven.append(f"{known.label}: that the log signed it; no pinned key did")
    else:
        report.violate(
            "other_key",
            known.label,
            "another key signed this log before: either the key was rotated (pin both keys), or what is verified "
            "here was signed by somebody else",
        )


def milestones(known: Iterable[Known]) -> list[Milestone]:
    """Return the root each known checkpoint claims for its size."""
    return [Milestone(one.checkpoint.size, one.checkpoint.root, one.label) for one in known]


def positions(known: Iterable[Known]) -> list[int]:
    """Return the positions whose leaf hashes are needed to compare the receipts."""
    return [one.receipt.index for one in known if one.receipt]


def compare(known: Sequence[Known], history: History, size: int, report: Report) -> None:
    """Report, for each known checkpoint and receipt, whether the log of `size` leaves continues it."""
    agreed = {(one.size, one.root) for one in history.agreed}
    contradicted = {(one.size, one.root) for one in history.contradicted}
    for one in known:
        claim = (one.checkpoint.size, one.checkpoint.root)
        if one.checkpoint.size > size:
            report.violate(
                "rollback",
                one.label,
                f"the log once had {one.checkpoint.size} events and ends at {size} here: either this was made "
                "before that checkpoint, or events were cut off",
            )
        elif claim in contradicted:
            report.violate(
                "rewritten",
                one.label,
                f"the first {one.checkpoint.size} events are not those it was signed for",
            )
        elif claim in agreed:
            report.continued.append(one.label)
            report.proven.append(
                f"{one.label}: its {one.checkpoint.size} events are the beginning of this log"
            )
        else:
            _compare_leaf(one, history, report)


def _compare_leaf(one: Known, history: History, report: Report) -> None:
    """Fall back on the receipt's own leaf where the events at hand do not lead to its checkpoint's size."""
    size = one.checkpoint.size
    leaf_hash = history.seen.get(one.receipt.index) if one.receipt else None
    if one.receipt is None or leaf_hash is None:
        report.not_proven.append(
            f"{one.label}: that this log continues its {size} events; the events here do not reach from the "
            "beginning to that size. Verify a full export, or ask for a consistency proof"
        )
        return
    try:
        verify_inclusion(one.receipt.index, size, leaf_hash, one.receipt.hashes, one.checkpoint.root)
    except AuditError:
        report.violate("rewritten", one.label, f"event {one.receipt.index} is not the one it was given for")
    else:
        report.proven.append(f"{one.label}: event {one.receipt.index} is the one it was given for")
        report.not_proven.append(f"{one.label}: the other events before {size}, which are not all here")


def note_trust(trusted: Trust, report: Report, known: Sequence[Known]) -> None:
    """Say what no check of this subject alone can show."""
    if not trusted.pinned:
        report.not_proven.append(
            "that the signing key is the log's own: no key was pinned, the one named here was trusted at first use"
        )
    if not known:
        report.not_proven.append(
            "that nothing was rolled back or rewritten with the log's own key: no checkpoint or receipt kept "
            "outside was given (--known)"
        )


__all__ = ["Kept", "Keys", "Known", "compare", "milestones", "note_trust", "positions", "read_known"]
