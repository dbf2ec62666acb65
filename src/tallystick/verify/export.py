"""Verifies a JSONL export, or a proof and the file beside it, full or filtered, in one pass and constant memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

import msgspec
from msgspec import UNSET

from tallystick.errors import AuditError, Refused, Tampered
from tallystick.event.leaf import ERASED, Leaf, read_leaf
from tallystick.event.unseal import unseal
from tallystick.merkle.note import decode_base64
from tallystick.merkle.proof import verify_inclusion
from tallystick.merkle.tree import leaf_hash as hash_of_leaf
from tallystick.verify.account import Account
from tallystick.verify.beside import Comparison, EventRow, OpenBeside
from tallystick.verify.known import Kept, Keys, compare, note_trust
from tallystick.verify.layout import (
    LINE_BYTES_MAX,
    RECORD_START,
    TRAILER_START,
    Line,
    Trailer,
    bare_line,
    leaf_of,
    read_bare,
    read_record_line,
    read_trailer,
)
from tallystick.verify.lines import whole_lines
from tallystick.verify.opened import Opened, open_export
from tallystick.verify.producers import ProducerNumbers
from tallystick.verify.quick import Block, Source, check_block
from tallystick.verify.records import is_record, read_record
from tallystick.verify.report import Report, quoted
from tallystick.verify.row import check_full_line

Progress = Callable[[int], None]
QuickCheck = Callable[[bytes], Block | None]
# Calls the check for every block, wherever, and yields the blocks in their order with what it returned.
Spread = Callable[[QuickCheck, Iterable[bytes]], Iterator[tuple[bytes, Block | None]]]

_read_line = msgspec.json.Decoder(Line).decode


def verify_export(
    chunks: Iterable[bytes],
    *,
    kept: Sequence[Kept] = (),
    keys: Keys = (),
    progress: Progress | None = None,
    spread: Spread | None = None,
    beside: OpenBeside | None = None,
    release: str = "",
) -> Report:
    """Verify the bytes of a JSONL export or of a proof, given in pieces of any size; 256 KiB are the quickest.

    `keys` are the log keys the caller trusts; without them the key named in the export is used and the report
    says so. `kept` are older checkpoints and receipts of the same log. `progress` is told after each piece how
    many bytes are done. `spread` may check blocks in other processes, see `Spread`. `beside` opens the file that a
    proof is of, None when it is not at hand; `release` is the one of Tallystick that compares it. Never raises for
    anything the files hold.
    """
    report = Report(subject="export")
    blocks = whole_lines(chunks, LINE_BYTES_MAX)
    try:
        first, newline, rest = next(blocks, b"").partition(b"\n")
        opened = open_export(first + newline, kept, keys, report)
    except (Refused, Tampered) as error:
        report.unchecked = f"this cannot be verified as a JSONL export of Tallystick: {error}"
        return report
    check = _ExportCheck(opened, report, first + newline, Comparison(opened.header, report, beside, release))
    done = len(first + newline)
    quick = partial(check_block, check.source)
    try:
        for block, found in (spread or one_by_one)(quick, _without_trailer(chain((rest,), blocks))):
            check.take(block, found)
            done += len(block)
            if progress:
                progress(done)
    except Refused as error:  # from whoever reads the pieces: the container they come in is broken
        report.unchecked = f"it could not be read to its end: {error}"
        return report
    check.finish()
    return report


def one_by_one(quick: QuickCheck, blocks: Iterable[bytes]) -> Iterator[tuple[bytes, Block | None]]:
    """Check block after block in this process."""
    return ((block, quick(block)) for block in blocks)


def _without_trailer(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Part the last line from the block it ends, so that what stands before it can take the quick road."""
    for block in blocks:
        cut = block.rfind(b"\n", 0, -1) + 1
        if cut and block.startswith(TRAILER_START, cut):
            yield block[:cut]
            yield block[cut:]
        elif block:
            yield block


class _ExportCheck:
    """Takes the lines after the header; what is wrong goes to the report, what is right is said at the end."""

    def __init__(self, opened: Opened, report: Report, first_line: bytes, comparison: Comparison) -> None:
        self._opened, self._report, self._comparison = opened, report, comparison
        self._header = opened.header
        self._origin, self._organization = opened.header.origin, opened.header.organization
        self.source = Source(
            self._origin, self._organization, bool(opened.header.filter), comparison.is_beside
        )
        self._header_sha256 = hashlib.sha256(first_line).hexdigest()
        self._trailer: Trailer | None = None
        self._line_number = 1
        self._position = opened.header.start
        self._events = self._bare = self._removed = 0
        self._last_record = -1
        self._account = Account(report, opened.trusted, opened.header.origin)
        self._numbers = ProducerNumbers()
        self._received_at = ""
        self._lost = False  # a leaf hash could not be had, so the root cannot come out right

    def take(self, block: bytes, quick: Block | None) -> None:
        """Take whole lines, and what the quick road made of them."""
        if (
            quick is None
            or self._trailer is not None
            or quick.start != self._position
            or (quick.events and quick.first_received_at < self._received_at)
        ):
            self._take_with_care(block)
            return
        self._opened.history.add(quick.leaf_hashes)
        self._line_number += quick.lines
        self._position = quick.end
        self._events += quick.events
        self._bare += quick.bare
        self._received_at = quick.last_received_at or self._received_at
        self._comparison.compare(quick.rows)
        self._numbers.take(quick.numbers)

    def _take_with_care(self, block: bytes) -> None:
        lines = block.split(b"\n")
        if cut_off := lines.pop():
            self._line_number += 1
            self._violate("truncated", "the file breaks off in the middle of a line")
            self._lost = self._lost or not cut_off.startswith(TRAILER_START)
        leaf_hashes: list[bytes] = []
        for raw in lines:
            self._line_number += 1
            if self._trailer is None:
                self._take_line(raw, leaf_hashes)
            else:
                self._violate("after_trailer", "something follows the last line")
        self._opened.history.add(leaf_hashes)

    def _take_line(self, raw: bytes, leaf_hashes: list[bytes]) -> None:
        try:
            line = _read_line(raw)
            if line.position != self._position:
                self._misplace(line.position)
            if line.leaf_hashes is not UNSET:
                leaf_hashes += self._hashes(raw, line)
                return
            leaf_hash, wrong = check_full_line(
                raw, line, self._organization, readable_beside=self._comparison.is_beside
            )
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            if raw.startswith(TRAILER_START):
                self._end(raw)
            elif raw.startswith(RECORD_START):
                self._take_record(raw)
            else:
                self._violate("line", f"it cannot be read: {error}")
                self._lost = True
        except (Refused, Tampered) as error:
            self._violate(error.rule, str(error))
            self._lost = True
        else:
            leaf: Any = line.leaf
            leaf_hashes.append(leaf_hash)
            if wrong is not None or leaf.origin != self._origin or leaf.received_at < self._received_at:
                self._complain(line, leaf, wrong)
            self._enter(line, leaf, wrong)
            if wrong is None and leaf.producer is not None:
                self._numbers.take([leaf.producer])
            if wrong is None and self._comparison.is_beside:
                opening = msgspec.json.encode(line.opening)
                self._comparison.compare([EventRow(line.position, leaf_of(raw), opening, leaf_hash)])
            self._received_at = leaf.received_at
            self._events += 1
            self._position += 1

    def _enter(self, line: Line, leaf: Leaf, wrong: Tampered | None) -> None:
        """Note what of an event was erased, and what it says of the log's own keeping."""
        opening: Any = line.opening
        if line.seed.__class__ is dict and opening is not UNSET:
            gone = {} if wrong is not None else msgspec.json.decode(opening.get(ERASED, b"{}"))
            self._account.erased(line.position, gone)
        if wrong is None and is_record(leaf.action, leaf.stream, leaf.source):
            try:
                recorded = read_record(line.position, leaf, msgspec.json.encode(opening))
            except Tampered as error:
                self._violate(error.rule, f"position {line.position}: {error}")
            else:
                if recorded is not None:
                    self._account.add(recorded)

    def _take_record(self, raw: bytes) -> None:
        """Take the line of a record that stands outside the range, or does not match the filter."""
        checkpoint = self._opened.checkpoint
        try:
            line = read_record_line(raw)
            if self._position != self._header.end or line.record <= self._last_record:
                raise Refused("records come last, in order, each once", rule="line")
            self._last_record = line.record
            seed, stored, opening = line.seed, bytes(line.leaf), bytes(line.opening)
            unseal(
                stored, opening, bytes.fromhex(seed) if isinstance(seed, str) else msgspec.json.encode(seed)
            )
            leaf = read_leaf(stored)
            if leaf.origin != self._origin:
                raise Tampered("it is of another log", rule="origin")
            if checkpoint is not None:
                hashes = [decode_base64(one) or b"" for one in line.proof]
                verify_inclusion(
                    line.record, self._header.size, hash_of_leaf(stored), hashes, checkpoint.root
                )
            recorded = read_record(line.record, leaf, opening)
        except (AuditError, ValueError) as error:
            rule = error.rule if isinstance(error, AuditError) else "record"
            self._violate(rule, f"a record does not hold what it says: {error}")
            return
        if recorded is not None and checkpoint is not None:
            self._account.add(recorded)

    def _complain(self, line: Line, leaf: Leaf, wrong: Tampered | None) -> None:
        where = f"position {line.position}"
        if wrong is not None:
            self._violate(wrong.rule, f"{where}: {wrong}")
        if leaf.origin != self._origin:
            self._violate("origin", f"{where}: its event is of another log")
        if leaf.received_at < self._received_at:
            self._violate("back_dated", f"{where}: received before the event in front of it")

    def _hashes(self, raw: bytes, line: Line) -> tuple[bytes, ...]:
        hashes = read_bare(line)
        removed = line.removed is True
        if bare_line(line.position, hashes, removed=removed) != raw + b"\n":
            self._violate("line", "it is not spelled as Tallystick spells it")
        if removed:
            self._account.removed(line.position, len(hashes))
            self._removed += len(hashes)
        elif not self._header.filter:
            self._violate(
                "hole",
                f"position {line.position}: {len(hashes)} events are missing and no record says they were removed",
            )
        self._bare += len(hashes)
        self._position += len(hashes)
        return hashes

    def _misplace(self, position: int) -> None:
        self._violate("position", f"position {position} stands where {self._position} must be")
        self._position = position

    def _end(self, raw: bytes) -> None:
        try:
            trailer = self._trailer = read_trailer(raw + b"\n")
        except Refused as error:
            self._violate("trailer", str(error))
            return
        if (trailer.events, trailer.bare) != (self._events, self._bare):
            self._violate(
                "trailer",
                f"it counts {trailer.events} events and {trailer.bare} bare hashes, there are {self._events} and {self._bare}",
            )
        if trailer.header_sha256 != self._header_sha256:
            self._violate("trailer", "the SHA-256 it names is not that of the first line")

    def _violate(self, kind: str, message: str) -> None:
        self._report.violate(kind, f"line {self._line_number}", message)

    def finish(self) -> None:
        """Close the tree and say what is proven and what is not."""
        report, header = self._report, self._header
        self._comparison.finish()
        if self._trailer is None:
            report.violate(
                "truncated", "the end", "the last line is missing: the file was cut off or never finished"
            )
        if self._position != header.end:
            report.violate(
                "truncated", "the end", f"it ends at position {self._position}, not at {header.end}"
            )
        elif not self._lost:
            self._settle()
            self._close()
        report.facts |= {"events": self._events, "bare hashes": self._bare}
        note_trust(self._opened.trusted, report, self._opened.known)
        if unmatched := self._bare - self._removed:
            report.not_proven.append(
                f"that none of the {unmatched} events here only by their hashes matches the filter {quoted(header.filter)}"
            )
        if not report.violations:
            whole = not header.filter and not self._removed
            self._numbers.tell(report, from_the_beginning=not header.start, whole=whole)
        if header.start or header.end < header.size:
            report.not_proven.append(
                f"anything about the events before {header.start} and from {header.end} on but that they exist"
            )

    def _settle(self) -> None:
        header = self._header
        is_whole = not header.filter
        self._account.settle(
            header.start,
            header.end,
            whole=is_whole,
            complete=is_whole and (header.start, header.end) == (0, header.size),
        )

    def _close(self) -> None:
        report, header, history = self._report, self._header, self._opened.history
        checkpoint = self._opened.checkpoint
        try:
            root = history.close(self._opened.right, header.size)
        except Tampered as error:
            report.violate("tree", "line 1", str(error))
            return
        if checkpoint is not None and root != checkpoint.root:
            report.violate("tree", "the whole", "these events do not lead to the root that the log signed")
        compare(self._opened.known, history, header.size, report)
        if not report.violations:
            report.proven += [
                f"{self._events} events in full: unchanged{self._comparison.proven}",
                f"positions {header.start} to {header.end}: complete and in order under the checkpoint of {header.size} events",
            ]
