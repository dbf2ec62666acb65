"""A PostgreSQL that can be killed in every way and comes back: the embedded one, as safe as in production.

The simulated power cut is the honest part of losing power that a test can have without a machine of its own. What
decides whether an acknowledged event survives is whether its commit record was flushed to the disk before the
answer left. So at the cut every process is stopped where it stands, the server is asked how far its log is flushed
(pg_current_wal_flush_lsn), all processes are killed, and every byte of the log beyond that point is destroyed, as
if the page cache had gone. Not simulated: loss of unflushed data pages, which PostgreSQL writes anew from its log.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg

from tallystick.store import embedded, migrate
from tallystick.store.cluster import Server
from tallystick.store.connect import Dsn, Logins

SEGMENT_BYTES = 16 << 20
OURS = "application_name LIKE 'tallystick%'"


class Database(embedded.EmbeddedPostgres):
    """The database of several servers, and the ways to hurt it."""

    def __init__(self, data: Path, *, say: Callable[[str], None]) -> None:
        super().__init__(data, new_password=lambda: secrets.token_hex(16), say=say)
        self._flushed: int | None = None

    async def begin(self) -> Logins:
        """Start, make database and roles, and return where each role signs in."""
        self.superuser = await self.start()
        logins = self.logins(migrate.DATABASE)
        await migrate.make_database(self.superuser, logins)
        self.dsn = self.superuser.with_database(migrate.DATABASE)
        return logins

    async def terminate_backend(self, chance: random.Random) -> bool:
        """Have the server end a connection of ours; False when there is none."""
        return await asyncio.to_thread(self._end_one, chance, None)

    async def kill_backend(self, chance: random.Random) -> bool:
        """SIGKILL a process that serves a connection of ours: the server restarts all of them."""
        return await asyncio.to_thread(self._end_one, chance, signal.SIGKILL)

    async def kill_postmaster(self) -> bool:
        """SIGKILL the server's first process."""
        pid = self.pid
        if pid is None:
            return False
        embedded.send(pid, signal.SIGKILL)
        await self._died(pid)
        return True

    async def cut_power(self) -> bool:
        """Kill every process at once and destroy what was not flushed to the disk; see the module's words."""
        pid = self.pid
        if pid is None or self._server is None:
            return False
        flushed = await asyncio.to_thread(self._stop_and_ask, self._server)
        if flushed is None:
            return False
        self._flushed = flushed
        for one in embedded.leftovers(self._server.cluster):
            embedded.send(one, signal.SIGKILL)
        await self._died(pid)
        return True

    async def _died(self, pid: int) -> None:
        while self.pid == pid:
            await asyncio.sleep(0.01)

    async def answers(self, seconds: float = 60.0) -> None:
        """Wait until the server answers again."""
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(_answers, self.superuser):
                await asyncio.sleep(0.05)

    async def _launch(self, server: Server) -> None:
        if self._flushed is not None:
            await self._clear_leftovers(server)
            await asyncio.to_thread(destroy_beyond, server.cluster / "pg_wal", self._flushed)
            self._flushed = None
        await super()._launch(server)

    def _end_one(self, chance: random.Random, number: signal.Signals | None) -> bool:
        try:
            with psycopg.connect(self.superuser.url, autocommit=True, connect_timeout=5) as session:
                rows = session.execute(
                    f"SELECT pid FROM pg_stat_activity WHERE {OURS} ORDER BY pid"
                ).fetchall()
                if not rows:
                    return False
                (pid,) = chance.choice(rows)
                if number is None:
                    session.execute("SELECT pg_terminate_backend(%s)", [pid])
                else:
                    os.kill(pid, number)
                return True
        except (psycopg.Error, ProcessLookupError):
            return False

    def _stop_and_ask(self, server: Server) -> int | None:
        """Stop every process but the one that answers, and return how far the log is flushed; None = try again."""
        try:
            with psycopg.connect(self.superuser.url, autocommit=True, connect_timeout=5) as session:
                mine = session.info.backend_pid
                stopped = [pid for pid in embedded.leftovers(server.cluster) if pid != mine]
                # The first process last: it would take a stopped child for a healthy one, but start new ones.
                for pid in sorted(stopped, key=lambda pid: pid == self.pid):
                    embedded.send(pid, signal.SIGSTOP)
                try:
                    # A stopped process may hold a lock that even this needs; then all go on and the cut is tried again.
                    session.execute("SET statement_timeout = '2s'")
                    row = session.execute("SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn").fetchone()
                except psycopg.Error:
                    for pid in stopped:
                        embedded.send(pid, signal.SIGCONT)
                    return None
                assert row is not None
                return int(row[0])
        except psycopg.Error:
            return None


def _answers(dsn: Dsn) -> bool:
    with suppress(psycopg.Error), psycopg.connect(dsn.url, connect_timeout=2) as session:
        session.execute("SELECT 1")
        return True
    return False


def destroy_beyond(wal: Path, flushed: int) -> None:
    """Overwrite with zeros every byte of the log in `wal` that lies at `flushed` or beyond it."""
    for segment in sorted(wal.glob("0" * 7 + "1" + "?" * 16)):
        number = int(segment.name[8:16], 16) * (2**32 // SEGMENT_BYTES) + int(segment.name[16:], 16)
        keep = min(max(flushed - number * SEGMENT_BYTES, 0), SEGMENT_BYTES)
        if keep < SEGMENT_BYTES:
            # Cutting and growing again leaves zeros where the bytes were.
            os.truncate(segment, keep)
            os.truncate(segment, SEGMENT_BYTES)
