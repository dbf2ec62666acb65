"""What is done beside the log now and then: time stamps, publishing. One server at a time, with back-off, and never silently."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec import Struct

from tallystick.errors import AuditError
from tallystick.store import witnesses as stored
from tallystick.store.connect import Pool

ROUND_SECONDS = 2.0
LEASE_SECONDS = 900.0
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 30.0, 3600.0
FAILURE_CHARS_MAX = 500


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do every so often; `do` returns in words what it did, or raises what kept it from it."""

    name: str
    title: str
    every_seconds: float
    do: Callable[[], Awaitable[str]]


class TaskStanding(Struct, frozen=True, kw_only=True):
    """How a task stands: when it last went well and what it did then, and what it failed with since, "" when it did not."""

    name: str
    title: str
    done_at: datetime | None
    done: str
    failure: str


class OutsideTasks:
    """Runs tasks in their time, on one of the servers of a database."""

    def __init__(self, writer: Pool, tasks: Sequence[Task], *, now: Callable[[], datetime]) -> None:
        self._writer = writer
        self.tasks = tuple(tasks)
        self._now = now

    async def round(self) -> None:
        """Do whatever is due, all at once."""
        await asyncio.gather(*(self._turn(task) for task in self.tasks))

    async def _turn(self, task: Task) -> None:
        at = self._now()
        known = await stored.task(self._writer, task.name)
        if known is not None and known.next_at > at:
            return
        row = await stored.claim_task(self._writer, task.name, at, at + timedelta(seconds=LEASE_SECONDS))
        if row is None:
            return
        try:
            done = await task.do()
        except AuditError as error:
            wait = min(RETRY_SECONDS_MAX, RETRY_SECONDS_MIN * 2 ** min(row.failures, 10))
            next_at = self._now() + timedelta(seconds=min(wait, max(task.every_seconds, 1.0)))
            await stored.task_failed(self._writer, task.name, str(error)[:FAILURE_CHARS_MAX], next_at)
        else:
            at = self._now()
            next_at = at + timedelta(seconds=task.every_seconds)
            await stored.task_done(self._writer, task.name, at, done[:FAILURE_CHARS_MAX], next_at)

    async def standings(self) -> list[TaskStanding]:
        """Return how every task stands."""
        return [await standing_of(self._writer, task.name, task.title) for task in self.tasks]

    async def run(self, round_seconds: float = ROUND_SECONDS) -> None:
        """Do what is due, round by round, until cancelled."""
        while self.tasks:
            with suppress(AuditError):  # the database is away, which readiness says
                await self.round()
            await asyncio.sleep(round_seconds)


async def standing_of(pool: Pool, name: str, title: str) -> TaskStanding:
    """Return how a task stands, as the database knows."""
    row = await stored.task(pool, name)
    done_at = None if row is None or row.done_at.year < 2000 else row.done_at
    return TaskStanding(
        name=name, title=title, done_at=done_at, done="" if row is None else row.done,
        failure="" if row is None else row.failure,
    )  # fmt: skip
