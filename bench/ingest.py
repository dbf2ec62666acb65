"""Recording over HTTP against psql's \\copy, the reference service, and one bare INSERT; all in one run.

Run: python -m bench.ingest [--batches 60] [--singles 6000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg

from bench import events, load, server
from tallystick.store.connect import Dsn

BATCH = 1000


def main(batches: int = 60, singles: int = 6000, rounds: int = 3) -> list[tuple[str, str, str]]:
    """Measure and return rows of (what, figure, goal)."""
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as name:
        folder = Path(name)
        with server.tallystick(folder) as ready:
            return _measure(folder, ready, batches, singles, rounds)


def _measure(
    folder: Path, ready: dict[str, Any], batches: int, singles: int, rounds: int
) -> list[tuple[str, str, str]]:
    ours_h = {"Authorization": f"Bearer {ready['write_key']}"}
    owner = server.superuser(folder / "data").with_database("tallystick")
    server.psql(server.superuser(folder / "data"), "CREATE DATABASE reference")
    reference = owner.with_database("reference")
    load.run(
        ready["url"] + "/v1/events:batch",
        events.batches(4, BATCH, seed=9),
        connections=4,
        headers=ours_h,
        folder=folder,
    )
    ours_batch, ref_batch, copies, ours_one, ref_one = [], [], [], [], []
    ours_p, ref_p, alone, bare = [], [], [], []
    with server.reference(reference) as ref_url:
        for number in range(rounds):
            seed = 100 * (number + 1)
            bodies = events.batches(batches, BATCH, seed=seed)
            cpu = server.cpu_seconds(ready["pid"])
            found = load.run(
                ready["url"] + "/v1/events:batch", bodies, connections=4, headers=ours_h, folder=folder
            )
            _all(found, "200")
            ours_batch.append(
                (
                    batches * BATCH / found.seconds,
                    (server.cpu_seconds(ready["pid"]) - cpu) / batches / BATCH * 1e6,
                )
            )
            copies.append(_copy(owner, folder, batches * BATCH, number))
            small = bodies[: max(4, batches // 6)]
            found = load.run(ref_url + "/events/batch", small, connections=4, headers={}, folder=folder)
            _all(found, "200")
            ref_batch.append(len(small) * BATCH / found.seconds)
            one = events.bodies(singles, seed=seed + 1)
            found = load.run(ready["url"] + "/v1/events", one, connections=64, headers=ours_h, folder=folder)
            _all(found, "201")
            ours_one.append(singles / found.seconds)
            ours_p.append((found.p50_ms, found.p99_ms))
            found = load.run(
                ref_url + "/events", one[: singles // 4], connections=64, headers={}, folder=folder
            )
            _all(found, "201")
            ref_one.append(singles // 4 / found.seconds)
            ref_p.append((found.p50_ms, found.p99_ms))
            found = load.run(
                ready["url"] + "/v1/events",
                events.bodies(600, seed=seed + 2),
                connections=1,
                headers=ours_h,
                folder=folder,
            )
            alone.append(found.p50_ms)
            bare.append(asyncio.run(_bare_insert(reference, owner, 600)))
    ob, rb, cp = _mid([x for x, _ in ours_batch]), _mid(ref_batch), _mid(copies)
    oo, ro = _mid(ours_one), _mid(ref_one)
    p50, p99 = _mid([p for p, _ in ours_p]), _mid([p for _, p in ours_p])
    return [
        ("bytes an event, as sent", f"{len(bodies[0]) / BATCH:.0f}", ""),
        ("psql \\copy into the same indexed table", f"{cp:,.0f} rows/s", "baseline"),
        ("reference service, batches of 1,000", f"{rb:,.0f} events/s", "baseline"),
        (
            "batch ingest, 4 connections",
            f"{ob:,.0f} events/s ({_mid([c for _, c in ours_batch]):.0f} µs of Python an event)",
            "",
        ),
        ("… of \\copy", f"{ob / cp:.2f}", "≥ 0.4"),
        ("… of the reference service", f"{ob / rb:.1f} ×", "≥ 4 ×"),
        (
            "reference service, single events, 64 connections",
            f"{ro:,.0f} events/s, p50 {_mid([p for p, _ in ref_p]):.0f} ms, p99 {_mid([p for _, p in ref_p]):.0f} ms",
            "baseline",
        ),
        ("single events, 64 connections", f"{oo:,.0f} events/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms", ""),
        ("… of the reference service", f"{oo / ro:.1f} ×", "≥ 6 ×"),
        ("… p99 of p50", f"{p99 / p50:.1f} ×", "≤ 5 ×"),
        ("one bare INSERT and commit", f"p50 {_mid(bare):.2f} ms", "baseline"),
        ("single events, one connection", f"p50 {_mid(alone):.2f} ms", ""),
        ("… of one bare INSERT", f"{_mid(alone) / _mid(bare):.1f} ×", "≤ 3 ×"),
        ("memory of serve, peak", f"{server.memory_peak_mb(ready['pid']):.0f} MB", "≤ 400 MB"),
        ("storage an event, with indexes, tiles, dictionaries", _storage(owner), "≤ 1.4 KB"),
    ]


def _mid(values: list[float]) -> float:
    return statistics.median(values)


def _all(found: load.Figures, status: str) -> None:
    if set(found.statuses) != {status}:
        raise RuntimeError(f"answers other than {status}: {found.statuses}")


def _copy(owner: Dsn, folder: Path, rows: int, number: int) -> float:
    """Copy the newest rows out, and into the same table of a fresh database; return rows a second."""
    path = folder / "rows.copy"
    # Whoever runs the server must be able to read it, so it travels through psql itself.
    server.psql(owner, f"\\copy (SELECT * FROM audit_logs ORDER BY position DESC LIMIT {rows}) TO '{path}'")
    name = f"copied_{number}"
    server.psql(owner.with_database("postgres"), f"CREATE DATABASE {name}")
    fresh = owner.with_database(name)
    from tallystick.store.migrate import read_plan

    server.psql(fresh, read_plan().schema, "SELECT ensure_audit_logs_month(now())")
    started = time.perf_counter()
    server.psql(fresh, f"\\copy audit_logs FROM '{path}'")
    seconds = time.perf_counter() - started
    server.psql(owner.with_database("postgres"), f"DROP DATABASE {name}")
    return rows / seconds


async def _bare_insert(reference: Dsn, owner: Dsn, count: int) -> float:
    """Insert rows of the size of ours one by one into a table with a primary key; return the median in ms."""
    connection = await asyncpg.connect(reference.url)
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS bare (id bigserial PRIMARY KEY, at timestamptz, body bytea)"
    )
    taken: list[float] = []
    body = b"x" * 650
    for _ in range(count):
        started = time.perf_counter()
        await connection.execute("INSERT INTO bare (at, body) VALUES (now(), $1)", body)
        taken.append((time.perf_counter() - started) * 1000)
    await connection.close()
    return statistics.median(taken)


def _storage(owner: Dsn) -> str:
    server.psql(owner, "VACUUM")
    sizes = server.psql(
        owner,
        "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE n.nspname = 'public' AND relkind = 'r'",
    )
    rows = server.psql(owner, "SELECT count(*) FROM audit_logs")
    return f"{int(sizes) / int(rows):,.0f} bytes"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--singles", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    for what, figure, goal in main(wanted.batches, wanted.singles, wanted.rounds):
        print(f"{what:58} {figure:52} {goal}")
