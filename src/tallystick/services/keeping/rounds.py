"""The rounds of the purge: every hour, log after log, by one server of those that share a database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from tallystick.errors import AuditError
from tallystick.services.keeping.purge import Purge
from tallystick.store import keeping
from tallystick.store.connect import Pool

log = structlog.get_logger("tallystick.keeping")

LEASE: Final = "purge"
LEASE_TIME: Final = timedelta(minutes=30)  # longer than one log's round should take; renewed before each log
ROUND_SECONDS: Final = 3600.0
FIRST_SECONDS: Final = 60.0


class Rounds:
    """Purges every log in turn; `failures` says what went wrong in the last round, by organization."""

    def __init__(
        self, keeper: Pool, purge: Purge, *, organizations: Callable[[], Awaitable[list[UUID]]],
        now: Callable[[], datetime], holder: str,
    ) -> None:  # fmt: skip
        self.failures: dict[UUID, AuditError] = {}
        self._keeper = keeper
        self._purge = purge
        self._organizations = organizations
        self._now = now
        self._holder = holder

    async def once(self) -> int | None:
        """Purge every log and return how many events went; None when another server does it."""
        removed = 0
        self.failures = {}
        for organization_id in await self._organizations():
            at = self._now()
            if not await keeping.take_lease(self._keeper, LEASE, self._holder, at, at + LEASE_TIME):
                return None
            try:
                removed += await self._purge.run(organization_id)
            except AuditError as error:
                self.failures[organization_id] = error
                log.error("a purge did not end", organization=str(organization_id), detail=str(error))
        await keeping.drop_lease(self._keeper, LEASE, self._holder, self._now())
        return removed

    async def run(self, first_seconds: float = FIRST_SECONDS, round_seconds: float = ROUND_SECONDS) -> None:
        """Make rounds until cancelled."""
        await asyncio.sleep(first_seconds)
        while True:
            try:
                await self.once()
            except AuditError as error:
                log.error("no purge in this round", detail=str(error))
            await asyncio.sleep(round_seconds)
