"""The heartbeat: a checkpoint signed at least once a minute in every log, so that quiet hours are provable too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from tallystick.errors import AuditError
from tallystick.services.append import Appender
from tallystick.services.sign import Signer
from tallystick.store import logs
from tallystick.store.connect import Pool

QUIET_SECONDS_MAX = 60.0
ROUND_SECONDS = 5.0
SYNC_SECONDS = 1.0
LOGS_AT_ONCE = 16
_MARGIN_SECONDS = 3 * ROUND_SECONDS


class Heartbeat:
    """Refreshes the checkpoint of every log that was quiet for a while, and syncs the signer every second.

    `failures` tells what went wrong in the last round, by organization; nothing of it stops the next round.
    """

    def __init__(
        self, pool: Pool, appender: Appender, signer: Signer, *, now: Callable[[], datetime]
    ) -> None:
        self.failures: dict[UUID, AuditError] = {}
        self._pool = pool
        self._appender = appender
        self._signer = signer
        self._now = now

    async def beat(self) -> int:
        """Refresh every log that would otherwise be quiet for a minute; return how many were refreshed."""
        before = self._now() - timedelta(seconds=QUIET_SECONDS_MAX - _MARGIN_SECONDS)
        self.failures = {}
        refreshed = 0
        while quiet := await logs.quiet_logs(self._pool, before, LOGS_AT_ONCE + len(self.failures)):
            due = [organization_id for organization_id in quiet if organization_id not in self.failures]
            if not due:
                break
            refreshed += sum(
                await asyncio.gather(*(self._refresh(organization_id) for organization_id in due))
            )
        return refreshed

    async def _refresh(self, organization_id: UUID) -> bool:
        try:
            await self._appender.refresh(organization_id)
        except AuditError as error:
            self.failures[organization_id] = error
            return False
        return True

    async def run(self, round_seconds: float = ROUND_SECONDS, sync_seconds: float = SYNC_SECONDS) -> None:
        """Beat and sync until cancelled."""
        await asyncio.gather(self._beat_for_ever(round_seconds), self._sync_for_ever(sync_seconds))

    async def _beat_for_ever(self, seconds: float) -> None:
        while True:
            try:
                await self.beat()
            except AuditError as error:
                self.failures[UUID(int=0)] = (
                    error  # the database is away: readiness says so, the next round retries
                )
            await asyncio.sleep(seconds)

    async def _sync_for_ever(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self._signer.sync)
