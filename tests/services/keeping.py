"""What the tests of retention, holds and erasure share: a log that ages, and everything that keeps or removes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from services.appending import REDACTION, Clock, LogUnderTest, events
from tallystick.query.model import Query
from tallystick.services.append import Appender, Limits
from tallystick.services.export import Export
from tallystick.services.keeping.door import Door
from tallystick.services.keeping.erasure import Erasures
from tallystick.services.keeping.holds import Holds
from tallystick.services.keeping.policies import Policies
from tallystick.services.keeping.purge import Purge, PurgeLimits
from tallystick.services.permissions import PERMISSIONS
from tallystick.services.principal import Principal
from tallystick.services.verify import Verify
from tallystick.store.connect import EVERY, transaction
from tallystick.verify.export import verify_export
from tallystick.verify.report import Report

QUICK = PurgeLimits(
    batch_rows=100, pause_seconds=0.0, month_rows=200, patience=timedelta(seconds=2), attempts=3
)


def boss(organization_id: UUID, name: str = "boss") -> Principal:
    """Return somebody who may do everything."""
    return Principal(
        organization_id=organization_id, kind="member", id=f"mbr_{name}", name=name, permissions=frozenset(PERMISSIONS)
    )  # fmt: skip


@dataclass
class Office:
    """A log, its clock, and all that keeps it."""

    log: LogUnderTest
    clock: Clock
    pools: Any
    appender: Appender
    limits: PurgeLimits = QUICK

    def __post_init__(self) -> None:
        self.door = Door(self.pools.keeper, self.appender, redaction_of=lambda _: REDACTION, new_id=uuid4)
        self.policies = Policies(self.door, now=self.clock, new_rule=lambda: "rtp_" + os.urandom(8).hex())
        self.holds = Holds(self.door, new_hold=lambda: "hld_" + os.urandom(8).hex())
        self.erasures = Erasures(self.door, now=self.clock, new_erasure=lambda: "ers_" + os.urandom(8).hex())
        self.purge = Purge(self.door, now=self.clock, limits=self.limits)
        self.verify = Verify(
            self.pools.reader,
            keys=[self.log.verifier, self.log.signer.clock()],
            random=os.urandom,
        )
        self.export = Export(self.pools.reader, self.log.signer, now=self.clock)
        self.boss = boss(self.log.organization_id)

    async def age(self, number: int, *, days: float = 0.0) -> None:
        """Record `number` events, sign that nothing happened for a minute, then let `days` pass."""
        if number:
            await self.log.append(events(number))
        self.clock.move(seconds=61)
        await self.log.appender.refresh(self.log.organization_id)
        self.clock.move(days=days)

    async def present(self) -> list[int]:
        """Return the positions that still have a row."""
        async with transaction(self.pools.reader, reading=True, organization=EVERY) as connection:
            rows = await connection.fetch(
                "SELECT position FROM audit_logs WHERE organization_id = $1 ORDER BY position",
                self.log.organization_id,
            )
        return [row["position"] for row in rows]

    async def exported(self, **query: Any) -> bytes:
        """Return the JSONL export of what a query asks for, for who sees all."""
        lines = await self.export.jsonl(self.boss, Query(**query))
        return b"".join([piece async for piece in lines])

    def check(self, export: bytes) -> Report:
        """Verify an export by both roads, which must agree."""
        keys = (self.log.verifier, self.log.signer.clock())
        quick = verify_export([export], keys=keys)
        careful = verify_export(
            [export], keys=keys, spread=lambda _, blocks: ((block, None) for block in blocks)
        )
        assert quick == careful
        return quick

    async def proven(self) -> Report:
        """Verify the live log from outside and expect it to be proven."""
        report = await self.verify.log(self.log.organization_id)
        assert report.verdict == "proven", (report.violated, report.unchecked)
        return report


async def office_of(log: LogUnderTest, pools: Any, clock: Clock) -> Office:
    """Return all that keeps a log."""
    appender = Appender(
        pools.keeper, log.signer, now=clock, random=os.urandom, limits=Limits(commit_seconds=60)
    )
    log.appenders.append(appender)
    await log.appender.start()
    return Office(log, clock, pools, appender)
