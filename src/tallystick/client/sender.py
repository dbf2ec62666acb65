"""The sender: takes what waits in the spool to the server, for ever, in the background."""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Final

from tallystick.client.lease import Lease
from tallystick.client.spool import Gap, Row, Spool
from tallystick.client.spool_file import Unusable
from tallystick.client.transport import Later, Settled, Split, Transport

log = logging.getLogger("tallystick")

BATCH_EVENTS: Final = 500
BATCH_BYTES: Final = 1_000_000
POLL_SECONDS: Final = 1.0  # between two looks for what other processes recorded
BACK_OFF_SECONDS_MIN: Final = 0.5
BACK_OFF_SECONDS_MAX: Final = 60.0
_CHECKPOINT_EVERY: Final = 32  # batches
_LOOK_SECONDS: Final = 0.05
_FIRST_BEAT_SECONDS: Final = 5.0  # what lives shorter than this is not worth a sign of life
_BEAT_TIMEOUT_SECONDS: Final = 5.0  # events must not wait for long behind it
_LAST_BEAT_TIMEOUT_SECONDS: Final = 0.8  # nor the end of the process
_SETTLE_AT_ONCE: Final = 20  # events deleted in one step where there is hardly room for the deletion


class Sender:
    """One thread for one spool.

    Args:
        spool: where events wait. lease: of the processes that share it, one sends.
        connect: opens the transport; called when there is something to send. None: there is no server to send to.
        gap_event: makes the event that tells of lost ones.
        linger_seconds: how long a small batch waits for company.
        heartbeat_seconds: how often the server is told how far the numbers go, 0 = never.
        chance: a number between 0 and 1, for jitter.
    """

    def __init__(
        self,
        spool: Spool,
        lease: Lease,
        connect: Callable[[], Transport] | None,
        *,
        gap_event: Callable[[Gap], bytes],
        linger_seconds: float = 1.0,
        heartbeat_seconds: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._spool = spool
        self._lease = lease
        self._connect = connect
        self._gap_event = gap_event
        self._linger = linger_seconds
        self._beat_every = heartbeat_seconds
        self._beat_at = monotonic() + min(heartbeat_seconds, _FIRST_BEAT_SECONDS)
        self._has_beaten = False
        self._monotonic = monotonic
        self._chance = chance
        self._transport: Transport | None = None
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()  # something was recorded
        self._urgent = threading.Event()  # somebody waits for it, or the process ends
        self._start_lock = threading.Lock()
        self._stopping = False
        self._failures = 0
        self._trouble = ""
        self._batches = 0
        self._batch_events = BATCH_EVENTS
        self._answered: set[str] = set()  # answered for, but the disk would not let us delete the rows
        self.retried = 0

    def notice(self) -> None:
        """Say that something was recorded; starts the thread when it does not run yet. Costs next to nothing."""
        if self._thread is None:
            self._start()
        if not self._wake.is_set():
            self._wake.set()

    def hurry(self) -> None:
        """Send now: no waiting for company, and one attempt at once even during a back-off."""
        self._urgent.set()
        self.notice()

    def stop(self) -> None:
        """Let the thread end after what it is doing."""
        self._stopping = True
        self._urgent.set()
        self._wake.set()

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def after_fork_in_child(self) -> None:
        """Forget the parent's thread and connection; both are started again when they are needed."""
        self._transport = None
        self._thread = None
        self._wake = threading.Event()
        self._urgent = threading.Event()
        self._start_lock = threading.Lock()
        self._stopping = False
        self._answered.clear()
        self._has_beaten = False
        self._lease.after_fork_in_child()

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None and self._connect is not None and not self._stopping:
                thread = threading.Thread(target=self._run, name="tallystick-sender", daemon=True)
                self._thread = thread
                thread.start()

    # The thread

    def _run(self) -> None:
        while not self._stopping:
            try:
                pause = self.step()
            except (sqlite3.Error, OSError, Unusable) as error:
                pause = self._back_off(Later(f"the spool cannot be read or written: {error}"))
            except Exception:  # whatever it is, the next event must find a sender
                log.exception("tallystick: sending failed in a way nobody foresaw; events stay in the spool")
                pause = self._back_off(Later("an error of the SDK's own"))
            if pause > 0:
                self._rest(pause)
        if self._has_beaten and self._transport is not None and not self._failures:
            # Who goes says so: from now on nobody expects a sign of life.
            self._transport.beat(self._spool.standing(), 0.0, timeout_seconds=_LAST_BEAT_TIMEOUT_SECONDS)
        self._lease.release()
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _beat_if_due(self) -> None:
        """Tell the server how far the numbers go, so that it can tell what is missing at the end of them, and silence."""
        if (
            not self._beat_every
            or self._failures
            or self._connect is None
            or self._monotonic() < self._beat_at
        ):
            return
        self._beat_at = self._monotonic() + self._beat_every
        standing = self._spool.standing()
        if not standing.last:
            return
        if self._transport is None:
            self._transport = self._connect()
        if self._transport.beat(standing, self._beat_every, timeout_seconds=_BEAT_TIMEOUT_SECONDS):
            self._has_beaten = True

    def _rest(self, seconds: float) -> None:
        """Wait; recording ends an idle wait but not a back-off, hurry and stop end both."""
        if self._failures:
            self._urgent.wait(seconds)
        else:
            self._wake.wait(seconds)

    def step(self) -> float:
        """Send one batch if there is one; return how long to wait before the next step, in seconds."""
        hurry = self._urgent.is_set()
        self._urgent.clear()
        self._wake.clear()
        if self._connect is None or not self._lease.held():
            self._spool.commit_pending()
            return POLL_SECONDS
        self._beat_if_due()
        if not self._spool.waits():
            return POLL_SECONDS
        if not hurry and not self._failures:
            self._gather()
        if not self._failures:  # one event for all that is lost in an outage, not one for each attempt
            self._record_gaps()
        rows = self._spool.batch(self._batch_events, BATCH_BYTES, without=self._answered)
        if not rows and self._failures:
            self._record_gaps()
            rows = self._spool.batch(self._batch_events, BATCH_BYTES, without=self._answered)
        if not rows:
            self._retry_settling()
            return POLL_SECONDS if self._answered else 0.0
        if self._transport is None:
            self._transport = self._connect()
        outcome = self._transport.send(rows)
        match outcome:
            case Settled():
                return self._settle(rows, outcome)
            case Split():
                self._batch_events = max(1, len(rows) // 2)
                return 0.0
            case Later():
                self.retried += len(rows)
                return self._back_off(outcome)

    def _gather(self) -> None:
        """Give a batch that is not full the chance to become so."""
        deadline = self._monotonic() + self._linger
        # Looked at now and then, not woken by each event: a thread that wakes for every one costs each of them time.
        while (left := deadline - self._monotonic()) > 0 and not self._urgent.is_set():
            if self._spool.has_at_least(BATCH_EVENTS, BATCH_BYTES):
                return
            self._urgent.wait(min(left, _LOOK_SECONDS))

    def _settle(self, rows: list[Row], outcome: Settled) -> float:
        for row, rule, message in outcome.dead:
            log.error(
                "tallystick: the server refused event %s for good (%s: %s); it is kept as a dead letter, see: "
                "tallystick spool dead-letters", row.id, rule, message,
            )  # fmt: skip
        try:
            self._spool.settle(
                outcome.done, outcome.dead, duplicates=outcome.duplicates, repeated=outcome.renumbered
            )
        except sqlite3.Error:
            # The server has them, only our disk does not know: remember, and do not send them again. To delete
            # needs room too; once all that waits is sent, it is tried in small steps.
            self._answered.update(row.id for row in outcome.done)
        self._better()
        self._batches += 1
        if self._batches % _CHECKPOINT_EVERY == 1:
            self._spool.file.checkpoint()
        if self._batch_events < BATCH_EVENTS:
            self._batch_events = min(BATCH_EVENTS, self._batch_events * 2)
        if outcome.again:
            self.retried += len(outcome.again)
            return self._back_off(Later(f"{len(outcome.again)} events are to be sent again"))
        return 0.0

    def _record_gaps(self) -> None:
        try:
            self._spool.record_gaps(self._gap_event)
        except sqlite3.Error:
            # A full disk: sending is what makes room, so it must not wait for this. The counts stay.
            self._spool.file.make_room()

    def _retry_settling(self) -> None:
        """Delete the rows of events that are in the log already, a few at a time."""
        while rows := [
            row for row in self._spool.batch(_SETTLE_AT_ONCE, BATCH_BYTES) if row.id in self._answered
        ]:
            try:
                self._spool.settle(rows)
            except sqlite3.Error:
                self._spool.file.make_room()
                self._spool.settle(rows)
            self._answered.difference_update(row.id for row in rows)
        self._answered.clear()

    def _back_off(self, later: Later) -> float:
        """Return how long to wait: doubled each time, with jitter, never shorter than the server asked for."""
        self._failures = min(self._failures + 1, 30)
        if later.why != self._trouble:
            self._trouble = later.why
            log.warning(
                "tallystick: cannot send, %s; events stay in the spool and nothing is lost", later.why
            )
        most = min(BACK_OFF_SECONDS_MAX, BACK_OFF_SECONDS_MIN * 2**self._failures)
        return max(later.after_seconds, most * (0.5 + 0.5 * self._chance()))

    def _better(self) -> None:
        if self._failures:
            log.info("tallystick: sending again")
        self._failures = 0
        self._trouble = ""
