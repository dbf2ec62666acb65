"""The spool: events on this machine's disk before anybody is told that they were recorded.

The transaction that keeps an event gives it its number, so that numbers are dense for what was kept, whichever process
kept it (spool_numbers.py).
Shared safely by threads and processes. Threads that record at the same moment share one commit, hence one
fsync: whoever gets the lock writes for all that wait.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from tallystick.client.settings import WhenFull
from tallystick.client.spool_entries import Row, Ticket
from tallystick.client.spool_file import DiskFull, SpoolFile, Synchronous, Unusable
from tallystick.client.spool_gaps import NOTHING_LOST, Gap, bury, count, tell
from tallystick.client.spool_numbers import Naming, Standing, gather, numberings, standing
from tallystick.errors import SpoolFull
from tallystick.event.numbering import Range

EPOCH_CHARACTERS: Final = 12  # of a UUID, its random end
_POLL_SECONDS: Final = 0.05  # between two looks for room
_LOOK_FOR_ROOM_SECONDS: Final = 1.0
_DROP_AT_ONCE: Final = 64  # oldest events given up together: one at a time frees no page
_DROP_ROUNDS: Final = 64
_INSERT: Final = "INSERT INTO waiting (id, at, event) VALUES (?, ?, ?)"
_FAILURES: Final = (sqlite3.Error, Unusable)


class Spool:
    """Events on disk.

    Args:
        path: the file, None to keep everything in memory.
        synchronous: SQLite's word: FULL survives a power cut, NORMAL the death of the process.
        bytes_max: size of the file at most.
        when_full: block (at most `block_seconds`, then SpoolFull), raise, or drop_oldest.
        producer: the name under which events are numbered; None: what the file says, `producer_default` in a new one.
        now_ms: the clock, in milliseconds. new_id: makes the id of an event about lost events.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        synchronous: Synchronous = "FULL",
        bytes_max: int,
        when_full: WhenFull = "block",
        block_seconds: float = 30.0,
        now_ms: Callable[[], int],
        new_id: Callable[[], str],
        producer: str | None = None,
        producer_default: str = "spool",
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.file = SpoolFile(
            path,
            synchronous=synchronous,
            bytes_max=bytes_max,
            now_ms=now_ms,
            naming=Naming(producer, producer_default, lambda: new_id()[-EPOCH_CHARACTERS:] or "1"),
        )
        self._when_full: WhenFull = when_full
        self._block_seconds = block_seconds
        self._now_ms = now_ms
        self._new_id = new_id
        self._monotonic = monotonic
        self._sleep = sleep
        self.lock = threading.RLock()
        self._leading = threading.Lock()  # whoever has it commits for those that wait
        self._busy = False  # the lock is held for a commit: a signal handler that records must not nest one
        self._pending: deque[Ticket] = deque()
        self._looked_for_room = 0.0
        self.unsaved_losses: dict[str, int] = {}
        _ = self.file.connection  # whether there can be a spool here is best known at once

    # Recording

    def put(self, id: str, raw: bytes) -> bool:
        """Keep an event; True when it is on disk as safely as the profile promises.

        False inside a signal handler or finalizer that interrupted a commit (then it is there a moment later),
        and where `drop_oldest` had to drop the event itself. Raises SpoolFull when the event was not kept; it is counted, and the count will be recorded.
        """
        outcome = self.attempt(id, raw)
        return outcome if isinstance(outcome, bool) else self.when_refused(id, raw, outcome)

    def attempt(self, id: str, raw: bytes) -> bool | Exception:
        """Keep an event as `put` does, but return what stands in the way instead of doing anything about it."""
        if self.file.disk_is_full and self._is_still_full():
            return DiskFull("database or disk is full")
        if self.lock.acquire(blocking=False):
            try:
                if self._busy:
                    self._pending.append(Ticket(id, raw))
                    return False
                if self._pending:
                    # Here and not with the others: this may be a signal handler in a thread that has the lock already.
                    ticket = Ticket(id, raw)
                    self._pending.append(ticket)
                    self._lead()
                    return ticket.error or True
                self._busy = True
                try:
                    self._insert(id, raw)
                    return True
                except _FAILURES as failure:
                    return failure
                finally:
                    self._busy = False
            finally:
                self.lock.release()
        return self._with_others(id, raw) or True

    def _with_others(self, id: str, raw: bytes) -> Exception | None:
        """Have an event committed together with all that wait, by whoever leads; another thread has the lock now."""
        ticket = Ticket(id, raw)
        ticket.will_wait()
        self._pending.append(ticket)
        while not ticket.settled:
            # One commits for all and wakes each of them. Were all to wait for the lock, it would pass through their
            # hands one by one, and no commit could begin meanwhile.
            if self._leading.acquire(blocking=False):
                try:
                    with self.lock:
                        self._lead()
                finally:
                    self._leading.release()
                    self._wake_one()  # whoever came after the last look found somebody leading, and sleeps
            else:
                ticket.wait()
        return ticket.error

    def _wake_one(self) -> None:
        """Let one of those that wait lead, if there are any."""
        for ticket in list(self._pending):
            if ticket.wake():
                return

    def enqueue(self, ticket: Ticket) -> None:
        """Let `ticket` wait for the next commit; somebody must call `commit_pending` after this."""
        self._pending.append(ticket)

    def commit_pending(self) -> None:
        """Commit whatever waits for a commit."""
        if self._pending:
            with self.lock:
                if not self._busy:
                    self._lead()

    def _lead(self) -> None:
        self._busy = True
        try:
            while self._pending:
                self._commit_group()
        finally:
            self._busy = False

    def _insert(self, id: str, raw: bytes) -> None:
        self.file.connection.execute(_INSERT, (id, self._now_ms(), raw))

    def _commit_group(self) -> None:
        """Commit all that waits in one transaction; where that fails, each by itself."""
        group: list[Ticket] = []
        while self._pending:
            group.append(self._pending.popleft())
        try:
            if self.file.disk_is_full and self._is_still_full():
                raise DiskFull("database or disk is full")
            at = self._now_ms()
            with self.file.transaction() as connection:
                connection.executemany(_INSERT, [(t.id, at, t.raw) for t in group])
        except _FAILURES:
            for ticket in group:
                try:
                    if self.file.disk_is_full:
                        raise
                    self._insert(ticket.id, ticket.raw)
                except _FAILURES as error:
                    ticket.error = error
        except BaseException as error:
            # Not ours to handle, but nobody in the group may take it for success.
            for ticket in group:
                ticket.error = error if isinstance(error, Exception) else Unusable(type(error).__name__)
            raise
        finally:
            for ticket in group:
                ticket.settled = True
                if ticket.done is not None:
                    ticket.done(ticket.error)
                ticket.wake()

    # When there is no room

    def _is_still_full(self) -> bool:
        """Tell whether the disk has no room yet; looks once a second."""
        now = self._monotonic()
        if now - self._looked_for_room >= _LOOK_FOR_ROOM_SECONDS:
            self._looked_for_room = now
            with self.lock:
                self.file.take_reserve()
        return self.file.disk_is_full

    def when_refused(self, id: str, raw: bytes, error: Exception) -> bool:
        """Do what the policy says about an event that could not be written; True when it is kept after all."""
        match self._when_full:
            case "raise":
                kept = False
            case "block":
                kept = self._wait_for_room(id, raw)
            case "drop_oldest":
                kept = _is_full(error) and self._instead_of_the_oldest(id, raw)
        if kept:
            return True
        self.lose("spool_full" if _is_full(error) else "spool_error", 1)
        if self._when_full == "drop_oldest" and _is_full(error):
            return False  # all the others are being sent, so this one is the oldest that can be dropped
        raise SpoolFull(
            f"The spool takes no more ({error}): this event was not kept. It is counted, and the count will be in the "
            "log. Is the server reachable, is the disk full? See: tallystick spool status",
            retry_after_seconds=5,
        )

    def _wait_for_room(self, id: str, raw: bytes) -> bool:
        deadline = self._monotonic() + self._block_seconds
        while self._monotonic() < deadline:
            self._sleep(_POLL_SECONDS)
            if self.attempt(id, raw) is True:
                return True
        return False

    def _instead_of_the_oldest(self, id: str, raw: bytes) -> bool:
        """Put an event in the place of the oldest ones that are not being sent; they are counted."""
        with self.lock:
            for _ in range(_DROP_ROUNDS):
                try:
                    if not self._drop_oldest():
                        return False
                    self._insert(id, raw)
                except sqlite3.Error as error:
                    if not _is_full(error):
                        return False
                else:
                    return True
        return False

    def _drop_oldest(self) -> int:
        with self.file.in_reserve(), self.file.transaction() as connection:
            oldest = connection.execute(
                "SELECT seq, lost, unsent FROM waiting WHERE (lost IS NULL OR lost > 0) AND seq > coalesce("
                "(SELECT value FROM counter WHERE name = 'in_flight'), 0) ORDER BY seq LIMIT ?",
                (_DROP_AT_ONCE,),
            ).fetchall()
            dropped = len(oldest)
            if dropped:
                connection.executemany("DELETE FROM waiting WHERE seq = ?", [(row[0],) for row in oldest])
                # With an event that tells of lost ones goes what it tells: that many are lost untold again.
                events = sum(lost is None for _, lost, _ in oldest)
                told = sum(lost or 0 for _, lost, _ in oldest)
                numbers = gather(connection, [(seq, unsent) for seq, _, unsent in oldest])
                self.count_lost(connection, "spool_full", events, told=told, numbers=numbers)
            return dropped

    def lose(self, reason: str, number: int) -> None:
        """Count events that could not be kept; `number` 0 says that nobody knows how many."""
        with self.lock:
            self.unsaved_losses[reason] = self.unsaved_losses.get(reason, 0) + number
            self._save_losses()

    def _save_losses(self) -> None:
        for reason, number in list(self.unsaved_losses.items()):
            if not self._saved(reason, number):
                self.file.make_room()  # the disk itself may be full
                if not self._saved(reason, number):
                    return  # kept in memory; tried again with every batch
            del self.unsaved_losses[reason]

    def _saved(self, reason: str, number: int) -> bool:
        try:
            with self.file.in_reserve(), self.file.transaction() as connection:
                self.count_lost(connection, reason, number)
            if self.file.disk_is_full:
                self.file.make_room()  # of what was just written, or the counts themselves would fill the disk
        except _FAILURES:
            return False
        return True

    def count_lost(
        self,
        connection: sqlite3.Connection,
        reason: str,
        number: int,
        *,
        told: int = 0,
        numbers: Sequence[Range] = (),
    ) -> None:
        """Add to the count of lost events within a transaction of the caller's.

        `told` were counted before, in an event that is gone too; they are to be told of again. `numbers` are those
        that the events had.
        """
        tell(connection, reason, number + told, numbers, self._now_ms(), self._new_id)
        count(connection, "lost", number)

    def record_gaps(self, make: Callable[[Gap], bytes]) -> int:
        """Turn the counts of lost events into events that wait like any other; returns how many."""
        with self.lock:
            if self.file.was_damaged:
                self.file.was_damaged = False
                self.unsaved_losses.setdefault("spool_damaged", 0)
            if self.unsaved_losses:
                self._save_losses()
            rows = self.file.connection.execute(
                "SELECT id, reason, lost, first_at, last_at, unsent FROM gap ORDER BY rowid"
            ).fetchall()
            for gap, unsent in [(Gap(*row[:5]), row[5]) for row in rows]:
                with self.file.in_reserve(), self.file.transaction() as connection:
                    told = gap.lost if gap.reason not in NOTHING_LOST else 0
                    connection.execute(
                        "INSERT INTO waiting (id, at, event, lost, unsent) VALUES (?, ?, ?, ?, ?)",
                        (gap.id, self._now_ms(), make(gap), told, unsent),
                    )
                    connection.execute("DELETE FROM gap WHERE id = ?", (gap.id,))
            return len(rows)

    # Sending

    def waits(self) -> bool:
        """Tell whether any event, or any count of lost ones, waits."""
        with self.lock:
            sql = "SELECT EXISTS (SELECT 1 FROM waiting) OR EXISTS (SELECT 1 FROM gap)"
            found = self.file.connection.execute(sql).fetchone()[0]
            return bool(found or self._pending or self.unsaved_losses or self.file.was_damaged)

    def has_at_least(self, rows: int, bytes: int) -> bool:
        """Tell whether so many events wait, or events of so many bytes."""
        with self.lock:
            sql = "SELECT count(*), coalesce(sum(length(event)), 0) FROM (SELECT event FROM waiting LIMIT ?)"
            found, size = self.file.connection.execute(sql, (rows,)).fetchone()
            return found >= rows or size >= bytes

    def batch(self, rows_max: int, bytes_max: int, *, without: Iterable[str] = ()) -> list[Row]:
        """Return the oldest events, as many as fit, and mark them as being sent; at least one if there is one.

        `without` are ids already answered for whose rows could not be deleted yet.
        """
        answered = frozenset(without)
        self.commit_pending()
        with self.lock:
            connection = self.file.connection
            stamp = numberings(connection)
            sql = "SELECT seq, id, event, unsent FROM waiting ORDER BY seq LIMIT ?"
            rows: list[Row] = []
            size = 0
            for seq, id, event, unsent in connection.execute(sql, (rows_max + len(answered),)).fetchall():
                if id in answered:
                    continue
                size += len(event)
                if rows and (size > bytes_max or len(rows) == rows_max):
                    break
                rows.append(Row(seq, id, stamp.on(event, seq, unsent)))
            if rows:
                self._mark_in_flight(rows[-1].seq)
            return rows

    def _mark_in_flight(self, upto: int) -> None:
        """Note what must not be dropped to make room: it may be in the log already, and must not count as lost."""
        try:
            with self.file.relaxed(), self.file.in_reserve():
                _set(self.file.connection, "in_flight", upto)
        except sqlite3.Error:
            pass  # nothing can be dropped either while nothing can be written

    def settle(
        self,
        done: Sequence[Row],
        dead: Sequence[tuple[Row, str, str]] = (),
        *,
        duplicates: int = 0,
        repeated: Sequence[Row] = (),
    ) -> None:
        """Delete what the server has committed; put aside, with rule and message, what it will never take.

        `repeated` are those of `done` that are in the log under another number: theirs is used for nothing.
        Not synced to disk: after a power cut these events are sent again, and the server knows their ids.
        """
        with (
            self.lock,
            self.file.relaxed(),
            self.file.in_reserve(),
            self.file.transaction() as connection,
        ):
            delete = "DELETE FROM waiting WHERE seq = ? AND id = ?"
            sent = connection.executemany(delete, [(row.seq, row.id) for row in done]).rowcount
            now = self._now_ms()
            bury(connection, dead, now, self._new_id)
            connection.executemany(delete, [(row.seq, row.id) for row, _, _ in dead])
            if repeated:
                numbers = gather(connection, [(row.seq, None) for row in repeated])
                tell(connection, "repeated", len(repeated), numbers, now, self._new_id)
            count(
                connection, "sent", max(sent, 0)
            )  # of a row that another call has settled, nothing is counted
            count(connection, "duplicates", duplicates)
            _set(connection, "in_flight", 0)

    def stamped(self, id: str, raw: bytes) -> bytes:
        """Return the event `raw` with the number it waits under; as it is when it does not wait any more."""
        with self.lock:
            newest = "SELECT seq, event, unsent FROM waiting WHERE id = ? ORDER BY seq DESC LIMIT 1"
            row = self.file.connection.execute(newest, (id,)).fetchone()
            return raw if row is None else numberings(self.file.connection).on(row[1], row[0], row[2])

    def standing(self) -> Standing:
        """Return who numbers here, the last number given out, and the first one that still waits."""
        with self.lock:
            return standing(self.file.connection)

    def settle_id(
        self,
        id: str,
        *,
        duplicate: bool = False,
        dead: tuple[str, str] | None = None,
        repeated: bool = False,
    ) -> None:
        """Settle one event known by its id, as `settle` does."""
        with self.lock:
            newest = "SELECT seq, id, event FROM waiting WHERE id = ? ORDER BY seq DESC LIMIT 1"
            row = self.file.connection.execute(newest, (id,)).fetchone()
            if row is None:
                return  # the sender was faster
            if dead is None:
                found = Row(*row)
                self.settle([found], duplicates=int(duplicate), repeated=[found] if repeated else ())
            else:
                self.settle([], [(Row(*row), *dead)])

    def close(self) -> None:
        """Close the file; recording after this opens it again."""
        with self.lock:
            self.commit_pending()
            if self.unsaved_losses:
                self._save_losses()
            self.file.close()

    # Forks: SQLite forbids a child to touch what its parent opened

    def before_fork(self) -> None:
        """Let no thread be inside SQLite while the process forks: a child would inherit its locks."""
        self.lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self.lock.release()

    def after_fork_in_child(self) -> None:
        """Begin anew; what waits in the parent is the parent's to send."""
        self.file.leave_behind()
        self.lock = threading.RLock()
        self._leading = threading.Lock()
        self._busy = False
        self._pending.clear()
        self.unsaved_losses.clear()


def _is_full(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def _set(connection: sqlite3.Connection, name: str, value: int) -> None:
    connection.execute("INSERT OR REPLACE INTO counter VALUES (?, ?)", (name, value))
