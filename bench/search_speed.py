"""How long a first page of 50 takes, with each filter and with hard combinations, and what counting costs.

Run: python -m bench.search_speed [--rows 1000000] [--folder DIR] [--repeats 60] [--only TEXT]
With --folder the database stays there and is used again. Times are those of services.read.Read, rendering included,
one caller at a time on one connection; `server` is the processor time of the database's process for one page, which
other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from bench.search_log import DATABASE, LARGEST, NOW, load, server
from tallystick.query import Query, parse
from tallystick.services.permissions import READ
from tallystick.services.principal import Principal
from tallystick.services.read import Read
from tallystick.store.connect import Dsn, connect, open_pool

SMALL_WORKSPACE = "ws_" + hashlib.md5(b"39").hexdigest()[:10]
PAGES: dict[str, str] = {
    "no filter": "",
    "time: 300 days": "created:>=2026-01-15",
    "time: a month long ago": "created:2026-06-01..2026-06-30",
    "time: an hour long ago": "created:2026-06-01T10:00:00Z..2026-06-01T11:00:00Z",
    "action: most rows": "action:read",
    "action: 1 in 40": "action:budget",
    "action: 24 rows": "action:^export.created_v4$",
    "action: no row": "action:zzzz",
    "user: few rows": "user:alan.knuth9982@",
    "user: no row": "user:zzzzqq",
    "user: most rows": "user:acme0",
    "user: 1 in 25": "user:partner2",
    "user: two characters, no row": "user:q9",
    "actor_id": "actor_id:usr_9b9948d2f39e",
    "action and user": "action:budget user:hopper",
    "target_id: few rows": "target_id:res_c4ca4238a0b92382",
    "target_id: 1 in 70": "target_id:res_hot3",
    "target_id: no row": "target_id:zz",
    "target_type": "target_type:secret",
    "outcome: 1 in 20": "outcome:failure",
    "outcome: 1 in 40": "outcome:denied",
    "outcome: 1 in 200": "outcome:unknown",
    "outcome: not success": "-outcome:success",
    "actor_type: 1 in 20": "actor_type:agent",
    "workspace: 1 in 100": f"workspace:{SMALL_WORKSPACE}",
    "workspace: organization level": "workspace:-",
    "stream: 1 in 70": "stream:otel-collector",
    "verb: 1 in 24": "verb:admin",
    "ip: 1 in 5": "ip:198.51.100.7",
    "ip: few rows": "ip:10.1.17.55",
    "request_id: two rows": "request_id:req_6cfe6155d9f7c1d4a8ff",
    "request_id: no row": "request_id:req_00000000000000000000",
    "q: word": "hopper",
    "q: two words": "hopper budget",
    "q: a word without a row": "zzqq budget",
    "q: unwanted user": "-user:acme0",
    "q: four filters": "action:model -outcome:success user:ada created:>=2026-05-01",
    "q: denied and some users": "outcome:denied user:knuth9",
    "q: rare within an hour": "created:2026-06-01T10:00:00Z..2026-06-01T11:00:00Z outcome:unknown",
    "broad ∧ broad, rarely together": "outcome:unknown verb:admin",
    "broad ∧ broad, disjoint (25 % ∧ 65 %)": "stream:gateway actor_type:user",
    "broad ∧ broad, disjoint (11 % ∧ 68 %)": "verb:read action:.created",
}
COUNTS = (
    "no filter",
    "time: 300 days",
    "action: 24 rows",
    "outcome: 1 in 20",
    "verb: 1 in 24",
    "action and user",
)
HISTOGRAMS = ("time: 300 days", "outcome: 1 in 40", "action: 24 rows", "verb: 1 in 24")
FACETS = ("no filter", "outcome: 1 in 40", "action: most rows")
# What a team would write first, on the same table and indexes, for comparison in the same run.
BASELINE = (
    "SELECT a.position, a.leaf, a.opening FROM audit_logs a WHERE a.organization_id = $1 AND {condition} "
    "ORDER BY a.occurred_at DESC, a.position DESC LIMIT 51"
)
BASELINES = {
    "LIKE on rows: action, most rows": "lower(a.action) LIKE '%read%'",
    "LIKE on rows: action, 24 rows": "lower(a.action) LIKE '%export.created_v4%'",
    "LIKE on rows: action, no row": "lower(a.action) LIKE '%zzzz%'",
    "LIKE on rows: person, no row": "lower(convert_from(a.opening, 'UTF8')::json ->> 'actor/email') LIKE '%zzzzqq%'",
}
P50_MS, P99_MS = 10.0, 25.0


class Figure(NamedTuple):
    """What one thing measured: milliseconds of the caller, and of the database's processor."""

    name: str
    p50: float
    p99: float
    server: float
    rows: str


class Meter:
    """Measures calls one after the other against one connection's process."""

    def __init__(self, pid: int, repeats: int) -> None:
        self._pid = pid
        self._repeats = repeats

    async def measure(
        self, name: str, call: Callable[[], Awaitable[object]], repeats: int | None = None
    ) -> Figure:
        """Call it a few times unmeasured, then measured."""
        for _ in range(3):
            found = await call()
        repeats = repeats or self._repeats
        times, before = [], self._cpu_ms()
        for _ in range(repeats):
            started = time.perf_counter()
            await call()
            times.append((time.perf_counter() - started) * 1000)
        used = (self._cpu_ms() - before) / repeats
        times.sort()
        return Figure(name, statistics.median(times), times[int(len(times) * 0.99)], used, str(found))

    def _cpu_ms(self) -> float:
        return int(Path(f"/proc/{self._pid}/schedstat").read_text().split()[0]) / 1e6


def show(figure: Figure, p50: float = P50_MS, p99: float = P99_MS) -> None:
    """Print one line of the table."""
    verdict = "" if figure.p50 <= p50 and figure.p99 <= p99 else f"over {p50:.0f} / {p99:.0f}"
    print(
        f"| {figure.name:40} | {figure.p50:7.2f} | {figure.p99:7.2f} | {figure.server:7.2f} | {figure.rows:>8} | {verdict} |",
        flush=True,
    )


def query_of(text: str) -> Query:
    """Parse one of the searches above."""
    return parse([("q", text)] if text else [], now=NOW)


async def measure(reader: Dsn, superuser: Dsn, repeats: int, only: str) -> None:
    """Measure everything whose name contains `only`."""
    pool = await open_pool(reader, role="reader", size_min=1, size_max=1)
    meter = Meter(await pool.inner.fetchval("SELECT pg_backend_pid()"), repeats)
    read = Read(pool, cursor_key=b"k" * 32, now=lambda: NOW)
    caller = Principal(
        organization_id=LARGEST, kind="key", id="k", name="bench", permissions=frozenset({READ})
    )
    print("| search | p50 ms | p99 ms | server ms | rows | |\n|---|--:|--:|--:|--:|---|")

    async def page(query: Query) -> str:
        found = await read.search(caller, query)
        return f"{len(found.events)}{'+' if found.next_cursor else ''}"

    for name, text in PAGES.items():
        if only in name:
            show(await meter.measure(name, lambda query=query_of(text): page(query)))
    await _measure_counts(meter, read, caller, only)
    await pool.close()
    await _measure_baselines(superuser, repeats, only)


async def _measure_counts(meter: Meter, read: Read, caller: Principal, only: str) -> None:
    async def count(query: Query) -> int:
        return (await read.count(caller, query))["count"]

    async def histogram(query: Query) -> str:
        found = await read.histogram(caller, query)
        return f"{len(found['buckets'])}{'' if found['exact'] else ' part'}"

    async def facets(query: Query) -> str:
        return "sample" if (await read.facets(caller, query))["approximate"] else "all"

    for what, names, call, limit in (
        ("count", COUNTS, count, 20.0),
        ("histogram", HISTOGRAMS, histogram, 10.0),
        ("facets", FACETS, facets, 100.0),
    ):
        for name in names:
            if only in (label := f"{what}: {name}"):
                query = query_of(PAGES[name])
                show(await meter.measure(label, lambda query=query, call=call: call(query)), limit, 5 * limit)


async def _measure_baselines(superuser: Dsn, repeats: int, only: str) -> None:
    connection = await connect(superuser.with_database(DATABASE))
    meter = Meter(connection.get_server_pid(), repeats)
    for name, condition in BASELINES.items():
        if only in name:
            statement = BASELINE.replace("{condition}", condition)

            async def fetch(statement: str = statement) -> int:
                return len(await connection.fetch(statement, LARGEST))

            show(await meter.measure(name, fetch, repeats=5), 1e9, 1e9)
    rows = await connection.fetch(
        "SELECT relname, pg_relation_size(oid) AS bytes FROM pg_class WHERE relname LIKE 'audit_logs_2026_07%'"
    )
    held = await connection.fetchval("SELECT count(*) FROM audit_logs_2026_07")
    for row in rows:
        print(f"{row['relname']}: {row['bytes'] / held:.0f} bytes a row")
    await connection.close()


def main(arguments: list[str]) -> int:
    """Load and measure; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--only", default="")
    asked = parser.parse_args(arguments)

    async def run() -> None:
        with server(asked.folder, print) as (logins, superuser):
            await load(logins, superuser, asked.rows, print)
            await measure(logins.reader, superuser, asked.repeats, asked.only)

    asyncio.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
