"""Whether outsiders can still see that nothing is rewritten: looked at now and then, shown to operators at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime

from msgspec import Struct

from tallystick.errors import AuditError
from tallystick.services.instance_log import QUIET_SECONDS_MAX, InstanceLog
from tallystick.services.outside_tasks import OutsideTasks, TaskStanding
from tallystick.services.time_stamps import Stamped, TimeStamps
from tallystick.services.witnessing import QuorumStanding, Witnessing

ROUND_SECONDS = 10.0
START_SECONDS = 60.0  # witnesses have a minute after a start before their silence is called a fault


class OutsideFinding(Struct, frozen=True, kw_only=True):
    """One thing outsiders depend on: is it well, and what is wrong with it when it is not."""

    name: str
    ok: bool
    detail: str = ""


class OutsideStanding(Struct, frozen=True, kw_only=True):
    """Everything there is to show: size of the instance log and when it was signed, witnesses, stamps and tasks."""

    size: int
    signed_at: datetime | None
    quorum: QuorumStanding
    stamps: list[Stamped]
    tasks: list[TaskStanding]


class OutsideHealth:
    """Looks at the instance log, its witnesses, stamps and copies; `figures` are for metrics, as of the last look."""

    def __init__(
        self, log: InstanceLog, witnessing: Witnessing, stamps: TimeStamps, tasks: OutsideTasks, *,
        now: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self.figures: Mapping[str, float] = {}
        self._log = log
        self._witnessing = witnessing
        self._stamps = stamps
        self._tasks = tasks
        self._now = now
        self._began_at = now()

    async def standing(self) -> OutsideStanding:
        """Return how everything stands."""
        log = await self._log.standing()
        return OutsideStanding(
            size=0 if log is None else log.size,
            signed_at=None if log is None else log.signed_at,
            quorum=await self._witnessing.standing(),
            stamps=await self._stamps.newest(),
            tasks=await self._tasks.standings(),
        )

    async def findings(self) -> list[OutsideFinding]:
        """Return what is well and what is not, for people who run this server."""
        return self.findings_of(await self.standing())

    def findings_of(self, standing: OutsideStanding) -> list[OutsideFinding]:
        """Return what is well and what is not in `standing`."""
        found = [self._of_log(standing)]
        if standing.quorum.witnesses:
            found.append(self._of_witnesses(standing.quorum))
        found += [
            OutsideFinding(name=one.title, ok=not one.failure, detail=one.failure) for one in standing.tasks
        ]
        return found

    def _of_log(self, standing: OutsideStanding) -> OutsideFinding:
        wrong = "; ".join(str(error) for error in self._log.failures.values())
        quiet = None if standing.signed_at is None else (self._now() - standing.signed_at).total_seconds()
        if not wrong and not self._is_young and (quiet is None or quiet > 2 * QUIET_SECONDS_MAX):
            wrong = "it was not signed for minutes"
        return OutsideFinding(name="instance log", ok=not wrong, detail=wrong)

    def _of_witnesses(self, quorum: QuorumStanding) -> OutsideFinding:
        said = [
            f"{one.name}: {one.failure or 'nothing heard lately'}"
            for one in quorum.witnesses
            if one.state != "well"
        ]
        alarms = any(one.state == "alarm" for one in quorum.witnesses)
        ok = not alarms and (quorum.is_met or self._is_young)
        head = "" if quorum.is_met else f"Needed are {quorum.needed}; "
        return OutsideFinding(name="witnesses", ok=ok, detail=head + "; ".join(said))

    @property
    def _is_young(self) -> bool:
        return (self._now() - self._began_at).total_seconds() < START_SECONDS

    async def look(self) -> None:
        """Refresh `figures`."""
        standing = await self.standing()
        failed = sum(bool(one.failure) for one in standing.tasks) + len(self._log.failures)
        self.figures = {
            "instance_log_size": standing.size,
            "witnessed_size": standing.quorum.size,
            "witnesses_short": 0 if standing.quorum.is_met else 1,
            "witness_alarms": sum(one.state == "alarm" for one in standing.quorum.witnesses),
            "outside_failures": failed,
        }

    async def run(self, round_seconds: float = ROUND_SECONDS) -> None:
        """Look round by round until cancelled."""
        while True:
            with suppress(AuditError):  # the database is away, which readiness says
                await self.look()
            await asyncio.sleep(round_seconds)
