"""A filled log, a superuser on its database, and both ways to verify it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest_asyncio

from postgres import Cluster, Database
from services.appending import LOG, OTHER_LOG, Clock, LogUnderTest, event, events
from tallystick.catalogue.describe import verb_of
from tallystick.services.verify import Verify
from tallystick.verify.dump import verify_dump
from tallystick.verify.instance import Means
from tallystick.verify.known import Kept
from tallystick.verify.report import Report

EVENTS = 600


@dataclass
class Scene:
    """A filled log, a superuser on its database, and both ways to verify it."""

    log: LogUnderTest
    superuser: asyncpg.Connection
    database: Database
    programs: Any
    kept: list[Kept]

    async def live(self, *, known: bool = False) -> Report:
        """Verify the live database."""
        service = Verify(self.log.pool, keys=(self.log.verifier, self.log.signer.clock()), random=os.urandom)
        return await service.database(kept=self.kept if known else ())

    def dump(self) -> bytes:
        """Dump the database as text."""
        return subprocess.run(
            [self.programs / "pg_dump", "--format=plain", "--schema=public", self.database.superuser.url],
            check=True,
            capture_output=True,
        ).stdout

    def dumped(self, *, known: bool = False) -> Report:
        """Verify a dump."""
        return verify_bytes(self.dump(), self.log, kept=self.kept if known else [])

    async def allow_edits(self) -> None:
        """Switch off every trigger and drop every constraint that stands in a forger's way."""
        await self.superuser.execute("SET session_replication_role = replica")
        await self.superuser.execute("ALTER TABLE audit_logs DROP CONSTRAINT leaf_hash_is_of_leaf")
        await self.superuser.execute("ALTER TABLE log_tiles DROP CONSTRAINT log_tiles_hashes_check")
        await self.superuser.execute("ALTER TABLE audit_logs DROP CONSTRAINT audit_logs_pkey")


def verify_bytes(dump: bytes, log: LogUnderTest, kept: list[Kept], *, keys: bool = True) -> Report:
    pieces = [dump[at : at + 65_536] for at in range(0, len(dump), 65_536)]
    means = Means(
        verb_of=verb_of,
        secret=os.urandom(32),
        keys=(log.verifier, log.signer.clock()) if keys else (),
        kept=kept,
    )
    return verify_dump(lambda: iter(pieces), means)


@pytest_asyncio.fixture
async def scene(
    log: LogUnderTest, clock: Clock, database: Database, postgres_programs: Any, postgres_cluster: Cluster
) -> AsyncIterator[Scene]:
    """A log of 600 events over three months, another of 3, with checkpoints and receipts kept from the way."""
    other = LogUnderTest(log.pool, log.data, clock, organization_id=OTHER_LOG)
    superuser = await asyncpg.connect(database.superuser.url)
    await superuser.execute(
        "INSERT INTO organizations (id, display_name) VALUES ($1, 'ours'), ($2, 'other')", LOG, OTHER_LOG
    )
    kept = []
    for size in (100, 200, 57, 43, 200):
        await log.append(events(size))
        kept.append(Kept(f"checkpoint {size}", await log.log.checkpoint(LOG)))
        clock.move(days=20)
    await other.append(
        [*events(2), event(actor={"type": "system", "name": "Cron"}, targets=None, context=None)]
    )
    kept.append(Kept("receipt", await log.log.receipt(LOG, 123)))
    yield Scene(log, superuser, database, postgres_programs, kept)
    await superuser.close()
    await other.stop()
