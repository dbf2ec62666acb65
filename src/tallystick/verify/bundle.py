"""Verifies an evidence bundle, in one pass: its spelling, its export, its checkpoints, its catalogue and its seal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from tallystick.errors import AuditError, Refused, Tampered
from tallystick.event.leaf import read_leaf, read_values
from tallystick.event.unseal import unseal
from tallystick.merkle.checkpoint import Checkpoint
from tallystick.merkle.note import decode_base64
from tallystick.merkle.proof import verify_consistency, verify_inclusion
from tallystick.merkle.tlog_proof import parse_tlog_proof
from tallystick.merkle.tree import leaf_hash as hash_of_leaf
from tallystick.verify.bundle_layout import (
    CHECKPOINTS,
    CHECKPOINTS_MAX,
    CONTROLS,
    DECISIONS,
    EXPORT,
    ISSUED,
    MANIFEST,
    ORDER,
    REMOVED,
    SEAL,
    TEXT_BYTES_MAX,
    Controls,
    EntrySum,
    Issued,
    KeptLine,
    Manifest,
    read,
)
from tallystick.verify.bundle_zip import Entry, ZipReader
from tallystick.verify.export import verify_export
from tallystick.verify.instance import Means
from tallystick.verify.known import Kept
from tallystick.verify.layout import LINE_BYTES_MAX, Header, read_header, read_record_line
from tallystick.verify.lines import whole_lines
from tallystick.verify.receipt import verify_receipt
from tallystick.verify.records import RECORDS, SOURCE, STREAM
from tallystick.verify.report import Report
from tallystick.verify.trust import Keys, open_signed, trust

Open = Callable[[], Iterable[bytes]]
_IN_BUNDLE: Final = f"{CHECKPOINTS} line "  # labels the bundle's own checkpoints


def verify_bundle(open_file: Open, means: Means, *, progress: Callable[[int], None] | None = None) -> Report:
    """Verify an evidence bundle; `open_file` gives its bytes from the beginning. Never raises for what it holds.

    Proven is what the export inside proves, and that the log itself took in, at its issue, the SHA-256 of everything
    that stands beside the export. Memory does not grow with the bundle.
    """
    check = _BundleCheck(means)
    reader = ZipReader(open_file(), progress)
    try:
        check.run(reader)
    except Refused as error:
        if not reader.entries and error.rule != "truncated":
            check.report.unchecked = f"this cannot be verified as an evidence bundle: {error}"
        else:
            check.report.violate(error.rule, "the file", str(error))
    except AuditError as error:
        check.report.violate(error.rule, "the file", str(error))
    return check.report


class _BundleCheck:
    """Takes the entries in their order."""

    def __init__(self, means: Means) -> None:
        self.report = Report(subject="evidence bundle")
        self._means = means
        self._sums: list[EntrySum] = []
        self._notes: list[str] = []
        self._header: Header | None = None
        self._checkpoint: Checkpoint | None = None
        self._events = 0
        self._shown: set[int] = set()
        self._controls: Controls | None = None
        self._removals = 0
        self._manifest: Manifest
        self._manifest_sha256 = ""

    def run(self, reader: ZipReader) -> None:
        """Read the whole file; raises Refused where nothing after it can be told apart."""
        read_entry = {
            CHECKPOINTS: self._take_checkpoints, EXPORT: self._take_export, REMOVED: self._take_removed,
            CONTROLS: self._take_controls, MANIFEST: self._take_manifest, SEAL: self._take_seal,
        }  # fmt: skip
        left = list(ORDER)
        while left:
            allowed = _allowed(left)
            entry = reader.next(allowed)
            if entry is None:
                raise Refused(f"it ends before {' or '.join(allowed)}", rule="missing")
            left = left[[name for name, _ in left].index(entry.name) + 1 :]
            summed = hashlib.sha256()
            pieces = _summed(reader.pieces(entry), summed)
            take = read_entry.get(entry.name)
            if take is not None:
                take(entry, pieces)
            for _ in pieces:  # whatever nobody needed to look at is hashed all the same
                pass
            self._sums.append(EntrySum(name=entry.name, bytes=entry.size, sha256=summed.hexdigest()))
        reader.finish()
        self._conclude()

    def _whole(self, entry: Entry, pieces: Iterator[bytes]) -> bytes:
        if entry.size > TEXT_BYTES_MAX:
            raise Refused(f"{entry.name} is longer than it ever is", rule="size")
        return b"".join(pieces)

    def _violate(self, kind: str, where: str, message: str) -> None:
        self.report.violate(kind, where, message)

    def _take_controls(self, entry: Entry, pieces: Iterator[bytes]) -> None:
        self._controls = read(self._whole(entry, pieces), Controls, CONTROLS)
        self._shown = {position for one in self._controls.controls for position in one.events}

    def _take_checkpoints(self, entry: Entry, pieces: Iterator[bytes]) -> None:
        for line in self._whole(entry, pieces).splitlines(keepends=True):
            self._notes.append(read(line, KeptLine, CHECKPOINTS).checkpoint)
        if len(self._notes) > CHECKPOINTS_MAX:
            raise Refused(f"{CHECKPOINTS} holds over {CHECKPOINTS_MAX} checkpoints", rule="size")

    def _take_export(self, entry: Entry, pieces: Iterator[bytes]) -> None:
        missing = set(self._shown)
        found = verify_with_own(
            self._watched(pieces, missing), self._notes, kept=self._means.kept, keys=self._means.keys
        )
        found.subject, found.facts = self.report.subject, {**self.report.facts, **found.facts}
        found.violated[:0], found.violations = self.report.violated, found.violations + self.report.violations
        self.report = found
        self._events = int(found.facts.get("events", 0))
        for position in sorted(missing)[:10]:
            self._violate(
                "control", CONTROLS, f"position {position} is named as evidence and is not in the export"
            )

    def _watched(self, pieces: Iterator[bytes], missing: set[int]) -> Iterator[bytes]:
        """Hand the export on in whole lines: the first is kept, and which of the `missing` positions are in full."""
        blocks = whole_lines(pieces, LINE_BYTES_MAX)
        for block in blocks:
            if self._header is None:
                self._open(block.partition(b"\n")[0] + b"\n")
            if missing:
                missing -= _full_positions(block)
            yield block

    def _open(self, line: bytes) -> None:
        try:
            self._header = header = read_header(line)
            trusted = trust(self._means.keys, header.keys)
            self._checkpoint = open_signed(header.checkpoint, trusted, origin=header.origin).checkpoint
        except AuditError:
            pass  # what is wrong with it is the export's to say

    def _take_removed(self, entry: Entry, pieces: Iterator[bytes]) -> None:
        last = -1
        for block in whole_lines(pieces, LINE_BYTES_MAX):
            for raw in block.splitlines(keepends=True):
                self._removals += 1
                try:
                    last = self._check_removal(raw, last)
                except (AuditError, ValueError) as error:
                    rule = error.rule if isinstance(error, AuditError) else "record"
                    self._violate(rule, f"{REMOVED} line {self._removals}", str(error))

    def _check_removal(self, raw: bytes, last: int) -> int:
        """Check one line of the catalogue and return its position."""
        if not raw.endswith(b"\n"):
            raise Refused("the file breaks off in the middle of a line", rule="truncated")
        line = read_record_line(raw[:-1])
        header, checkpoint = self._header, self._checkpoint
        if header is None or checkpoint is None:
            return line.record
        if line.record <= last:
            raise Refused("the records are not in order, each once", rule="line")
        stored, seed = bytes(line.leaf), line.seed
        unseal(
            stored,
            bytes(line.opening),
            bytes.fromhex(seed) if isinstance(seed, str) else msgspec.json.encode(seed),
        )
        leaf = read_leaf(stored)
        known = leaf.action in RECORDS | DECISIONS and (leaf.stream, leaf.source) == (STREAM, SOURCE)
        if leaf.origin != header.origin or not known:
            raise Tampered("it is no record of this log about its own keeping", rule="record")
        hashes = [decode_base64(one) or b"" for one in line.proof]
        verify_inclusion(line.record, header.size, hash_of_leaf(stored), hashes, checkpoint.root)
        return line.record

    def _take_manifest(self, entry: Entry, pieces: Iterator[bytes]) -> None:
        raw = self._whole(entry, pieces)
        manifest, header = read(raw, Manifest, MANIFEST), self._header
        self._manifest, self._manifest_sha256 = manifest, hashlib.sha256(raw).hexdigest()
        if list(manifest.entries) != self._sums:
            wrong = {one.name for one in {*manifest.entries} ^ {*self._sums}} or {"their order"}
            self._violate(
                "manifest", MANIFEST, f"its SHA-256 does not fit: {', '.join(map(ascii, sorted(wrong)))}"
            )
        if header is None:
            return
        found, counted = manifest.found, manifest.checkpoints
        same = (
            (manifest.origin, header.origin), (manifest.organization, header.organization),
            (manifest.question.filter, header.filter), (manifest.keys, header.keys),
            ((found.start, found.end, found.size), (header.start, header.end, header.size)),
            (found.events, self._events), (counted.here, len(self._notes)), (manifest.removals, self._removals),
            (manifest.kind == "pack", self._controls is not None),
        )  # fmt: skip
        if any(said != is_so for said, is_so in same):
            self._violate("manifest", MANIFEST, "it does not say what the export and the other files say")
        if counted.in_range > counted.here:
            self.report.not_proven.append(
                f"that {counted.in_range - counted.here} further checkpoints of the range agree: of "
                f"{counted.in_range} the bundle holds {counted.here}, evenly spread"
            )

    def _take_seal(self, entry: Entry, pieces: Iterator[bytes]) -> None:
        """Check that the log took the manifest in: the event, its receipt, and that its log continues the export's."""
        issued, header = read(self._whole(entry, pieces), Issued, SEAL), self._header
        if header is None or self._checkpoint is None:
            return
        trusted = trust(self._means.keys, header.keys)
        line = bytes(issued.line)
        keys = (*trusted.logs, *trusted.clocks)
        found = verify_receipt(issued.receipt, event=line, keys=keys)  # type: ignore[arg-type] - trust() opens only keys of ours
        if found.violations or found.unchecked:
            told = found.unchecked or found.violated[0].message
            self._violate("seal", SEAL, f"the log does not have this event as it stands here: {told}")
            return
        try:
            self._check_seal(issued, line, header, self._checkpoint)
        except (AuditError, msgspec.MsgspecError, KeyError, ValueError) as error:
            self._violate("seal", SEAL, f"the log did not seal this bundle: {error}")

    def _check_seal(self, issued: Issued, line: bytes, header: Header, exported: Checkpoint) -> None:
        trusted = trust(self._means.keys, header.keys)
        receipt = parse_tlog_proof(issued.receipt)
        sealed, at, _ = open_signed(receipt.checkpoint, trusted, origin=header.origin)
        hashes = [decode_base64(one) or b"" for one in issued.consistency]
        verify_consistency(exported.size, sealed.size, hashes, exported.root, sealed.root)
        parts = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        leaf = read_leaf(bytes(parts["leaf"]))
        values = read_values(bytes(parts["opening"]))
        metadata = msgspec.json.decode(values["metadata"], type=dict)
        if (leaf.action, leaf.stream, leaf.source, leaf.outcome) != (ISSUED, STREAM, SOURCE, "success"):
            raise Tampered("its event is not one by which the server issues a bundle", rule="seal")
        if receipt.index < header.size:
            raise Tampered("its event is older than the export", rule="seal")
        if metadata.get("manifest_sha256") != self._manifest_sha256:
            raise Tampered("it is the seal of another manifest", rule="seal")
        asked_by = self._manifest.question.asked_by
        if msgspec.json.decode(values["actor/id"]) != asked_by.id:
            raise Tampered("somebody else asked for it than the manifest says", rule="seal")
        self.report.facts |= {"asked by": asked_by.name or asked_by.id, "issued at": at or leaf.received_at}

    def _conclude(self) -> None:
        report = self.report
        report.facts = {"bundle": self._manifest.bundle, **report.facts}
        if self._checkpoint is None or report.violations or report.unchecked:
            return
        report.proven.append(
            "question, report, catalogue and every other file: as they were when the log sealed this bundle, at "
            f"{report.facts['issued at']} for {report.facts['asked by']}"
        )
        if self._removals:
            report.proven.append(
                f"{self._removals} records of retention, holds, erasures and approvals: events of this log, unchanged"
            )
        if self._controls is not None:
            report.not_proven.append(
                "the results of the controls: the server computed them; the events they name are in the export"
            )
        report.not_proven.append(
            "that the printable report sums the export up well: it is the server's text, sealed with the bundle"
        )


def verify_with_own(
    chunks: Iterable[bytes], notes: Sequence[str], *, kept: Sequence[Kept] = (), keys: Keys = ()
) -> Report:
    """Verify an export beside `notes`, checkpoints of its range that were not kept outside: each must lie on its history.

    They show no rewrite by who holds the key, so the report says that nothing kept outside was given unless `kept` was.
    """
    own = [Kept(f"{_IN_BUNDLE}{at}", note) for at, note in enumerate(notes, 1)]
    report = verify_export(chunks, kept=[*kept, *own], keys=keys)
    agreed = [line for line in report.proven if line.startswith(_IN_BUNDLE)]
    report.proven = [line for line in report.proven if not line.startswith(_IN_BUNDLE)]
    if agreed:
        report.proven.append(
            f"{len(agreed)} checkpoints, signed while the range came in, lie on the same history"
        )
    for line in [line for line in report.not_proven if line.startswith(_IN_BUNDLE)]:
        report.not_proven.remove(line)
        report.violate("checkpoint", CHECKPOINTS, line)
    if own and not kept and not report.unchecked:
        report.not_proven.append(
            "that nothing was rolled back or rewritten with the log's own key: no checkpoint or receipt kept outside "
            "was given (--known)"
        )
    return report


def _allowed(left: list[tuple[str, bool]]) -> list[str]:
    """Return the names that may come next: all up to the first that must come."""
    allowed: list[str] = []
    for name, needed in left:
        allowed.append(name)
        if needed:
            break
    return allowed


def _summed(pieces: Iterable[bytes], summed: hashlib._Hash) -> Iterator[bytes]:
    for piece in pieces:
        summed.update(piece)
        yield piece


def _full_positions(block: bytes) -> set[int]:
    """Return the positions that stand in these lines as events in full."""
    found: set[int] = set()
    for line in block.split(b"\n"):
        if line.startswith(b'{"position":') and line.find(b',"event":', 0, 40) > 0:
            number = line[12 : line.index(b",")]
            if number.isdigit():
                found.add(int(number))
    return found
