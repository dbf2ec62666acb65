"""Reading through contracts: LangSmith's page of 100, and the whole log as OCSF, over HTTP at a million events.

Run: python -m bench.contracts_speed [--events 1000000]
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from bench import events, load, server

BATCH = 1000
REQUESTS = 200
PAGE_MS_MAX = 15.0
EVENTS_PER_SECOND_MIN = 15_000
FIRST_DAY, LAST_DAY = "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"
PAGES: dict[str, dict[str, Any]] = {
    "first page": {},
    "one of 90 operations": {"operations": "prompt.update"},
    "three operations": {"operations": ["prompt.update", "api_key.create", "role.export"]},
    "an unknown operation": {"operations": "no_such_operation"},
    "one of 40 workspaces": {"workspace_id": "prj_007"},
}


def main(count: int = 1_000_000) -> list[tuple[str, str, str]]:
    """Measure and return rows of (what, figure, goal)."""
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as name:
        folder = Path(name)
        with server.tallystick(folder) as ready:
            fill(folder, ready, count)
            minutes = datetime.now(UTC) - timedelta(minutes=10)  # where the last recorded events lie
            pages = {**PAGES, "the last ten minutes": {"start_time": minutes.isoformat()}}
            rows = [_page(ready, name, more) for name, more in pages.items()]
            return [*rows, *_following(ready), *_pull(ready, count)]


def fill(folder: Path, ready: dict[str, Any], count: int) -> None:
    """Record `count` events in batches, a hundred at a time, so that no million bodies lie in memory."""
    headers = {"Authorization": f"Bearer {ready['write_key']}"}
    for number in range(0, count, 100 * BATCH):
        bodies = events.batches(min(100, (count - number) // BATCH or 1), BATCH, seed=number + 1)
        found = load.run(
            ready["url"] + "/v1/events:batch", bodies, connections=4, headers=headers, folder=folder
        )
        if set(found.statuses) != {"200"}:
            raise RuntimeError(f"recording failed: {found.statuses}")


def ask(line: http.client.HTTPConnection, ready: dict[str, Any], params: dict[str, Any]) -> tuple[float, Any]:
    """Ask for a page over a connection that is kept; returns milliseconds until its last byte, and the page."""
    asked = {"start_time": FIRST_DAY, "end_time": LAST_DAY, "limit": 100, **params}
    started = time.perf_counter()
    line.request(
        "GET", "/api/v1/audit-logs?" + urlencode(asked, doseq=True), headers={"X-API-Key": ready["admin_key"]}
    )
    answer = line.getresponse()
    body = answer.read()
    elapsed = (time.perf_counter() - started) * 1000
    if answer.status != 200:
        raise RuntimeError(body.decode())
    return elapsed, json.loads(body)


def _line(ready: dict[str, Any]) -> http.client.HTTPConnection:
    parts = urlsplit(ready["url"])
    return http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=60)


def _page(ready: dict[str, Any], name: str, params: dict[str, Any]) -> tuple[str, str, str]:
    line = _line(ready)
    for _ in range(10):
        ask(line, ready, params)
    cpu = server.cpu_seconds(ready["pid"])
    found = [ask(line, ready, params) for _ in range(REQUESTS)]
    cpu = (server.cpu_seconds(ready["pid"]) - cpu) / REQUESTS * 1000
    what = f"LangSmith, {name} ({len(found[0][1]['items'])} items)"
    return _row(what, [elapsed for elapsed, _ in found], f", {cpu:.1f} ms of CPU")


def _following(ready: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Page on by cursor, deep into the log."""
    line, cursor, times = _line(ready), None, []
    for _ in range(REQUESTS):
        elapsed, page = ask(line, ready, {} if cursor is None else {"cursor": cursor})
        times.append(elapsed)
        cursor = page["cursor"]
        if cursor is None:
            break
    yield _row("LangSmith, page after page by cursor", times)


def _row(name: str, times: list[float], more: str = "") -> tuple[str, str, str]:
    p50, p99 = statistics.median(times), sorted(times)[int(len(times) * 0.99)]
    return name, f"p50 {p50:.1f} ms, p99 {p99:.1f} ms{more}", f"p50 ≤ {PAGE_MS_MAX:.0f} ms"


def _pull(ready: dict[str, Any], count: int) -> Iterator[tuple[str, str, str]]:
    for version in ("1.1.0", "1.7.0"):
        before = server.memory_peak_mb(ready["pid"])
        cpu, started = server.cpu_seconds(ready["pid"]), time.perf_counter()
        line = _line(ready)
        line.request(
            "GET",
            f"/v1/export?format=ocsf&version={version}",
            headers={"X-API-Key": ready["admin_key"], "Accept-Encoding": "identity"},
        )
        answer = line.getresponse()
        lines = 0
        while piece := answer.read(1 << 20):
            lines += piece.count(b"\n")
        seconds, used = time.perf_counter() - started, server.cpu_seconds(ready["pid"]) - cpu
        # What the server records of itself is in the log too.
        if not count <= lines <= count + 100:
            raise RuntimeError(f"{lines} lines of {count} events")
        grown = server.memory_peak_mb(ready["pid"]) - before
        figure = f"{lines / seconds:,.0f} events/s ({used / lines * 1e6:.0f} µs of CPU each), peak memory +{grown:.0f} MB"
        yield f"whole log as OCSF {version}, JSONL", figure, f"≥ {EVENTS_PER_SECOND_MIN:,} events/s"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    for what, figure, goal in main(parser.parse_args().events):
        print(f"{what:55} {figure:60} {goal}", flush=True)
