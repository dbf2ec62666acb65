"""How fast is a JSONL export verified, and in how much memory?

    python bench/verify_speed.py [events]        default 1,000,000; needs no database and 4 KB of disk an event

Writes an export of synthetic events, then verifies it in a process of its own on one core and reports events per
second of that process's CPU time and of the clock, peak memory, and how fast leaf hashes alone become a root.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from bench.events import events
from tallystick.event.prepare import prepare
from tallystick.event.redact import Redaction
from tallystick.event.seal import seal
from tallystick.formats.jsonl import ExportRow, JsonlWriter
from tallystick.merkle.checkpoint import Checkpoint
from tallystick.merkle.keys import SignerKey, VerifierKey
from tallystick.merkle.tree import Frontier, root_of
from tallystick.verify.export import verify_export
from tallystick.verify.layout import Header, Trailer, trailer_line

ORGANIZATION = "6f1b2c3d-0000-4000-8000-000000000001"
ORIGIN = f"bench.example.com/o/{ORGANIZATION}"
SIGNER = SignerKey(ORIGIN, bytes(32))
BATCH = 1_000
PIECE_BYTES = 1 << 18
SOURCE = "key:key_0123456789abcdef"
DISTINCT = 5_000  # events that are prepared; each is sealed again and again with seeds and times of its own


def sealed_rows(count: int) -> Iterator[list[ExportRow]]:
    """Yield rows of a log in batches of 1,000; nine sealed values each, 650 bytes as they were sent."""
    rng = random.Random(1)
    redaction = Redaction(key=bytes(32))
    distinct = [
        prepare(json.dumps(one).encode(), redaction=redaction, new_id=uuid4)
        for one in events(min(count, DISTINCT))
    ]
    at = datetime.now(UTC)
    for first in range(0, count, BATCH):
        at += timedelta(seconds=3)
        rows = []
        for position in range(first, min(first + BATCH, count)):
            event = distinct[position % len(distinct)]
            refs = [UUID(bytes=rng.randbytes(16)) for _ in event.subjects]
            one = seal(event, origin=ORIGIN, source=SOURCE, received_at=at, refs=refs, seed=rng.randbytes(16))
            rows.append(ExportRow(position, one.leaf_hash, one.leaf, one.opening, one.seed))
        yield rows


def write_export(path: Path, count: int) -> None:
    """Write the export: the lines first, then, when the root is known, the header in front of them."""
    body = path.with_suffix(".body")
    frontier, writer = Frontier(), JsonlWriter(header(count, bytes(32)))
    with body.open("wb") as out:
        for rows in sealed_rows(count):
            frontier = frontier.extend(row.leaf_hash for row in rows)
            out.write(writer.rows(rows))
    first_line = JsonlWriter(header(count, frontier.root())).begin()
    last = Trailer(events=count, bare=0, header_sha256=hashlib.sha256(first_line).hexdigest())
    with path.open("wb") as out, body.open("rb") as read:
        out.write(first_line)
        shutil.copyfileobj(read, out)
        out.write(trailer_line(last))
    body.unlink()


def header(count: int, root: bytes) -> Header:
    """Return the header of an export of a whole log of `count` events."""
    return Header(
        origin=ORIGIN,
        organization=ORGANIZATION,
        filter="",
        start=0,
        end=count,
        size=count,
        created_at="2026-12-01T00:00:00.000000Z",
        keys=(SIGNER.verifier.format(),),
        checkpoint=Checkpoint(ORIGIN, count, root).sign(SIGNER).format(),
        left=(),
        right=(),
    )


def verify_here(path: Path, key: str) -> dict[str, float | str]:
    """Verify in this process and return the figures."""
    pieces = iter(lambda: read.read(PIECE_BYTES), b"")
    with path.open("rb") as read:
        clock, cpu = time.perf_counter(), time.process_time()
        report = verify_export(pieces, keys=(VerifierKey.parse(key),))
        clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"verdict": report.verdict, "clock": clock, "cpu": cpu, "peak_mb": peak}


def root_speed(hashes: int = 1_000_000) -> float:
    """Return how many leaf hashes a second of CPU time become a root."""
    leaves = [hashlib.sha256(number.to_bytes(8, "big")).digest() for number in range(hashes)]
    cpu = time.process_time()
    root_of(leaves)
    return hashes / (time.process_time() - cpu)


def main() -> None:
    """Run as a program; with the hidden argument --child verify one file and print JSON."""
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(verify_here(Path(sys.argv[2]), sys.argv[3])))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export.jsonl"
        write_export(path, count)
        for _ in range(int(os.environ.get("REPEAT", "3"))):
            child = [
                sys.executable,
                "-m",
                "bench.verify_speed",
                "--child",
                str(path),
                SIGNER.verifier.format(),
            ]
            found = json.loads(subprocess.run(child, check=True, capture_output=True).stdout)
            print(
                f"{count:,} events, {path.stat().st_size / count:,.0f} bytes each: {found['verdict']}; "
                f"{count / found['cpu']:,.0f} events/s of CPU, {count / found['clock']:,.0f} by the clock, "
                f"peak {found['peak_mb']:,.0f} MB"
            )
    print(f"leaf hashes to root: {root_speed():,.0f} a second")


if __name__ == "__main__":
    main()
