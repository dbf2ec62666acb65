"""What leaves the building by itself: the instance log, its witnesses, time stamps and published copies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tallystick.config import Settings
from tallystick.runtime.chance import now
from tallystick.runtime.databases import Databases
from tallystick.runtime.examination import installed, read_policy
from tallystick.runtime.recording import Recording
from tallystick.services.instance_log import InstanceLog
from tallystick.services.log import Log
from tallystick.services.outside_health import OutsideHealth
from tallystick.services.outside_tasks import OutsideTasks
from tallystick.services.publishing import Publishing, target_of
from tallystick.services.time_stamps import TimeStamps
from tallystick.services.witnessing import TIMEOUT_SECONDS, Witnessing


@dataclass(frozen=True, kw_only=True)
class Outside:
    """The services that let outsiders see that nothing is rewritten."""

    instance_log: InstanceLog
    witnessing: Witnessing
    time_stamps: TimeStamps
    tasks: OutsideTasks
    health: OutsideHealth

    async def run(self) -> None:
        """Run all of them until cancelled."""
        await asyncio.gather(
            self.instance_log.run(), self.witnessing.run(), self.tasks.run(), self.health.run()
        )

    async def stop(self) -> None:
        """Close the connections to the outside."""
        await self.witnessing.stop()
        await self.time_stamps.stop()


def build_outside(databases: Databases, settings: Settings, recording: Recording) -> Outside:
    """Return what is done for outsiders, on open `databases`; raises Misconfigured when the policy cannot be used."""
    policy = None if settings.policy is None else read_policy(settings.policy)
    writer, reader, signer = databases.writer, databases.reader, recording.signer
    log = InstanceLog(writer, reader, signer, now=now)
    witnessing = Witnessing(writer, reader, log, policy, client=_client, now=now)
    stamps = TimeStamps(writer, reader, log, witnessing, policy, client=_client, now=now)
    publishing = Publishing(reader, signer, recording.log, log, witnessing)
    tasks = stamps.tasks(settings.time_stamp_seconds)
    if settings.publish is not None:
        target = target_of(settings.publish, now=now, lock_days=settings.publish_lock_days)
        tasks.append(publishing.task(target, settings.publish, settings.publish_seconds))
    made = OutsideTasks(writer, tasks, now=now)
    return Outside(
        instance_log=log,
        witnessing=witnessing,
        time_stamps=stamps,
        tasks=made,
        health=OutsideHealth(log, witnessing, stamps, made, now=now),
    )


def _client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(follow_redirects=False, timeout=TIMEOUT_SECONDS)


@asynccontextmanager
async def publisher(data: Path, *, say: Callable[[str], None]) -> AsyncIterator[Publishing]:
    """Give what publishes an installation, whether or not its server runs; raises Misconfigured when there is none."""
    async with installed(data, say=say) as (settings, _, reader, signer):
        policy = None if settings.policy is None else read_policy(settings.policy)
        log = InstanceLog(reader, reader, signer, now=now)
        witnessing = Witnessing(reader, reader, log, policy, client=httpx2.AsyncClient, now=now)
        yield Publishing(reader, signer, Log(reader, signer), log, witnessing)
