"""One spool and one sender for each destination in a process, whatever forks, ends or is shared."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from tallystick.client.actors import System
from tallystick.client.context import cleared
from tallystick.client.lease import Lease
from tallystick.client.recorder import Recorder, unix_ms
from tallystick.client.sender import Sender
from tallystick.client.settings import Settings
from tallystick.client.spool import Gap, Spool, Ticket
from tallystick.client.spool_contents import counts
from tallystick.client.spool_file import Synchronous, Unusable
from tallystick.client.transport import Committed, Later, Transport, raise_unconfirmed
from tallystick.errors import ServerRejected

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

log = logging.getLogger("tallystick")

GAP_ACTION: Final = "audit.gap"
# What tells of events that are not lost, though their numbers will not come.
_ACTIONS: Final = {"refused": "audit.dead_letter", "repeated": "audit.repeated"}
_SYNCHRONOUS: Final[dict[str, Synchronous]] = {"durable": "FULL", "fast": "NORMAL", "memory": "OFF"}
_FLUSH_LOOK_SECONDS: Final = 0.01
_CONFIRM_PAUSE_SECONDS: Final = 0.25


class Stats(Struct, frozen=True, kw_only=True):
    """How recording goes; counters since the spool file was made, `retried` since this process began."""

    profile: str
    queued: int
    queued_bytes: int
    oldest_age_seconds: float
    sent: int
    duplicates: int
    retried: int
    dead: int
    lost: int

    def prometheus(self) -> str:
        """Return the numbers in Prometheus's text format, to be appended to an application's own metrics."""
        lines: list[str] = []
        for name, kind in _METRICS:
            lines.append(f"# TYPE tallystick_spool_{name} {kind}")
            lines.append(f"tallystick_spool_{name} {getattr(self, name.removesuffix('_total'))}")
        return "\n".join(lines) + "\n"


_METRICS: Final = (
    ("queued", "gauge"), ("queued_bytes", "gauge"), ("oldest_age_seconds", "gauge"), ("sent_total", "counter"),
    ("duplicates_total", "counter"), ("retried_total", "counter"), ("dead", "gauge"), ("lost_total", "counter"),
)  # fmt: skip


class Delivery:
    """From the bytes of an event to the server, over the spool."""

    def __init__(self, settings: Settings, recorder: Recorder) -> None:
        self.settings = settings
        self.profile = settings.profile
        self._recorder = recorder
        self.spool = self._open_spool()
        path = self.spool.file.path
        self._transport: Transport | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._lead_wanted = threading.Lock()
        self.sender = Sender(
            self.spool,
            Lease(None if path is None else path.with_suffix(".lease")),
            None if settings.url is None else self._connect,
            gap_event=gap_event_of(recorder),
            linger_seconds=settings.linger_seconds,
            heartbeat_seconds=settings.heartbeat_seconds,
        )
        if settings.url is None:
            log.warning(
                "tallystick: no server is set (TALLYSTICK_URL); events are kept in %s until there is one",
                path or "memory",
            )
        if path is None or self.spool.waits() or self.spool.standing().last:
            self.sender.notice()  # of what an earlier process left behind, if only that it lives

    def put(self, id: str, raw: bytes) -> bool:
        """Keep an event; True once it is as safe as the profile promises."""
        kept = self.spool.put(id, raw)
        self.sender.notice()
        return kept and self.profile != "memory"

    def attempt(self, id: str, raw: bytes) -> bool | Exception:
        """Keep an event if that can be done at once; returns what stands in the way otherwise."""
        outcome = self.spool.attempt(id, raw)
        self.sender.notice()
        return outcome

    def put_soon(self, id: str, raw: bytes, done: Callable[[Exception | None], None]) -> None:
        """Keep an event without blocking the calling thread; `done` is called in another one."""
        self.spool.enqueue(Ticket(id, raw, done))
        # One thread commits for everybody who waits; while it does, others only add to what waits next.
        if self._lead_wanted.acquire(blocking=False):
            self.threads.submit(self._lead)
        self.sender.notice()

    def _lead(self) -> None:
        self._lead_wanted.release()  # before the commit: whoever comes from now on may not be part of it
        self.spool.commit_pending()

    @property
    def threads(self) -> ThreadPoolExecutor:
        """Threads for what must not block an event loop."""
        if self._threads is None:
            from concurrent.futures import ThreadPoolExecutor  # only event loops need it

            self._threads = ThreadPoolExecutor(4, thread_name_prefix="tallystick")
        return self._threads

    def confirm(self, id: str, raw: bytes, timeout_seconds: float) -> Committed:
        """Return the place in the log of an event that is in the spool already.

        Raises NotConfirmed when the server did not say so in time (the event stays in the spool), ServerRejected
        when it never will (the event is a dead letter).
        """
        if self.settings.url is None:
            raise_unconfirmed(None)
        deadline = time.monotonic() + timeout_seconds
        while True:
            outcome = self._send_one(id, raw)
            if isinstance(outcome, Committed):
                self.spool.settle_id(id, duplicate=outcome.duplicate, repeated=outcome.renumbered)
                return outcome
            pause = max(outcome.after_seconds, _CONFIRM_PAUSE_SECONDS)
            if time.monotonic() + pause >= deadline:
                raise_unconfirmed(outcome)
            time.sleep(pause)

    def _send_one(self, id: str, raw: bytes) -> Committed | Later:
        if self._transport is None:
            self._transport = self._connect()
        try:
            return self._transport.send_one(id, self.spool.stamped(id, raw))
        except ServerRejected as error:
            self.spool.settle_id(id, dead=(error.rule, str(error)))
            raise

    def flush(self, timeout_seconds: float) -> bool:
        """Send now what waits; True when nothing waits any more, False when time ran out (nothing is lost)."""
        if not self.spool.waits():
            return True
        if self.settings.url is None:
            return False
        self.sender.hurry()
        deadline = time.monotonic() + timeout_seconds
        while self.spool.waits():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_FLUSH_LOOK_SECONDS)
        return True

    def stats(self) -> Stats:
        """Return how recording goes."""
        found = counts(self.spool)
        now = int(self._recorder.now().timestamp() * 1000)
        return Stats(
            profile=self.profile,
            queued=found.queued,
            queued_bytes=found.queued_bytes,
            # A clock that was set back makes events from the future; they are not older than nothing.
            oldest_age_seconds=0.0
            if found.oldest_at_ms is None
            else max(0.0, (now - found.oldest_at_ms) / 1000),
            sent=found.sent,
            duplicates=found.duplicates,
            retried=self.sender.retried,
            dead=found.dead,
            lost=found.lost,
        )

    def close(self, timeout_seconds: float) -> bool:
        """Flush, stop the sender and close the file; what is left on disk waits for the next start."""
        sent = self.flush(timeout_seconds)
        self.sender.stop()
        self.sender.join(1.0)
        self.spool.close()
        return sent

    def at_exit(self) -> None:
        """Send what can be sent in the time set for it, and say what is left."""
        if not self.close(self.settings.exit_seconds) and self.spool.file.path is None:
            left = counts(self.spool).queued
            log.error("tallystick: the process ends with %d events in memory that were never sent", left)

    def after_fork_in_child(self) -> None:
        """Begin anew in a child process."""
        self.spool.after_fork_in_child()
        self.sender.after_fork_in_child()
        self._transport = None
        self._threads = None
        self._lead_wanted = threading.Lock()

    def _connect(self) -> Transport:
        assert self.settings.url is not None
        return Transport(self.settings.url, self.settings.api_key)

    def _open_spool(self) -> Spool:
        def opened(path: object) -> Spool:
            chosen = self.settings
            return Spool(
                chosen.path if path else None,
                synchronous=_SYNCHRONOUS[self.profile],
                bytes_max=chosen.bytes_max,
                when_full=chosen.when_full,
                block_seconds=chosen.block_seconds,
                now_ms=unix_ms,
                new_id=self._recorder.new_id,
                producer=chosen.producer,
                producer_default=chosen.producer_default,
            )

        if self.settings.path is None:
            return opened(None)
        try:
            return opened(self.settings.path)
        except Unusable as error:
            # A function on a read-only file system has to record all the same; what that means is said once.
            log.warning(
                "tallystick: no spool on disk is possible (%s); events are kept in memory and die with the process. "
                "Set TALLYSTICK_SPOOL to a folder that can be written", error,
            )  # fmt: skip
            self.profile = "memory"
            self.settings = msgspec.structs.replace(
                self.settings, profile="memory", exit_seconds=max(self.settings.exit_seconds, 30.0)
            )
            return opened(None)


def gap_event_of(recorder: Recorder) -> Callable[[Gap], bytes]:
    """Return what makes the event that tells of those that will not come; their numbers are added when it is sent."""

    def make(gap: Gap) -> bytes:
        told = {
            "reason": gap.reason, "events" if gap.reason in _ACTIONS else "lost": gap.lost or "unknown",
            "from": _instant(gap.first_at_ms), "to": _instant(gap.last_at_ms),
        }  # fmt: skip
        actor = System(name="tallystick-sdk")
        action = _ACTIONS.get(gap.reason, GAP_ACTION)
        outcome = "success" if gap.reason == "repeated" else "failure"
        return recorder.event(
            action, id=gap.id, actor=actor, outcome=outcome, metadata=told, bound=cleared()
        )[1]

    return make


def _instant(ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms / 1000)) + f".{ms % 1000:03d}Z"


_deliveries: dict[tuple[object, ...], Delivery] = {}
_lock = threading.Lock()
_forking: list[Delivery] = []


def delivery(settings: Settings) -> Delivery:
    """Return the process's delivery for these settings; made when it is first asked for."""
    key = (settings.url, settings.api_key, settings.profile, settings.path, settings.when_full)
    with _lock:
        found = _deliveries.get(key)
        if found is None:
            found = Delivery(settings, Recorder(settings.redaction))
            _deliveries[key] = found
        return found


def forget(known: Delivery) -> None:
    """Let the next `delivery` for the same settings make a new one; `known` was closed."""
    with _lock:
        for key, value in list(_deliveries.items()):
            if value is known:
                del _deliveries[key]


def _before_fork() -> None:
    _lock.acquire()
    _forking[:] = _deliveries.values()
    for one in _forking:
        one.spool.before_fork()


def _after_fork_in_parent() -> None:
    for one in reversed(_forking):
        one.spool.after_fork_in_parent()
    _lock.release()


def _after_fork_in_child() -> None:
    global _lock
    for one in _forking:
        one.after_fork_in_child()
    _lock = threading.Lock()


def _at_exit() -> None:
    for one in list(_deliveries.values()):
        one.at_exit()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)
atexit.register(_at_exit)
