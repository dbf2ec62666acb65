"""What a spool holds: its numbers, and its dead letters, which a human looks at."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from tallystick.client.spool import Spool
from tallystick.client.spool_numbers import gather


class Counts(Struct, frozen=True, kw_only=True):
    """What a spool holds, and what has left it since the file was made."""

    queued: int
    queued_bytes: int
    oldest_at_ms: int | None
    dead: int
    gaps: int
    sent: int
    duplicates: int
    lost: int


class DeadLetter(Struct, frozen=True):
    """One event that the server will never take, and why."""

    id: str
    rule: str
    message: str
    event: bytes
    at_ms: int


def counts(spool: Spool) -> Counts:
    """Return what is in `spool`; looks at every row, so ask some times a minute, not some times a second."""
    with spool.file.looking() as connection:
        queued, size, oldest = connection.execute(
            "SELECT count(*), coalesce(sum(length(event)), 0), min(at) FROM waiting"
        ).fetchone()
        dead, gaps = connection.execute(
            "SELECT (SELECT count(*) FROM dead), (SELECT count(*) FROM gap)"
        ).fetchone()
        numbers = dict(connection.execute("SELECT name, value FROM counter").fetchall())
    return Counts(
        queued=queued,
        queued_bytes=size,
        oldest_at_ms=oldest,
        dead=dead,
        gaps=gaps,
        sent=numbers.get("sent", 0),
        duplicates=numbers.get("duplicates", 0),
        lost=numbers.get("lost", 0) + sum(spool.unsaved_losses.values()),
    )


def dead_letters(spool: Spool, limit: int = 1_000) -> list[DeadLetter]:
    """Return what the server will never take, oldest first."""
    with spool.file.looking() as connection:
        sql = "SELECT id, rule, message, event, at FROM dead ORDER BY at, id LIMIT ?"
        return [DeadLetter(*row) for row in connection.execute(sql, (limit,)).fetchall()]


def revive(spool: Spool, ids: Sequence[str]) -> int:
    """Let dead letters wait again, as they are; returns how many."""
    marks = [(id,) for id in ids]
    with spool.lock, spool.file.transaction() as connection:
        before = connection.total_changes
        # Under the number it had: nobody else can have got it meanwhile.
        sql = (
            "INSERT INTO waiting (seq, id, at, event, lost, unsent) "
            "SELECT seq, id, at, event, lost, unsent FROM dead WHERE id = ?"
        )
        connection.executemany(sql, marks)
        revived = connection.total_changes - before
        connection.executemany("DELETE FROM dead WHERE id = ?", marks)
        return revived


def discard(spool: Spool, ids: Sequence[str]) -> int:
    """Give up dead letters for good; they are counted as lost. Returns how many."""
    with spool.lock, spool.file.in_reserve(), spool.file.transaction() as connection:
        sql = "DELETE FROM dead WHERE id = ? RETURNING seq, unsent"
        gone = [row for id in ids for row in connection.execute(sql, (id,)).fetchall()]
        if gone:
            spool.count_lost(connection, "discarded", len(gone), numbers=gather(connection, gone))
        return len(gone)
