"""What must hold after every fault: judged from the database itself, from every acknowledgement and from the readers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from oracle import check_whole_log
from reliability.load import Ledger, Reader
from tallystick.errors import AuditError
from tallystick.merkle.checkpoint import open_checkpoint
from tallystick.merkle.keys import VerifierKey
from tallystick.merkle.tlog_proof import parse_tlog_proof
from tallystick.merkle.tree import Frontier
from tallystick.store.connect import Dsn, open_pool


@dataclass
class Verdict:
    """The counts of the table, and everything that is wrong in words."""

    acknowledged: int = 0
    rows: int = 0
    lost: int = 0
    duplicates: int = 0
    gaps: int = 0
    bad_receipts: int = 0
    reader_errors: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether everything held."""
        return not self.violations

    def violate(self, sentence: str) -> None:
        """Note something that is wrong."""
        if len(self.violations) < 100:
            self.violations.append(sentence)


@dataclass(frozen=True)
class Row:
    """What the judge needs of one row of the log."""

    position: int
    id: UUID
    leaf_hash: bytes
    is_own: bool  # recorded by Tallystick about itself


async def judge(
    database: Dsn, organization_id: UUID, verifier: VerifierKey, ledger: Ledger, readers: Sequence[Reader]
) -> Verdict:
    """Judge one log against everything its clients were told."""
    verdict = Verdict(acknowledged=len(ledger.acknowledged), violations=list(ledger.violations))
    rows = await _rows(database, organization_id)
    verdict.rows = len(rows)
    _judge_rows(rows, ledger, verdict)
    _judge_receipts(rows, ledger, verifier, verdict)
    for reader in readers:
        _judge_reader(rows, reader, verdict)
    pool = await open_pool(database, role="owner", size_min=0)
    try:
        # The oracle is the one judge of the log as a whole; its first complaint is enough.
        await check_whole_log(pool, organization_id, verifier)
    except (AssertionError, AuditError) as error:
        verdict.violate(f"the whole log: {error}")
    finally:
        await pool.close()
    return verdict


async def _rows(database: Dsn, organization_id: UUID) -> list[Row]:
    connection = await asyncpg.connect(database.url)
    try:
        found = await connection.fetch(
            "SELECT position, id, leaf_hash, stream = 'tallystick' FROM audit_logs WHERE organization_id = $1 ORDER BY position, received_at",
            organization_id,
        )
    finally:
        await connection.close()
    return [Row(*row) for row in found]


def _judge_rows(rows: Sequence[Row], ledger: Ledger, verdict: Verdict) -> None:
    at = {row.id: row.position for row in rows}
    for event_id, promised in ledger.acknowledged.items():
        if event_id not in at:
            verdict.lost += 1
            verdict.violate(f"{event_id} was acknowledged at {promised.position} and is not in the log")
        elif at[event_id] != promised.position:
            verdict.lost += 1
            verdict.violate(f"{event_id} was acknowledged at {promised.position} and is at {at[event_id]}")
    times = Counter(row.id for row in rows)
    verdict.duplicates = sum(count - 1 for count in times.values())
    if verdict.duplicates:
        verdict.violate(f"{verdict.duplicates} rows repeat an id")
    positions = {row.position for row in rows}
    verdict.gaps = (max(positions) + 1 - len(positions)) if positions else 0
    if verdict.gaps or [row.position for row in rows] != list(range(len(rows))):
        verdict.violate(f"positions are not dense: {verdict.gaps} are missing")
    # What the servers record of themselves (starts, stops, powerful keys) was sent by nobody; it is in the log all the same.
    if unknown := {row.id for row in rows if not row.is_own} - ledger.sent:
        verdict.violate(f"{len(unknown)} rows were never sent by anyone")


def _judge_reader(rows: Sequence[Row], reader: Reader, verdict: Verdict) -> None:
    """Check that a reader saw the log from its beginning, each position once, and at least as far as it was told to.

    The log may have grown since: that a reader read is recorded too, beside its last answer.
    """
    ids = [row.id for row in rows[: len(reader.seen)]]
    if reader.seen != ids:
        verdict.reader_errors += 1
        verdict.violate(
            f"a reader saw {len(reader.seen)} events that are not the first {len(ids)} of the log"
        )
    if len(reader.seen) < reader.owed:
        verdict.reader_errors += 1
        verdict.violate(f"a reader saw {len(reader.seen)} of {reader.owed} events")


def _judge_receipts(rows: Sequence[Row], ledger: Ledger, verifier: VerifierKey, verdict: Verdict) -> None:
    """Check every receipt: its signature, that its tree is a prefix of the final one, and its event within it."""
    hashes = {row.position: row.leaf_hash for row in rows}
    roots = _roots(rows)
    for event_id, promised in ledger.acknowledged.items():
        try:
            receipt = parse_tlog_proof(promised.receipt)
            signed = open_checkpoint(receipt.checkpoint, [verifier], origin=verifier.name).checkpoint
            assert roots.get(signed.size) == signed.root, (
                f"its checkpoint of {signed.size} is of another history"
            )
            assert promised.position < signed.size, "its checkpoint does not cover it"
            if promised.covers:
                assert receipt.index == promised.position, "it is for another position"
                receipt.verify(hashes[promised.position], [verifier], origin=verifier.name)
        except (AssertionError, AuditError, KeyError) as error:
            verdict.bad_receipts += 1
            verdict.violate(f"the receipt of {event_id}: {error}")


def _roots(rows: Sequence[Row]) -> dict[int, bytes]:
    """Return the root of the tree after each row."""
    frontier = Frontier()
    roots = {0: frontier.root()}
    for size, row in enumerate(rows, 1):
        frontier = frontier.extend([row.leaf_hash])
        roots[size] = frontier.root()
    return roots
