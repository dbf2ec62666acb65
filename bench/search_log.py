"""A large synthetic log for measuring searches: five organizations, 300 days, made inside the database.

Everything follows from a row's number, so that two loads are the same. Leaf and opening are readable events of a
realistic size whose hash is right; they are not sealed, and there is no tree.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from tallystick.store import cluster, embedded, migrate
from tallystick.store.connect import Connection, Dsn, Logins, connect
from tallystick.store.months import next_month
from tallystick.store.trigrams import pieces_of_label

ORGANIZATIONS = [UUID(hashlib.md5(f"organization {n}".encode()).hexdigest()) for n in range(5)]
LARGEST, LARGEST_SHARE = ORGANIZATIONS[0], 6 / 25
START, DAYS = datetime(2026, 1, 15, tzinfo=UTC), 300
NOW = START + timedelta(days=DAYS)
WAITING_ROWS = (
    1_500  # appended after the indexes are there, so that searches meet a pending list as in real life
)
DATABASE = "tallystick"  # as the product calls it: a `tallystick serve` runs on the folder
_PARTS = re.split(
    r"^-- (\w+) --$", Path(__file__).with_name("search_load.sql").read_text(), flags=re.MULTILINE
)
SQL = dict(zip(_PARTS[1::2], _PARTS[2::2], strict=True))
_UNSAFE_WHILE_LOADING = (
    "SET synchronous_commit = off; SET jit = off; SET max_parallel_maintenance_workers = 0"
)


class Month(NamedTuple):
    """The rows of one month: numbers `first` to `end` - 1."""

    start: datetime
    first: int
    end: int

    @property
    def table(self) -> str:
        """The name of its partition."""
        return f"audit_logs_{self.start:%Y_%m}"


@contextmanager
def kept_in(folder: Path | None) -> Iterator[Path]:
    """Give `folder`, or one that is removed afterwards; what runs in it more than once needs it."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


@contextmanager
def server(
    folder: Path | None, say: Callable[[str], None], *, durable: bool = False
) -> Iterator[tuple[Logins, Dsn]]:
    """Run a PostgreSQL with the product's settings in `folder`, or in a folder that is removed afterwards.

    Unless it shall be `durable`, what is written is not waited for: a load is made again when it is lost.
    Yields where each role and the superuser sign in.
    """
    home = Path(tempfile.mkdtemp(prefix="tallystick-bench-")) if folder is None else folder
    home.mkdir(exist_ok=True)
    home.chmod(0o711)
    found = cluster.settle(home / "postgres", programs=None, user=None, runtime_folder=None, say=say)
    passwords = cluster.passwords(found.folder, lambda: secrets.token_hex(8))
    if not found.cluster.exists():
        cluster.make_cluster(found, passwords[cluster.SUPERUSER])
    settings = {**embedded.DEFAULTS, **embedded.HELD}
    process = embedded.spawn(found, settings if durable else {**settings, "fsync": "off"})
    try:
        _wait_until_ready(found, process)
        roles = (embedded.dsn_of(found.sockets, role, passwords[role], DATABASE) for role in cluster.ROLES)
        owner, writer, reader, keeper = roles
        logins = Logins(owner=owner, writer=writer, reader=reader, keeper=keeper)
        yield logins, embedded.dsn_of(found.sockets, cluster.SUPERUSER, passwords[cluster.SUPERUSER])
    finally:
        embedded.send(process.pid, embedded.signal.SIGINT)
        process.wait(120)
        if folder is None:
            shutil.rmtree(home, ignore_errors=True)


def _wait_until_ready(found: cluster.Server, process: subprocess.Popen[bytes]) -> None:
    while not embedded.is_ready(found, process.pid):
        if process.poll() is not None:
            raise RuntimeError(embedded.log_since(found, 0))
        time.sleep(0.05)


async def load(logins: Logins, superuser: Dsn, rows: int, say: Callable[[str], None]) -> None:
    """Make the log of `rows` events, unless the database is there already."""
    started = time.monotonic()
    admin = await connect(superuser)
    there = await admin.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE)
    await admin.close()
    if there:
        return
    await migrate.make_database(superuser, logins)
    await migrate.migrate(logins.owner, migrate.read_plan(), say=lambda _: None)
    connection = await connect(superuser.with_database(DATABASE))
    for name in ("shapes", "people"):
        await connection.execute(SQL[name])
    await connection.execute("ANALYZE bench_people; ANALYZE bench_actions")
    step = timedelta(microseconds=timedelta(days=DAYS) // timedelta(microseconds=1) // rows)
    months = _months(rows - WAITING_ROWS, step)
    rare = max(1, int(rows * LARGEST_SHARE) // 24)
    waiting = list(months)
    await asyncio.gather(*(_fill(superuser, waiting, step, rare) for _ in range(2)))
    for month in months:
        await connection.execute(
            f"ALTER TABLE audit_logs ATTACH PARTITION {month.table} "
            f"FOR VALUES FROM ('{month.start.isoformat()}') TO ('{next_month(month.start).isoformat()}')"
        )
    fill = SQL["fill_month"].replace("{table}", "audit_logs")
    await connection.execute(fill, rows - WAITING_ROWS, rows, START, step, rare)
    for name in ("fill_subjects", "fill_terms", "fill_event_counts", "fill_heads"):
        await connection.execute(SQL[name])
    await _labels(connection)
    await connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO tallystick_reader")
    for table in ("subject_labels", "subjects", "terms", "event_counts", "log_head", "log_months"):
        await connection.execute(f"VACUUM ANALYZE {table}")
    await connection.close()
    say(f"loaded {rows:,} events in {time.monotonic() - started:.0f} s")


def _months(rows: int, step: timedelta) -> list[Month]:
    months, first = [], 0
    while first < rows:
        start = (START + first * step).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        end = min(rows, -((START - next_month(start)) // step))
        months.append(Month(start, first, end))
        first = end
    return months


async def _fill(superuser: Dsn, waiting: list[Month], step: timedelta, rare: int) -> None:
    """Fill month after month, each as a table of its own that gets its indexes when it is full."""
    connection = await connect(superuser.with_database(DATABASE))
    await connection.execute(f"{_UNSAFE_WHILE_LOADING}; SET maintenance_work_mem = '1GB'")
    while waiting:
        month = waiting.pop(0)
        await connection.execute(
            f"CREATE TABLE {month.table} (LIKE audit_logs INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
        )
        fill = SQL["fill_month"].replace("{table}", month.table)
        await connection.execute(fill, month.first, month.end, START, step, rare)
        for statement in await connection.fetch(SQL["indexes"]):
            await connection.execute(statement[0].replace("{table}", month.table))
        await connection.execute(f"VACUUM ANALYZE {month.table}")
    await connection.close()


async def _labels(connection: Connection) -> None:
    labels = await connection.fetch(SQL["labels"])
    await connection.copy_records_to_table(
        "subject_labels",
        records=[(*row, pieces_of_label(row["organization_id"], row["label"])) for row in labels],
        columns=["organization_id", "ref", "label", "trigrams"],
    )
