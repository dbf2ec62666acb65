"""The appender: callers hand in prepared events, one task for each busy log commits them in groups.

While one group commits the next one gathers; there is no timer, so latency follows the load. A caller that goes
away cancels nothing. What an outcome is and what must hold is in store/DESIGN.md.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tallystick.errors import Misconfigured, Tampered, TryLater
from tallystick.event.prepare import Prepared
from tallystick.services.commit import Committer, Line
from tallystick.services.group import Appended, Before, Group, Inside, Job
from tallystick.services.sign import Signer, explain
from tallystick.store import logs
from tallystick.store.connect import Pool


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the appender; at the queue's bounds callers are told to come back (TryLater).

    Calls of `small_job` events or fewer go before larger ones; `one_trip` rows or fewer are appended in one
    statement; `early` waiting events make the next group form while one is still committing; after
    `commit_seconds` the outcome of a commit counts as unknown; `logs` are remembered between appends.
    """

    queue_events: int = 50_000
    queue_bytes: int = 128 << 20
    group_events: int = 2_000
    group_bytes: int = 16 << 20
    small_job: int = 20
    one_trip: int = 200
    early: int = 200
    commits_at_once: int = 4
    commit_seconds: float = 20.0
    logs: int = 1_000


class _Lane:
    """One organization's way into its log: the calls that wait, and its task while there are any."""

    __slots__ = ("events", "large", "line", "small", "task", "wake")

    def __init__(self, line: Line) -> None:
        self.line = line
        self.small: deque[Job] = deque()
        self.large: deque[Job] = deque()
        self.events = 0
        self.task: asyncio.Task[None] | None = None
        self.wake: asyncio.Future[None] | None = None

    def poke(self) -> None:
        """Wake the lane's task if it waits for a commit to end or for enough events."""
        if self.wake is not None and not self.wake.done():
            self.wake.set_result(None)


class Appender:
    """Appends events to the logs of one database, each log in its own order, all logs fairly.

    `writer` is a pool of the writing role, `now` the clock in UTC, `random` gives that many random bytes.
    Several appenders may work on one database, in one process or in many.
    """

    def __init__(
        self,
        writer: Pool,
        signer: Signer,
        *,
        now: Callable[[], datetime],
        random: Callable[[int], bytes],
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._pool = writer
        self._signer = signer
        self._now = now
        self._committer = Committer(
            writer,
            signer,
            now=now,
            random=random,
            one_trip=self.limits.one_trip,
            at_once=self.limits.commits_at_once,
            seconds_max=self.limits.commit_seconds,
        )
        self._lanes: OrderedDict[UUID, _Lane] = OrderedDict()
        self._events = 0
        self._bytes = 0
        self._stopping = False

    @property
    def waiting(self) -> tuple[int, int]:
        """How many events, and bytes of events, wait to be appended."""
        return self._events, self._bytes

    @property
    def tampered(self) -> Mapping[UUID, Tampered]:
        """The logs that accept nothing until a human has looked, and why."""
        return self._committer.tampered

    async def start(self) -> None:
        """Compare every log with what was signed, and make the partitions that are needed first.

        Raises Misconfigured when the database holds less than was signed: it was set back, or is another one.
        """
        # What was signed is read first: another server may append, commit and confirm between the two.
        states = list(self._signer.states())
        sizes = {
            self._signer.origin(head.organization_id): head.size for head in await logs.heads(self._pool)
        }
        for origin, signed in states:
            size = sizes.get(origin, 0)
            if origin.startswith(f"{self._signer.instance}/o/") and size < signed.size:
                raise Misconfigured(explain(origin, signed, size), rule="rollback")
        await self._committer.ensure_months(self._now())

    async def append(
        self,
        organization_id: UUID,
        events: Sequence[Prepared],
        *,
        source: str,
        violations: Mapping[int, bytes] | None = None,
        inside: Inside | None = None,
        before: Before | None = None,
    ) -> Appended:
        """Append `events` in their order, next to each other, and return a result for each.

        A result is Stored, Conflict for an id used before with other content, or another error of that event
        alone. `violations` (index → JSON) puts events into quarantine as well. `inside` is called with the rows
        written and their positions known, in a transaction that this call then has for itself; what it raises
        undoes the append.

        Raises TryLater when the queue is full or the database away, UnknownOutcome when a commit was not
        confirmed (the same ids may be sent again), Tampered when the log was changed behind our back.
        """
        if self._stopping:
            raise TryLater("The server is stopping. Nothing of this call was stored.", retry_after_seconds=5)
        if not events and inside is None:
            return Appended([])
        return await self._submit(
            organization_id, Job(events, source, violations=violations, inside=inside, before=before)
        )

    async def refresh(self, organization_id: UUID) -> None:
        """Sign and store a checkpoint of now, even though nothing happened in this log."""
        await self._submit(organization_id, Job((), ""))

    async def stop(self) -> None:
        """Refuse new events, commit those that wait, and sync the signer."""
        self._stopping = True
        while tasks := [lane.task for lane in self._lanes.values() if lane.task]:
            await asyncio.wait(tasks)
        await self._committer.settled()
        await asyncio.to_thread(self._signer.sync)

    async def _submit(self, organization_id: UUID, job: Job) -> Appended:
        limits = self.limits
        full = self._events + len(job.events) > limits.queue_events
        if self._events and (full or self._bytes + job.size_bytes > limits.queue_bytes):
            raise TryLater("Too many events are waiting to be stored. Nothing of this call was stored.")
        lane = self._lane(organization_id)
        is_small = len(job.events) <= limits.small_job and job.inside is None
        (lane.small if is_small else lane.large).append(job)
        self._count(lane, job, 1)
        if lane.task is None:
            lane.task = asyncio.create_task(self._run(organization_id, lane))
        elif lane.events >= limits.early:
            lane.poke()
        # A caller that goes away cancels this future and nothing else: the job belongs to the lane's task.
        return await job.answered

    def _lane(self, organization_id: UUID) -> _Lane:
        lane = self._lanes.get(organization_id)
        if lane is not None:
            self._lanes.move_to_end(organization_id)
            return lane
        lane = self._lanes[organization_id] = _Lane(self._committer.line(organization_id))
        if len(self._lanes) > self.limits.logs:
            others = (key for key, one in self._lanes.items() if one.task is None and one is not lane)
            if (idle := next(others, None)) is not None:
                del self._lanes[idle]
        return lane

    def _count(self, lane: _Lane, job: Job, sign: int) -> None:
        lane.events += sign * len(job.events)
        self._events += sign * len(job.events)
        self._bytes += sign * job.size_bytes

    def _gather(self, lane: _Lane) -> list[Job]:
        """Take the next group's jobs out of the queue: small ones first, then at least one large one."""
        jobs: list[Job] = []
        room_events, room_bytes = self.limits.group_events, self.limits.group_bytes
        for queue in (lane.small, lane.large):
            takes_one = True
            while queue:
                job = queue[0]
                fits = len(job.events) <= room_events and job.size_bytes <= room_bytes
                if jobs and (job.inside is not None or not (fits or takes_one)):
                    break
                jobs.append(queue.popleft())
                self._count(lane, job, -1)
                room_events -= len(job.events)
                room_bytes -= job.size_bytes
                takes_one = False
                if job.inside is not None:
                    return jobs
        return jobs

    async def _run(self, organization_id: UUID, lane: _Lane) -> None:
        try:
            await self._work(lane)
        except BaseException as error:  # a defect of ours, or the loop is closing: nobody may wait for ever
            for job in (*lane.small, *lane.large):
                self._count(lane, job, -1)
                job.fail(error)
            lane.small.clear()
            lane.large.clear()
            self._lanes.pop(organization_id, None)
            raise
        finally:
            lane.task = None

    async def _work(self, lane: _Lane) -> None:
        committing: asyncio.Task[None] | None = None
        while True:
            jobs = self._gather(lane)
            group = Group.of(jobs)
            is_ready = bool(jobs) and await self._committer.prepare(lane.line, group)
            if committing is not None:
                await committing
                committing = None
            elif not jobs:
                return
            if not is_ready:
                continue
            lane.wake = asyncio.get_running_loop().create_future()
            # Before the task runs: the next group may be prepared first, and must not name the same people anew.
            lane.line.pending = group.new_refs
            committing = asyncio.create_task(self._committer.commit(lane.line, group))
            committing.add_done_callback(lambda _: lane.poke())
            # Few events waiting are better gathered until the commit is through, many are sealed meanwhile.
            if lane.events < self.limits.early:
                await lane.wake
