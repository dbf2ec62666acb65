"""Verifies one organization's log as a database holds it: rows, tree, tiles, head, checkpoints and dictionaries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from tallystick.errors import AuditError, Refused, Tampered
from tallystick.event.leaf import ERASED, Leaf, read_leaf, read_opening
from tallystick.merkle.checkpoint import Checkpoint, parse_checkpoint
from tallystick.merkle.note import parse_note
from tallystick.merkle.tlog_proof import HEADER, parse_tlog_proof
from tallystick.merkle.tree import HASH_BYTES, Frontier
from tallystick.verify.account import Account
from tallystick.verify.history import Milestone
from tallystick.verify.known import (
    Kept,
    Known,
    compare,
    milestones,
    note_trust,
    positions,
    read_known,
)
from tallystick.verify.records import RECORDS, is_record, read_record
from tallystick.verify.report import Report
from tallystick.verify.reseal import SEED_BYTES
from tallystick.verify.stored import StoredRow, VerbOf, check_row
from tallystick.verify.tables import Counts, Ids, LogTables
from tallystick.verify.tree import LogTree, Place, tile_digest
from tallystick.verify.trust import Keys, open_signed, trust

TILE_BYTES = 256 * HASH_BYTES


class LogCheck:
    """Takes everything a database holds of one log and says what is proven.

    Give rows and ids in any order (in order of position costs least memory), then tiles, then `finish`.
    `keys` are the log's keys; without them signatures are not checked and the result is never "proven".
    `verb_of` gives the verb class of an action, `secret` is 32 random bytes of this run.
    """

    def __init__(
        self,
        organization_id: UUID,
        tables: LogTables,
        *,
        verb_of: VerbOf,
        secret: bytes,
        keys: Keys = (),
        kept: Sequence[Kept] = (),
    ) -> None:
        self.report = Report(subject=f"log {organization_id}")
        self._organization_id = organization_id
        self._tables = tables
        self._verb_of = verb_of
        self._trusted = trust(keys)
        self._origin = ""
        self._head = self._open("the head's checkpoint", tables.note, tables.size) if tables.note else None
        self._known: list[Known] = []
        if kept:
            origin = self._origin or _origin_of(kept, organization_id)
            self._known = read_known(kept, self._trusted, origin, self.report)
        self._tree = LogTree(
            self.report,
            [*self._retained(), *milestones(self._known)],
            positions(self._known),
            tables.removed,
            tables.tile_hashes,
        )
        self._account = Account(self.report, self._trusted, self._origin)
        self._ids = Ids(secret)
        self._counts = Counts(tables, self.report)
        self._rows = self._tiles = 0

    def add_rows(self, rows: Iterable[StoredRow]) -> None:
        """Take some rows."""
        for row in rows:
            self._rows += 1
            for wrong in check_row(row, self._organization_id, self._verb_of):
                self.report.violate(wrong.kind, f"position {row.position}", wrong.message)
            self._tree.add(row.position, Place(row.leaf_hash, row.received_at))
            self._ids.expect(row.id, row.position, row.received_at)
            self._counts.add(row)
            if self._tables.removed and row.position in self._tables.removed:
                self.report.violate(
                    "not_removed", f"position {row.position}", "its event is here, and is said to be removed"
                )
            self._enter(row)

    def _enter(self, row: StoredRow) -> None:
        """Note what an event says of the log's own keeping, and what of it was erased."""
        erased = len(row.seed) != SEED_BYTES
        if not erased and row.action not in RECORDS:
            return
        with suppress(Tampered):  # check_row has said what cannot be read
            leaf = read_leaf(row.leaf)
            if erased:
                self._account.erased(row.position, read_opening(row.opening).get(ERASED, ()))
            if is_record(leaf.action, leaf.stream, leaf.source):
                self._read_record(row, leaf)

    def _read_record(self, row: StoredRow, leaf: Leaf) -> None:
        try:
            recorded = read_record(row.position, leaf, row.opening)
        except Tampered as error:
            self.report.violate(error.rule, f"position {row.position}", str(error))
        else:
            if recorded is not None:
                self._account.add(recorded)

    def add_ids(self, ids: Iterable[tuple[UUID, int, datetime]]) -> None:
        """Take some rows of idempotency: id, position and received_at."""
        for entry in ids:
            if entry[1] not in self._tables.removed:  # those of removed events are forgotten after a while
                self._ids.found(*entry)

    def add_tile(self, level: int, index: int, width: int, digest: bytes) -> None:
        """Take one stored tile, after all rows: its place, its bytes' number and their `tile_digest`."""
        self._tree.finish()
        self._tiles += 1
        where = f"tile {index} of level {level}"
        expected = self._tree.tiles.pop((level, index), None)
        if width != TILE_BYTES:
            self.report.violate("tile", where, f"it has {width} bytes, not {TILE_BYTES}")
        elif expected is None:
            if self._tree.broken is None:
                self.report.violate("tile", where, "the log is not long enough for it, or it stands twice")
        elif expected != digest:
            self.report.violate("tile", where, "its hashes are not those of the events")

    def finish(self) -> Report:
        """Compare everything and return the report."""
        report, tables = self.report, self._tables
        frontier = self._tree.finish()
        report.facts |= {"events": self._rows, "log size": tables.size, "tiles": self._tiles}
        if self._tree.size != tables.size:
            report.violate(
                "head", "log_head", f"it says {tables.size} events, the rows end at {self._tree.size}"
            )
        elif self._tree.broken is None:
            self._compare_head(frontier)
        for level, index in list(self._tree.tiles)[:5]:
            report.violate("tile", f"tile {index} of level {level}", "it is missing")
        for span in self._ids.differences():
            report.violate(
                "idempotency",
                f"positions {span.start} to {span.stop}",
                "the table of ids does not say what the rows say",
            )
        self._counts.finish(self._tree.months)
        for first, end in tables.removed.ranges:
            self._account.removed(first, end - first)
        self._account.settle(0, tables.size, whole=True, complete=True)
        self._compare_checkpoints()
        self._conclude()
        return report

    def _open(self, what: str, note: str, size: int) -> Checkpoint | None:
        """Open one of the database's own checkpoints: signed by a key of the log, of this log and size."""
        try:
            checkpoint = parse_checkpoint(parse_note(note).text)
            if self._trusted.logs:
                checkpoint = open_signed(note, self._trusted).checkpoint
            if not self._origin:
                self._origin = checkpoint.origin
            if checkpoint.origin != self._origin or checkpoint.origin.rpartition("/o/")[2] != str(
                self._organization_id
            ):
                raise Refused("it is of another log", rule="origin")
        except AuditError as error:
            self.report.violate("checkpoint", what, f"it is not what the log signed: {error}")
            return None
        if checkpoint.size != size:
            self.report.violate("checkpoint", what, f"it is of {checkpoint.size} events, not {size}")
        return checkpoint

    def _retained(self) -> list[Milestone]:
        found: list[Milestone] = []
        for size, note in self._tables.checkpoints:
            checkpoint = self._open(f"the retained checkpoint of {size} events", note, size)
            if checkpoint is not None:
                found.append(
                    Milestone(checkpoint.size, checkpoint.root, f"the retained checkpoint of {size} events")
                )
        return found

    def _compare_head(self, frontier: Frontier) -> None:
        report, tables = self.report, self._tables
        if tables.frontier != b"".join(frontier.nodes):
            report.violate("head", "log_head", "its frontier is not that of the events")
        if tables.last_received_at != self._tree.last_received_at:
            report.violate("head", "log_head", "its last time of receipt is not that of the last event")
        if self._head is None:
            if tables.size and not tables.note:
                report.violate("head", "log_head", "its checkpoint is missing")
        elif self._head.root != frontier.root():
            report.violate("tree", "log_head", "these events do not lead to the root that the log signed")

    def _compare_checkpoints(self) -> None:
        history = self._tree.history
        history.close((), history.size)
        kept = {(one.checkpoint.size, one.checkpoint.root) for one in self._known}
        for one in history.contradicted:
            if (one.size, one.root) in kept:
                continue
            self.report.violate(
                "rewritten", one.label, f"the first {one.size} events are not those it was signed for"
            )
        for one in history.unreachable:
            if (one.size, one.root) not in kept and self._tree.broken is None:
                self.report.violate(
                    "rollback", one.label, f"it was signed for more events than the {history.size} there are"
                )
        if self._tree.broken is None:
            compare(self._known, history, history.size, self.report)

    def _conclude(self) -> None:
        report = self.report
        note_trust(self._trusted, report, self._known)
        if not self._trusted.logs:
            report.unchecked = "no key of the log was given, so nobody's signature could be checked"
        if self._head is None and not report.violations:
            report.not_proven.append("anything about a log without a checkpoint; it has no event")
        if not report.violations:
            report.proven += [
                f"{self._rows} events: unchanged, complete and in order, every column as sealed",
                f"head, {self._tiles} tiles and {len(self._tables.checkpoints)} retained checkpoints agree with them",
            ]


def _origin_of(kept: Sequence[Kept], organization_id: UUID) -> str:
    """Return the origin that kept texts give this organization's log, where the database no longer says it."""
    for one in kept:
        with suppress(AuditError):
            note = parse_tlog_proof(one.text).checkpoint if one.text.startswith(HEADER) else one.text
            origin = parse_checkpoint(parse_note(note).text).origin
            if origin.endswith(f"/o/{organization_id}"):
                return origin
    return f"/o/{organization_id}"


__all__ = ["LogCheck", "LogTables", "tile_digest"]
