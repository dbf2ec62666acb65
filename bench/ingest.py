"""Recording over HTTP against psql's \\copy, the reference service, and one bare INSERT; all in one run.

Run: python -m bench.ingest [--batches 16] [--singles 2000] [--rounds 8]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from bench import events, load, server
from tallystick.store.connect import Dsn

BATCH = 1000
EVERY = timedelta(milliseconds=10)  # between the events of bench/events.py


@dataclass
class Slices:
    """What each short slice measured; a ratio is taken within each slice, so that what else runs hits both sides."""

    copy: list[float] = field(default_factory=list)
    ours_batch: list[float] = field(default_factory=list)
    ours_cpu: list[float] = field(default_factory=list)
    reference_batch: list[float] = field(default_factory=list)
    ours_single: list[load.Figures] = field(default_factory=list)
    reference_single: list[load.Figures] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)


class _Clock:
    """Lets each slice's events follow those before it in time, 10 ms apart, as a log's events do; the last is now."""

    def __init__(self, events_in_all: int) -> None:
        self._at = datetime.now(UTC) - events_in_all * EVERY

    def next(self, count: int) -> datetime:
        """Return when `count` events begin."""
        start, self._at = self._at, self._at + count * EVERY
        return start


def main(batches: int = 16, singles: int = 2000, rounds: int = 8) -> list[tuple[str, str, str]]:
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

    def ours(path: str, bodies: list[bytes], connections: int) -> load.Figures:
        url = ready["url"] + path
        return load.run(url, bodies, connections=connections, headers=ours_h, folder=folder)

    found = Slices()
    clock = _Clock((rounds + 1) * (batches * BATCH + singles + 1000) + 4 * BATCH)
    warm = events.batches(4, BATCH, seed=9, start=clock.next(4 * BATCH))
    ours("/v1/events:batch", warm, 4)
    with server.reference(reference) as url:

        def theirs(path: str, bodies: list[bytes], connections: int) -> load.Figures:
            return load.run(url + path, bodies, connections=connections, headers={}, folder=folder)

        theirs("/events/batch", warm, 4)
        for number in range(rounds):
            seed = 100 * (number + 1)
            bodies = events.batches(batches, BATCH, seed=seed, start=clock.next(batches * BATCH))
            cpu = server.cpu_seconds(ready["pid"])
            found.ours_batch.append(
                batches * BATCH / _all(ours("/v1/events:batch", bodies, 4), "200").seconds
            )
            found.ours_cpu.append((server.cpu_seconds(ready["pid"]) - cpu) / batches / BATCH * 1e6)
            found.copy.append(_copy(owner, folder, batches * BATCH, number))
            small = bodies[: max(4, batches // 3)]
            found.reference_batch.append(
                len(small) * BATCH / _all(theirs("/events/batch", small, 4), "200").seconds
            )
            one = events.bodies(singles, seed=seed + 1, start=clock.next(singles))
            found.ours_single.append(_all(ours("/v1/events", one, 64), "201"))
            found.reference_single.append(_all(theirs("/events", one[: singles // 4], 64), "201"))
            few = events.bodies(200, seed=seed + 2, start=clock.next(200))
            found.alone.append(_all(ours("/v1/events", few, 1), "201").p50_ms)
            found.bare.append(asyncio.run(_bare_insert(reference, 200)))
    return [
        ("bytes an event, as sent", f"{len(warm[0]) / BATCH:.0f}", ""),
        *_table(found),
        *_sizes(ready, owner),
    ]


def _table(found: Slices) -> list[tuple[str, str, str]]:
    ours, theirs = found.ours_single, found.reference_single
    p50, p99 = _mid([one.p50_ms for one in ours]), _mid([one.p99_ms for one in ours])
    their_p50, their_p99 = _mid([one.p50_ms for one in theirs]), _mid([one.p99_ms for one in theirs])
    return [
        ("psql \\copy into the same indexed table", f"{_mid(found.copy):,.0f} rows/s", "baseline"),
        ("reference service, batches of 1,000", f"{_mid(found.reference_batch):,.0f} events/s", "baseline"),
        (
            "batch ingest, 4 connections",
            f"{_mid(found.ours_batch):,.0f} events/s ({_mid(found.ours_cpu):.0f} µs of Python an event)",
            "",
        ),
        ("… of \\copy", _ratio(found.ours_batch, found.copy), "≥ 0.4"),
        ("… of the reference service", _ratio(found.ours_batch, found.reference_batch), "≥ 4 ×"),
        (
            "reference service, single events, 64 connections",
            f"{_mid([_rate(one) for one in theirs]):,.0f} events/s, p50 {their_p50:.0f} ms, p99 {their_p99:.0f} ms",
            "baseline",
        ),
        (
            "single events, 64 connections",
            f"{_mid([_rate(one) for one in ours]):,.0f} events/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms",
            "",
        ),
        (
            "… of the reference service",
            _ratio([_rate(one) for one in ours], [_rate(one) for one in theirs]),
            "≥ 6 ×",
        ),
        ("… p99 of p50", _ratio([one.p99_ms for one in ours], [one.p50_ms for one in ours]), "≤ 5 ×"),
        ("one bare INSERT and commit", f"p50 {_mid(found.bare):.2f} ms", "baseline"),
        ("single events, one connection", f"p50 {_mid(found.alone):.2f} ms", ""),
        ("… of one bare INSERT", _ratio(found.alone, found.bare), "≤ 3 ×"),
    ]


def _sizes(ready: dict[str, Any], owner: Dsn) -> list[tuple[str, str, str]]:
    return [
        ("memory of serve, peak", f"{server.memory_peak_mb(ready['pid']):.0f} MB", "≤ 400 MB"),
        ("storage an event, with indexes, tiles, dictionaries", _storage(owner), "≤ 1.4 KB"),
    ]


def _rate(figures: load.Figures) -> float:
    return figures.requests / figures.seconds


def _ratio(ours: list[float], theirs: list[float]) -> str:
    """Write the middle of the ratios within each slice, and between which two three quarters of them lie."""
    ratios = sorted(one / other for one, other in zip(ours, theirs, strict=True))
    low, high = ratios[len(ratios) // 8], ratios[-1 - len(ratios) // 8]
    return f"{_mid(ratios):.2f} × ({low:.2f}–{high:.2f})"


def _mid(values: list[float]) -> float:
    return statistics.median(values)


def _all(found: load.Figures, status: str) -> load.Figures:
    if set(found.statuses) != {status}:
        raise RuntimeError(f"answers other than {status}: {found.statuses}")
    return found


def _copy(owner: Dsn, folder: Path, rows: int, number: int) -> float:
    """Copy the newest rows out, and into the same table of a fresh database; return rows a second."""
    path = folder / "rows.copy"
    # Whoever runs the server must be able to read it, so it travels through psql itself.
    newest = (
        f"SELECT * FROM (SELECT * FROM audit_logs ORDER BY received_at DESC, position DESC LIMIT {rows}) n"
    )
    server.psql(owner, f"\\copy ({newest} ORDER BY received_at, position) TO '{path}'")
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


async def _bare_insert(reference: Dsn, count: int) -> float:
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
    rows = int(server.psql(owner, "SELECT count(*) FROM audit_logs"))
    return f"{int(sizes) / rows:,.0f} bytes (log of {rows:,})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=16)
    parser.add_argument("--singles", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=8)
    wanted = parser.parse_args()
    for what, figure, goal in main(wanted.batches, wanted.singles, wanted.rounds):
        print(f"{what:58} {figure:52} {goal}")
