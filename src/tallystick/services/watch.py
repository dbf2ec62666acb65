"""Waiting for a log to grow: told at once by this process's appender, and asking for what other servers append."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import UUID

from tallystick.errors import TryLater

POLL_SECONDS = 0.25
WAITERS_MAX = 10_000


class _Log:
    """One log that someone waits for: (position, waiter) of each, and the task that asks for its size."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, asyncio.Future[int]]] = []
        self.ask = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Watch:
    """Watches logs while anyone waits for them; however many wait for one log, it is asked for once.

    Args:
        size_of: returns how many events a log holds.
    """

    def __init__(
        self,
        size_of: Callable[[UUID], Awaitable[int]],
        *,
        poll_seconds: float = POLL_SECONDS,
        waiters_max: int = WAITERS_MAX,
    ) -> None:
        self._size_of = size_of
        self._poll_seconds = poll_seconds
        self._waiters_max = waiters_max
        self._waiters = 0
        self._logs: dict[UUID, _Log] = {}

    async def wait(self, organization_id: UUID, position: int) -> int:
        """Return the size of the log once it holds an event beyond `position`; TryLater when too many wait."""
        if self._waiters >= self._waiters_max:
            raise TryLater("Too many readers are waiting for new events on this server. Try again shortly.")
        log = self._logs.setdefault(organization_id, _Log())
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        log.waiting.append((position, waiter))
        log.ask.set()
        if log.task is None:
            log.task = asyncio.create_task(self._poll(organization_id, log))
        self._waiters += 1
        try:
            return await waiter
        finally:
            self._waiters -= 1

    def announce(self, organization_id: UUID) -> None:
        """Have the log asked for at once, if anyone waits for it."""
        log = self._logs.get(organization_id)
        if log is not None:
            log.ask.set()

    async def _poll(self, organization_id: UUID, log: _Log) -> None:
        """Ask for the size until nobody waits any more; an error goes to everyone who does."""
        try:
            while log.waiting:
                log.ask.clear()  # before asking: what is announced meanwhile is asked for again
                size = await self._size_of(organization_id)
                log.waiting = [one for one in log.waiting if not _answer(*one, size)]
                if log.waiting:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._poll_seconds):
                            await log.ask.wait()
        except Exception as error:
            for _, waiter in log.waiting:
                if not waiter.done():
                    waiter.set_exception(error)
        finally:
            del self._logs[organization_id]


def _answer(position: int, waiter: asyncio.Future[int], size: int) -> bool:
    """Answer a waiter if the log is beyond its position; tell whether it is done with."""
    if not waiter.done() and size > position + 1:
        waiter.set_result(size)
    return waiter.done()
