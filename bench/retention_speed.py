"""What removing costs: a purge by month and in batches, recording during a purge, and erasing a person.

Run: .venv/bin/python -m bench.retention_speed [EVENTS]
Durable, on one machine, goals in brackets: by month >= 100,000 rows/s, in batches >= 10,000 rows/s, p99 of recording
during a purge <= 2 x without, erasing a person with 10,000 events <= 10 s.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import uvloop

sys.path.insert(0, str(Path(__file__).parent))

import events as believable
from append_cost import REDACTION, Server, temporary_server
from tallystick.event.prepare import Prepared, prepare
from tallystick.services.append import Appender, Limits
from tallystick.services.keeping.door import Door
from tallystick.services.keeping.erasure import Erasures, ErasureWish
from tallystick.services.keeping.policies import Policies
from tallystick.services.keeping.purge import Purge, PurgeLimits
from tallystick.services.permissions import PERMISSIONS
from tallystick.services.principal import Principal
from tallystick.services.sign import Signer
from tallystick.store.connect import Pool, open_pool

BATCH = 1_000
PERSON = {"type": "user", "id": "usr_bench_person", "name": "Bench Person", "email": "person@bench.example"}
PERSON_EVENTS = 10_000
WALL = time.monotonic
BODIES = believable.bodies(5_000)


class Clock:
    """A clock that is moved, and runs on meanwhile."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset


class Bench:
    """One log with all that keeps it."""

    def __init__(self, writer: Pool, keeper: Pool, data: Path) -> None:
        self.clock, self.organization_id = Clock(), uuid4()
        signer = Signer.open(data, instance="bench", random=os.urandom)
        self.appender = Appender(writer, signer, now=self.clock, random=os.urandom)
        self.keeping = Appender(
            keeper, signer, now=self.clock, random=os.urandom, limits=Limits(commit_seconds=300)
        )
        self.door = Door(keeper, self.keeping, redaction_of=lambda _: REDACTION, new_id=uuid4)
        self.policies = Policies(self.door, now=self.clock, new_rule=lambda: "rtp_" + os.urandom(8).hex())
        self.erasures = Erasures(self.door, now=self.clock, new_erasure=lambda: "ers_" + os.urandom(8).hex())
        self.boss = Principal(
            organization_id=self.organization_id, kind="member", id="mbr_b", name="b", permissions=frozenset(PERMISSIONS)
        )  # fmt: skip

    def purge(self, limits: PurgeLimits) -> Purge:
        """Return a purge with these limits."""
        return Purge(self.door, now=self.clock, limits=limits)

    async def fill(self, number: int, **fields: object) -> None:
        """Record so many believable events."""
        for start in range(0, number, BATCH):
            await self.append([made(start + at, **fields) for at in range(min(BATCH, number - start))])

    async def append(self, given: list[Prepared]) -> None:
        """Record these events."""
        await self.appender.append(self.organization_id, given, source="bench")

    async def later(self, days: float) -> None:
        """Keep a checkpoint, and let days pass."""
        self.clock.offset += timedelta(seconds=61)
        await self.appender.refresh(self.organization_id)
        self.clock.offset += timedelta(days=days)


def made(number: int, **fields: object) -> Prepared:
    """Return one believable event, some of its fields given."""
    value = {**json.loads(BODIES[number % len(BODIES)]), **fields, "id": str(uuid4())}
    value.pop("occurred_at", None)
    return prepare(json.dumps(value).encode(), redaction=REDACTION, new_id=uuid4)


async def latencies(
    bench: Bench, while_running: Callable[[], Awaitable[object]]
) -> tuple[list[float], float]:
    """Record single events from 8 callers while something runs; return how long each took, and how long it ran."""
    taken: list[float] = []
    done = asyncio.Event()

    async def caller(seed: int) -> None:
        number = seed
        while not done.is_set():
            number += 8
            began = WALL()
            await bench.append([made(number)])
            taken.append(WALL() - began)
            await asyncio.sleep(0.002)

    callers = [asyncio.create_task(caller(at)) for at in range(8)]
    began = WALL()
    await while_running()
    seconds = WALL() - began
    done.set()
    await asyncio.gather(*callers)
    return sorted(taken), seconds


def p(values: list[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    return values[min(len(values) - 1, int(len(values) * share))] * 1e3


async def run(server: Server, number: int) -> None:
    """Fill a log and take everything out of it again."""
    await server.database("retention")
    pools = {
        "writer": await open_pool(server.logins.writer, role="writer"),
        "keeper": await open_pool(server.logins.keeper, role="keeper"),
    }
    data = server.folder / "signer-of-bench"
    data.mkdir()
    try:
        await measure(Bench(pools["writer"], pools["keeper"], data), number)
    finally:
        for pool in pools.values():
            await pool.close()


async def measure(bench: Bench, number: int) -> None:
    """Measure and print."""
    await bench.appender.start()
    began = WALL()
    await bench.fill(number)
    await bench.later(40)
    await bench.fill(number)
    await bench.later(40)
    await bench.fill(2_000)
    await bench.fill(PERSON_EVENTS, actor=PERSON)
    print(f"filled with {2 * number + 12_000:,} events in {WALL() - began:.0f} s")
    began = WALL()
    done = await bench.erasures.erase(bench.boss, ErasureWish(id=str(PERSON["id"])))
    print(f"erasing a person with {done.events:,} events: {WALL() - began:5.1f} s   [<= 10]")
    await bench.later(250)
    await bench.append([made(1)])
    limits = PurgeLimits()
    # The first month is more than a year old in a moment, the second one 40 days later.
    await bench.later(36)
    began = WALL()
    gone = await bench.purge(limits).run(bench.organization_id)
    seconds = WALL() - began
    print(f"by month: {gone:,} rows in {seconds:.1f} s = {gone / seconds:,.0f} rows/s   [>= 100,000]")
    quiet, _ = await latencies(bench, lambda: asyncio.sleep(10))
    await bench.later(40)
    removed: list[int] = []

    async def purge() -> None:
        batches = PurgeLimits(month_rows=1 << 40)
        removed.append(await bench.purge(batches).run(bench.organization_id))

    busy, seconds = await latencies(bench, purge)
    print(
        f"in batches, while recording: {removed[0]:,} rows in {seconds:.1f} s = {removed[0] / seconds:,.0f} rows/s   [>= 10,000]"
    )
    print(
        f"recording one event, ms: without p50 {p(quiet, 0.5):.1f} p99 {p(quiet, 0.99):.1f}; during the purge p50 "
        f"{p(busy, 0.5):.1f} p99 {p(busy, 0.99):.1f} = {p(busy, 0.99) / p(quiet, 0.99):.2f} x   [<= 2]"
    )
    await bench.appender.stop()
    await bench.keeping.stop()


def main() -> None:
    """Run with the number of events of each month."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with temporary_server() as server:
        uvloop.run(run(server, number))


if __name__ == "__main__":
    main()
