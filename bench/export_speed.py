"""How fast a server hands out its log in each format, over HTTP, beside psql's `\\copy` of the same rows as CSV.

Run: python -m bench.export_speed [--events 200000] [--folder DIR]
Of several rounds the best counts, for both sides. `memory` is how much the server's peak grew by the exports.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import server
from bench.contracts_speed import fill
from tallystick.store.connect import Dsn

ROUNDS = 3
ROWS_PER_SECOND_MIN = 40_000
SHARE_MIN = 0.25
FORMATS = {
    "CSV": "format=csv",
    "JSONL with its proof": "format=jsonl",
    "CSV and its proof, ZIP": "format=csv&proof=zip",
    "OCSF 1.1.0": "format=ocsf",
    "Parquet": "format=parquet",
}
COPY = (
    "\\copy (SELECT occurred_at, action, outcome, stream, workspace, actor_type, actor_ref, target_type, target_id, ip, "
    "request_id, received_at, id, position, leaf_hash, convert_from(leaf, 'UTF8'), convert_from(opening, 'UTF8') "
    "FROM audit_logs ORDER BY position) TO '/dev/null' (FORMAT csv, HEADER)"
)


def pulled(ready: dict[str, Any], wanted: str) -> tuple[float, float, int]:
    """Return the seconds, the server's seconds of processor time, and the bytes of one export."""
    parts = urlsplit(ready["url"])
    line = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=300)
    cpu, started, size = server.cpu_seconds(ready["pid"]), time.perf_counter(), 0
    line.request(
        "GET",
        f"/v1/export?{wanted}",
        headers={"X-API-Key": ready["admin_key"], "Accept-Encoding": "identity"},
    )
    answer = line.getresponse()
    if answer.status != 200:
        raise RuntimeError(answer.read().decode())
    while piece := answer.read(1 << 20):
        size += len(piece)
    return time.perf_counter() - started, server.cpu_seconds(ready["pid"]) - cpu, size


def copied(dsn: Dsn) -> float:
    """Return the seconds psql takes."""
    started = time.perf_counter()
    server.psql(dsn, COPY)
    return time.perf_counter() - started


def measure(folder: Path, count: int) -> bool:
    """Fill a server, print the table; tell whether CSV and JSONL reach their goals."""
    with server.tallystick(folder) as ready:
        fill(folder, ready, count)
        dsn = server.superuser(folder / "data").with_database("tallystick")
        copy = count / min(copied(dsn) for _ in range(ROUNDS))
        print(f"psql \\copy: {copy:,.0f} rows/s")
        reached = []
        for name, wanted in FORMATS.items():
            before = server.memory_peak_mb(ready["pid"])
            found = [pulled(ready, wanted) for _ in range(ROUNDS)]
            rate = count / min(seconds for seconds, _, _ in found)
            cpu = min(used for _, used, _ in found) / count * 1e6
            grown = server.memory_peak_mb(ready["pid"]) - before
            print(
                f"{name:24} {rate:8,.0f} rows/s, {rate / copy:.2f} of \\copy, {cpu:.0f} µs of the server's processor a row, "
                f"{found[0][2] / count:,.0f} bytes a row, memory +{grown:.0f} MB",
                flush=True,
            )
            if name in ("CSV", "JSONL with its proof"):
                reached += [rate >= ROWS_PER_SECOND_MIN, rate / copy >= SHARE_MIN]
        return all(reached)


def main() -> int:
    """Run; the result is 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.folder is not None:
        return not measure(asked.folder, asked.events)
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as folder:
        return not measure(Path(folder), asked.events)


if __name__ == "__main__":
    sys.exit(main())
