"""What the append costs without HTTP: batches and single events, against psql's \\copy of the same rows.

Run: .venv/bin/python bench/append_cost.py [EVENTS]
Everything is durable (fsync on) and on one machine; trust the ratios and the CPU per event, not the rates.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import json
import os
import pstats
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psutil
import uvloop

sys.path.insert(0, str(Path(__file__).parent))

import events as believable
from tallystick.event.prepare import Prepared, prepare
from tallystick.event.redact import Redaction
from tallystick.services.append import Appender
from tallystick.services.group import Stored
from tallystick.services.sign import Signer
from tallystick.store import cluster, embedded, migrate
from tallystick.store.connect import EVERY, Pool, open_pool, transaction

REDACTION = Redaction(key=b"a key of the benchmark, not secret")
BATCH = 1000
PART = 10_000
BATCH_CALLERS = 4
SINGLE_CALLERS = 64
TABLES = [
    "idempotency",
    "log_head",
    "log_tiles",
    "log_months",
    "log_checkpoints",
    "subjects",
    "subject_labels",
    "terms",
    "event_counts",
]


@dataclass
class Measured:
    """One run: events, seconds, our CPU seconds and the database's."""

    events: int
    seconds: float
    ours: float
    database: float

    def line(self, name: str, copy: Measured | None = None) -> str:
        """Return one line of the table."""
        ratio = f"{self.rate / copy.rate:6.2f}" if copy else "      "
        return (
            f"{name:34} {self.rate:9,.0f}/s {ratio} of copy   python {self.ours / self.events * 1e6:5.1f} us"
            f"   postgres {self.database / self.events * 1e6:5.1f} us an event"
        )

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


class Server:
    """A durable PostgreSQL of its own in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = cluster.settle(
            folder / "postgres",
            programs=cluster.programs_of_wheel(),
            user=None,
            runtime_folder=None,
            say=print,
        )
        self.passwords = cluster.passwords(self.server.folder, lambda: secrets.token_hex(8))
        cluster.make_cluster(self.server, self.passwords[cluster.SUPERUSER])
        self.process = embedded.spawn(self.server, {**embedded.DEFAULTS, **embedded.HELD})
        while not embedded.is_ready(self.server, self.process.pid):
            time.sleep(0.02)
        self.superuser = embedded.dsn_of(
            self.server.sockets, cluster.SUPERUSER, self.passwords[cluster.SUPERUSER]
        )

    async def database(self, name: str) -> str:
        """Make a database with the schema; return the address of its owner, for psql."""
        passwords = dict(cluster.passwords(self.server.folder, lambda: ""))
        dsns = [embedded.dsn_of(self.server.sockets, role, passwords[role], name) for role in cluster.ROLES]
        owner, writer, reader, keeper = dsns
        logins = migrate.Logins(owner=owner, writer=writer, reader=reader, keeper=keeper)
        await migrate.make_database(self.superuser, logins)
        await migrate.migrate(owner, migrate.read_plan(), say=lambda _: None)
        self.logins = logins
        return owner.url

    def cpu(self) -> float:
        """CPU seconds of the server and its backends so far, ended ones included."""
        main = psutil.Process(self.process.pid)
        total = sum(main.cpu_times()[:4])
        for child in main.children(recursive=True):
            try:
                total += sum(child.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
        return total

    def stop(self) -> None:
        """Stop it and remove everything."""
        embedded.send(self.process.pid, embedded.signal.SIGINT)
        self.process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def temporary_server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="tallystick-bench-"))
    folder.chmod(0o711)
    server = Server(folder)
    try:
        yield server
    finally:
        server.stop()


async def measure(server: Server, events: int, run: Callable[[], Awaitable[None]]) -> Measured:
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    ours, database, start = time.process_time(), server.cpu(), time.perf_counter()
    await run()
    seconds = time.perf_counter() - start
    return Measured(events, seconds, time.process_time() - ours, server.cpu() - database)


def bodies_of_today(count: int, *, seed: int = 1) -> list[bytes]:
    """Return the believable events as if sent as they happen: older ones would all be flagged as back-dated."""
    start = datetime.now(UTC) - timedelta(hours=3)
    parts = (
        believable.events(min(PART, count - at), seed=seed + at, start=start) for at in range(0, count, PART)
    )
    return [json.dumps(event, separators=(",", ":")).encode() for part in parts for event in part]


def prepared(bodies: list[bytes]) -> list[Prepared]:
    return [prepare(body, redaction=REDACTION, new_id=uuid4) for body in bodies]


async def append_all(
    appender: Appender, log: UUID, calls: list[list[Prepared]], callers: int, *, receipts: bool
) -> None:
    waiting = list(reversed(calls))

    async def caller() -> None:
        while waiting:
            appended = await appender.append(log, waiting.pop(), source="key:bench")
            assert all(isinstance(result, Stored) for result in appended.results)
            last = appended.results[-1]
            assert isinstance(last, Stored)
            if receipts:
                appended.receipt(last.position)

    await asyncio.gather(*(caller() for _ in range(callers)))


async def bytes_on_disk(pool: Pool) -> dict[str, float]:
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        rows = await connection.fetch(
            "SELECT relid::regclass::text AS name, pg_table_size(relid) AS heap, pg_indexes_size(relid) AS indexes "
            "FROM pg_partition_tree('audit_logs') WHERE isleaf"
        )
        found = {
            "rows": sum(row["heap"] for row in rows),
            "their indexes": sum(row["indexes"] for row in rows),
        }
        for table in TABLES:
            found[table] = await connection.fetchval(
                "SELECT pg_total_relation_size($1::text::regclass)", table
            )
        events = await connection.fetchval("SELECT sum(size) FROM log_head")
    return {name: size / int(events) for name, size in found.items()}


def copy(server: Server, source: str, target: str, how: str) -> Measured:
    """Write the rows of `source` to a file, and measure psql reading them into the same table of `target`."""
    psql = shutil.which("psql") or str(server.server.programs / "psql")
    path = server.folder / "rows"
    rows = f"\\copy (SELECT * FROM audit_logs ORDER BY position) TO '{path}' WITH ({how})"
    subprocess.run([psql, "-q", "-d", source, "-c", rows], check=True)
    month = "SELECT ensure_audit_logs_month(now())"
    subprocess.run([psql, "-qt", "-d", target, "-c", month], check=True, stdout=subprocess.DEVNULL)
    used, start = server.cpu(), time.perf_counter()
    said = subprocess.run(
        [psql, "-d", target, "-c", f"\\copy audit_logs FROM '{path}' WITH ({how})"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    path.unlink()
    return Measured(int(said.stdout.split()[1]), seconds, 0.0, server.cpu() - used)


async def main(count: int) -> None:
    with temporary_server() as server:
        ours = await server.database("ours")
        pool = await open_pool(server.logins.writer, role="writer", size_max=8)
        signer = Signer.open(server.folder / "data", instance="bench.example", random=os.urandom)
        appender = Appender(pool, signer, now=lambda: datetime.now(UTC), random=os.urandom)
        await appender.start()
        bodies = bodies_of_today(count)
        print(f"{count:,} events of {sum(map(len, bodies)) / count:.0f} bytes")
        start = time.process_time()
        ready = prepared(bodies)
        print(f"prepare: {(time.process_time() - start) / count * 1e6:.1f} us an event")
        log = uuid4()
        batches = [ready[at : at + BATCH] for at in range(0, count, BATCH)]
        batch = await measure(
            server, count, lambda: append_all(appender, log, batches, BATCH_CALLERS, receipts=True)
        )
        sizes = await bytes_on_disk(pool)
        one_by_one = [[event] for event in prepared(bodies_of_today(count // 5, seed=2))]
        single = await measure(
            server,
            count // 5,
            lambda: append_all(appender, uuid4(), one_by_one, SINGLE_CALLERS, receipts=True),
        )
        alone = [[event] for event in prepared(bodies_of_today(500, seed=3))]
        one = await measure(server, 500, lambda: append_all(appender, uuid4(), alone, 1, receipts=True))
        text = copy(server, ours, await server.database("text"), "FORMAT text")
        binary = copy(server, ours, await server.database("binary"), "FORMAT binary")
        print(text.line("\\copy, text"))
        print(binary.line("\\copy, binary"))
        print(batch.line(f"batches of {BATCH}, {BATCH_CALLERS} callers", text))
        print(single.line(f"single events, {SINGLE_CALLERS} callers", text))
        print(one.line("single events, 1 caller", text), f"  {one.seconds / 500 * 1e3:.2f} ms each")
        print(f"on disk: {sum(sizes.values()):.0f} bytes an event:", end=" ")
        print(", ".join(f"{name} {size:.0f}" for name, size in sizes.items() if size >= 1))
        if "--profile" in sys.argv:
            more = [prepared(bodies_of_today(BATCH, seed=seed)) for seed in range(10, 30)]
            profile = cProfile.Profile()
            profile.enable()
            await append_all(appender, log, more, BATCH_CALLERS, receipts=True)
            profile.disable()
            pstats.Stats(profile).sort_stats("tottime").print_stats(28)
        await appender.stop()
        await pool.close()


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    uvloop.run(main(numbers[0] if numbers else 100_000))
