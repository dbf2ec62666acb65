"""A power cut, simulated: of what was written, only what was synced is sure to be there.

Every write and fsync of a recording process is traced; then the disk is rebuilt as it may look when the power
goes at a random moment: synced writes are there, each later one is there or not. The spool found on such a disk
must hold every event that `record` had returned for by then.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

APP = """
import os, sys, threading
import tallystick
journal = os.open(sys.argv[1] + "/journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
audit = tallystick.Audit(profile=sys.argv[2], spool=sys.argv[1] + "/spool", exit_seconds=0)
os.write(journal, b"begin\\n")
def work(name):
    for n in range(12):
        id = audit.record("x.y", actor=tallystick.System(), metadata={"n": n}).id
        os.write(journal, id.encode() + b"\\n")
threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
spool = audit.recording.delivery.spool
sent = spool.batch(8, 10**6)
for row in sent:
    os.write(journal, b"-" + row.id.encode() + b"\\n")
spool.settle(sent)      # what a sender does: deletes, without a sync
spool.file.checkpoint()
for n in range(5):
    os.write(journal, audit.record("x.z", actor=tallystick.System()).id.encode() + b"\\n")
os._exit(0)
"""
_CALL = re.compile(
    r"(?P<name>pwrite64|write|fdatasync|fsync|ftruncate)\(\d+<(?P<path>[^>]*)>"
    r'(?:, "(?P<text>(?:\\x[0-9a-f]{2})*)"(?:\.\.\.)?, \d+(?:, (?P<offset>\d+))?)?(?:, (?P<size>\d+))?\)\s+= (?P<result>-?\d+)'
)
_UNLINK = re.compile(r'unlink\("((?:\\x[0-9a-f]{2})*)"\)\s+= 0')
Step = tuple[str, str, bytes, int]


def trace(folder: Path, profile: str) -> list[Step]:
    """Run the application under strace and return what it did to its files: name, path, bytes, offset."""
    out = folder / "trace"
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    subprocess.run(
        ["strace", "-f", "-y", "-xx", "-s", "100000", "-e", "trace=pwrite64,write,fdatasync,fsync,ftruncate,unlink", "-o", str(out),
         sys.executable, "-c", APP, str(folder), profile],
        env=clean, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    begun: dict[str, str] = {}
    steps: list[Step] = []
    for line in out.read_text().splitlines():
        thread, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix("<unfinished ...>").rstrip()
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", call):
            call = begun.pop(thread) + resumed[1]
        if gone := _UNLINK.match(call):
            steps.append(("unlink", bytes.fromhex(gone[1].replace("\\x", "")).decode(), b"", 0))
        found = _CALL.match(call)
        if found is None or int(found["result"]) < 0:
            continue
        # With -xx paths are written in hexadecimal as well.
        path = (
            bytes.fromhex(found["path"].replace("\\x", "")).decode()
            if "\\x" in found["path"]
            else found["path"]
        )
        if path.startswith(str(folder)):
            text = bytes.fromhex((found["text"] or "").replace("\\x", ""))
            steps.append((found["name"], path, text, int(found["offset"] or found["size"] or 0)))
    return steps


def disk_after(steps: list[Step], chance: random.Random) -> tuple[dict[str, bytearray], set[str]]:
    """Return the files as a power cut after `steps` may leave them, and the ids acknowledged until then."""
    files: dict[str, bytearray] = {}
    unsynced: dict[str, list[Step]] = {}
    acknowledged: set[str] = set()
    for step in steps:
        name, path, text, _ = step
        if path.endswith("/journal"):
            acknowledged.update(line for line in text.decode().split() if len(line) == 36)
            acknowledged.difference_update(line[1:] for line in text.decode().split() if line[0] == "-")
        elif name == "unlink":
            files.pop(path, None)  # SQLite syncs the folder after this, and before anything builds on it
            unsynced.pop(path, None)
        elif name in ("fsync", "fdatasync"):
            for waiting in unsynced.pop(path, []):
                apply(files, waiting)
        else:
            unsynced.setdefault(path, []).append(step)
    for waiting in unsynced.values():
        for step in waiting:
            if chance.random() < 0.5:
                apply(files, step)
    return files, acknowledged


def apply(files: dict[str, bytearray], step: Step) -> None:
    name, path, text, offset = step
    held = files.setdefault(path, bytearray())
    if name == "ftruncate":
        del held[offset:]
        held.extend(bytes(offset - len(held)))
        return
    if len(held) < offset:
        held.extend(bytes(offset - len(held)))
    held[offset : offset + len(text)] = text


def lost(steps: list[Step], rounds: int, folder: Path) -> int:
    """Cut the power `rounds` times and return how many acknowledged events were not on the disk afterwards."""
    chance = random.Random(5)
    begin = next(at for at, step in enumerate(steps) if step[2] == b"begin\n")
    missing = 0
    for number in range(rounds):
        at = chance.randrange(begin, len(steps))
        files, acknowledged = disk_after(steps[: at + 1], chance)
        place = folder / f"after-{number}"
        place.mkdir()
        for path, held in files.items():
            if not path.endswith("-shm"):
                (place / Path(path).name).write_bytes(held)
        spool = next(place.glob("*.spool"), None)
        found: set[str] = set()
        if spool is not None:
            connection = sqlite3.connect(spool)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'waiting'").fetchone():
                found = {row[0] for row in connection.execute("SELECT id FROM waiting")}
            connection.close()
        missing += len(acknowledged - found)
        shutil.rmtree(place)
    return missing


def test_a_durable_spool_survives_a_power_cut(tmp_path: Path) -> None:
    """`durable` promises that what record() returned for survives the machine, not only the process."""
    steps = trace(tmp_path, "durable")
    assert sum(step[0] in ("fsync", "fdatasync") for step in steps) >= 10
    assert lost(steps, 60, tmp_path) == 0


def test_the_simulation_would_notice(tmp_path: Path) -> None:
    """`fast` gives the sync away; a simulation in which that costs nothing would prove nothing."""
    assert lost(trace(tmp_path, "fast"), 60, tmp_path) > 0
