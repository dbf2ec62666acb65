"""What is written about the use of Tallystick without drowning the log: looks, refusals, uses of powerful keys.

The first of a kind is an event of its own at once. The same again within its window is counted, and the count becomes
one event when the window closes, so that a page reloaded a thousand times a minute costs two events a minute. What
must be on record before it is answered (exports, views of an event) waits for its commit; all else is written beside
the answer, and tried again with the same id until the log has it. Reasons are in docs/decisions/log-of-the-log.md.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog
from msgspec.structs import replace

from tallystick.errors import AuditError, Refused, TooLarge, TryLater, UnknownOutcome
from tallystick.event.model import Actor, Event
from tallystick.event.moment import instant_text
from tallystick.services.ingest import Ingest

log = structlog.get_logger("tallystick.own_log")

WINDOW_SECONDS = 60.0
WINDOWS_MAX = 10_000
WAITING_MAX = 10_000
WAITING_OF_ONE_MAX = 1_000  # of one organization, so that a log that accepts nothing stops no other
ATTEMPTS_MAX = 1_000
AT_ONCE = 50
ROUND_SECONDS = 0.5
STOP_SECONDS = 5.0
_TRIES = 3


# Whose a refused credential was, and why it is refused; None when nobody knows it.
Holder = tuple[UUID, Actor, str]
FindHolder = Callable[[str], Awaitable[Holder | None]]


class _Window:
    """What was seen once, until when the same counts as seen again, and how often it was."""

    __slots__ = ("again", "event", "last", "organization_id", "recorded", "until")

    def __init__(self, organization_id: UUID, event: Event, until: float) -> None:
        self.organization_id = organization_id
        self.event = event
        self.until = until
        self.again = 0
        self.last: datetime | None = None
        self.recorded: asyncio.Task[None] | None = None


class OwnLog:
    """Writes what was noticed; `run` must run beside, `stop` writes what is left.

    Args:
        ingest: records events of this process.
        new_id: makes ids of events, so that one that was perhaps written is written once.
        now: the clock, in UTC.
        monotonic: seconds that never go back.
        find_holder: says whose a refused credential was.
        unknown: called for each refused credential that is nobody's.
        appended: called with an organization whose log has grown.
    """

    def __init__(
        self,
        ingest: Ingest,
        *,
        new_id: Callable[[], UUID],
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        find_holder: FindHolder,
        unknown: Callable[[], None] = lambda: None,
        appended: Callable[[UUID], None] = lambda _: None,
    ) -> None:
        self._ingest = ingest
        self._new_id = new_id
        self._now = now
        self._monotonic = monotonic
        self._find_holder = find_holder
        self._unknown = unknown
        self._appended = appended
        self._attempts: deque[tuple[str, bytes, Callable[[Actor, str], Event]]] = deque()
        self._windows: OrderedDict[tuple[UUID, Hashable], _Window] = OrderedDict()
        self._waiting: deque[tuple[UUID, Event]] = deque()
        self._waiting_of: Counter[UUID] = Counter()
        self._wake = asyncio.Event()
        self.failures = 0
        self.late = ""
        """Why what waits could not be written the last time it was tried, "" when it could."""

    @property
    def waiting(self) -> int:
        """How many events and attempts wait, or are just being written or looked into."""
        return self._waiting_of.total() + len(self._attempts)

    def notice(
        self,
        organization_id: UUID,
        about: Hashable,
        make: Callable[[], Event],
        *,
        seconds: float = WINDOW_SECONDS,
    ) -> None:
        """Note something beside the answer; `about` says what counts as the same again within `seconds`.

        `make` gives the event of the first time. Raises TryLater when too much waits to be written already: what
        cannot be put on record must not go on unseen.
        """
        if self._seen_again(organization_id, about) is not None:
            return
        window = self._open(organization_id, about, make, seconds)
        self._put(organization_id, window.event)

    async def record(
        self,
        organization_id: UUID,
        about: Hashable,
        make: Callable[[], Event],
        *,
        seconds: float = WINDOW_SECONDS,
    ) -> None:
        """Return when it is on record that this happened; raises what `Appender.append` raises, then it is not.

        The same again within `seconds` is counted, once the first time is on record; `seconds` 0 counts nothing.
        """
        window = self._seen_again(organization_id, about)
        if window is None:
            window = self._open(organization_id, about, make, seconds)
            window.recorded = asyncio.create_task(self._write(organization_id, window.event))
            window.recorded.add_done_callback(lambda task: self._forget_failed(organization_id, about, task))
        if window.recorded is not None:
            # Who goes away must not cancel what others wait for.
            await asyncio.shield(window.recorded)

    def _forget_failed(self, organization_id: UUID, about: Hashable, task: asyncio.Task[None]) -> None:
        """Have the next time count as the first one, when this one is not on record."""
        if not task.cancelled() and task.exception() is None:
            return
        window = self._windows.get((organization_id, about))
        if window is not None and window.recorded is task:
            del self._windows[organization_id, about]

    def investigate(self, credential: str, digest: bytes, make: Callable[[Actor, str], Event]) -> bool:
        """Have it found out, beside the answer, whose a refused credential was, and note the attempt under its holder.

        False when too many wait for that already: the caller counts it.
        """
        if len(self._attempts) >= ATTEMPTS_MAX:
            return False
        self._attempts.append((credential, digest, make))
        self._wake.set()
        return True

    async def _investigate_all(self) -> None:
        while self._attempts:
            credential, digest, make = self._attempts[0]
            try:
                holder = await self._find_holder(credential)
                if holder is None:
                    self._unknown()
                else:
                    organization_id, actor, why = holder
                    self.notice(organization_id, ("attempt", digest), partial(make, actor, why))
            except AuditError as error:
                self.failures += 1
                log.error("an attempt is not on record", detail=str(error))
                return
            self._attempts.popleft()

    def _seen_again(self, organization_id: UUID, about: Hashable) -> _Window | None:
        window = self._windows.get((organization_id, about))
        if window is None or self._monotonic() >= window.until:
            return None
        window.again += 1
        window.last = self._now()
        return window

    def _open(
        self, organization_id: UUID, about: Hashable, make: Callable[[], Event], seconds: float
    ) -> _Window:
        key = (organization_id, about)
        if (over := self._windows.pop(key, None)) is not None:
            self._close(over)
        if len(self._waiting) >= WAITING_MAX or self._waiting_of[organization_id] >= WAITING_OF_ONE_MAX:
            raise TryLater(
                "Tallystick records who reads its log, and too much of that waits to be written. Nothing is shown or "
                "changed until it is. Try again in a moment; if this lasts, an operator must look at /readyz."
            )
        event = replace(make(), id=str(self._new_id()), occurred_at=instant_text(self._now()))
        window = _Window(organization_id, event, self._monotonic() + seconds)
        self._windows[key] = window
        if len(self._windows) > WINDOWS_MAX:
            self._close(self._windows.popitem(last=False)[1])
        return window

    def _close(self, window: _Window) -> None:
        if not window.again or window.last is None:
            return
        metadata = {**(window.event.metadata or {}), "again": window.again, "first": window.event.id}
        event = replace(
            window.event, id=str(self._new_id()), occurred_at=instant_text(window.last), metadata=metadata
        )
        self._put(window.organization_id, event)

    def _put(self, organization_id: UUID, event: Event) -> None:
        self._waiting.append((organization_id, event))
        self._waiting_of[organization_id] += 1
        self._wake.set()

    async def run(self) -> None:
        """Write what waits and close windows, until cancelled."""
        while True:
            self._close_due(self._monotonic())
            await self._investigate_all()
            if not await self._write_waiting():
                await asyncio.sleep(ROUND_SECONDS)  # the database is away or busy: no hurry
                continue
            self._wake.clear()
            try:
                async with asyncio.timeout(ROUND_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def stop(self) -> None:
        """Close every window and write what waits, within a few seconds; says how much could not be written."""
        self._close_due(float("inf"))
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._investigate_all()
                await self._write_waiting()
        except TimeoutError:
            pass
        if self._waiting:
            log.error("own events lost at the stop", number=len(self._waiting))

    def _close_due(self, at: float) -> None:
        for key in [key for key, window in self._windows.items() if window.until <= at]:
            self._close(self._windows.pop(key))

    async def _write_waiting(self) -> bool:
        """Write what waits, `AT_ONCE` at a time; tell whether all of it is written."""
        self.late = ""
        for _ in range(-(-len(self._waiting) // AT_ONCE)):
            taken = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            try:
                written = await asyncio.gather(*(self._try(*one) for one in taken))
            except asyncio.CancelledError:
                self._waiting.extendleft(
                    reversed(taken)
                )  # their ids are fixed: writing them again is harmless
                raise
            for one, done in zip(taken, written, strict=True):
                if done:
                    self._count_down(one[0])
                else:
                    self._waiting.append(one)
        return not self._waiting

    def _count_down(self, organization_id: UUID) -> None:
        self._waiting_of[organization_id] -= 1
        if not self._waiting_of[organization_id]:
            del self._waiting_of[organization_id]

    async def _try(self, organization_id: UUID, event: Event) -> bool:
        try:
            await self._write(organization_id, event)
        except (Refused, TooLarge) as error:
            self.failures += 1  # a defect of ours: trying again would never end
            log.error("an own event cannot be written", action=event.action, detail=str(error))
        except AuditError as error:
            self.failures += 1
            self.late = f"Events about the use of this server wait to be written. {error}"
            log.error("an own event is not written yet", action=event.action, detail=str(error))
            return False
        except Exception:
            self.failures += 1
            self.late = (
                "Events about the use of this server wait to be written; the server's log has the reason."
            )
            log.exception("an own event is not written yet", action=event.action)
            return False
        return True

    async def _write(self, organization_id: UUID, event: Event) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                await self._ingest.record_own(organization_id, event)
                break
            except UnknownOutcome:
                if attempt == _TRIES:
                    raise
        self._appended(organization_id)
