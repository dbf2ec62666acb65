"""A plain dump, edited as text at random places: every edit is found, and the order of its rows is no reason for an alarm."""

from __future__ import annotations

import random
import subprocess

from services.verifying import Scene, verify_bytes
from services.verifying import scene as scene

LOG_TABLES = (
    "audit_logs_", "idempotency", "log_head", "log_tiles", "log_checkpoints", "log_months", "terms", "event_counts",
    "subjects", "subject_labels",
)  # fmt: skip
UNCHECKED = {
    # Nothing of a log follows from these, or nothing that a verifier relies on.
    "log_head": {"note_at", "subject_epoch"},
    "log_checkpoints": {"signed_at"},
    "subjects": {"first_seen"},
    "subject_labels": {"trigrams"},
}


def rows_of(dump: bytes) -> list[tuple[int, str, list[str]]]:
    """Return (line number, table, columns) of every row of the log's tables in a dump."""
    found: list[tuple[int, str, list[str]]] = []
    table, columns = "", []
    for number, line in enumerate(dump.split(b"\n")):
        if line.startswith(b"COPY public."):
            table = line.decode().split()[1].removeprefix("public.")
            columns = [
                name.strip(' "') for name in line.decode().partition("(")[2].partition(")")[0].split(",")
            ]
        elif line == b"\\.":
            table = ""
        elif table.startswith(LOG_TABLES):
            found.append((number, table, columns))
    return found


def flip(lines: list[bytes], rows: list[tuple[int, str, list[str]]], rng: random.Random) -> None:
    """Flip one bit of a field that a verifier relies on."""
    number, table, columns = rng.choice(rows)
    checked = [at for at, name in enumerate(columns) if name not in UNCHECKED.get(table, ())]
    fields = lines[number].split(b"\t")
    at = rng.choice([at for at in checked if fields[at]])
    where = rng.randrange(len(fields[at]))
    fields[at] = (
        fields[at][:where] + bytes([fields[at][where] ^ 1 << rng.randrange(8)]) + fields[at][where + 1 :]
    )
    lines[number] = b"\t".join(fields)


def drop(lines: list[bytes], rows: list[tuple[int, str, list[str]]], rng: random.Random) -> None:
    del lines[rng.choice([row for row in rows if row[1] != "log_checkpoints"])[0]]


def repeat(lines: list[bytes], rows: list[tuple[int, str, list[str]]], rng: random.Random) -> None:
    number = rng.choice([row for row in rows if row[1] not in ("log_checkpoints", "subject_labels")])[0]
    lines.insert(number, lines[number])


def exchange(lines: list[bytes], rows: list[tuple[int, str, list[str]]], rng: random.Random) -> None:
    """Exchange one field of two rows of one table where it differs."""
    while True:
        first, second = rng.choice(rows), rng.choice(rows)
        at = rng.randrange(len(first[2]))
        if first[1] != second[1] or first[2][at] in UNCHECKED.get(first[1], ()):
            continue
        one, other = lines[first[0]].split(b"\t"), lines[second[0]].split(b"\t")
        if first[1] == "subject_labels" and first[2][at] == "organization_id":
            continue
        if one[at] != other[at]:
            one[at], other[at] = other[at], one[at]
            lines[first[0]], lines[second[0]] = b"\t".join(one), b"\t".join(other)
            return


def cut(lines: list[bytes], rows: list[tuple[int, str, list[str]]], rng: random.Random) -> None:
    del lines[rng.randrange(rows[0][0], rows[-1][0]) :]


def difference(dump: bytes, lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Return the lines that were edited, for the message of a failing test."""
    return [
        (one[:300], other[:300]) for one, other in zip(dump.split(b"\n"), lines, strict=False) if one != other
    ][:2]


async def test_every_edit_of_a_dump_is_found(scene: Scene) -> None:
    """A dump edited as text, forty times in each way at random places, is never called proven."""
    dump = scene.dump()
    rows, missed = rows_of(dump), []
    for edit in (flip, drop, repeat, exchange, cut):
        for repetition in range(40):
            lines = dump.split(b"\n")
            edit(lines, rows, random.Random(f"{edit.__name__} {repetition}"))
            report = verify_bytes(b"\n".join(lines), scene.log, [])
            if report.exit_code == 0:
                missed.append((edit.__name__, repetition, difference(dump, lines)))
    assert missed == []
    assert verify_bytes(dump, scene.log, []).exit_code == 0


async def test_rows_of_a_dump_may_come_in_any_order(scene: Scene) -> None:
    """The order of rows in a dump is an accident of storage, and no reason for an alarm."""
    lines = scene.dump().split(b"\n")
    runs: dict[str, list[int]] = {}
    for number, table, _ in rows_of(b"\n".join(lines)):
        runs.setdefault(table, []).append(number)
    rng = random.Random(3)
    for numbers in runs.values():
        shuffled = [lines[number] for number in numbers]
        rng.shuffle(shuffled)
        for number, line in zip(numbers, shuffled, strict=True):
            lines[number] = line
    report = verify_bytes(b"\n".join(lines), scene.log, scene.kept)
    assert (report.verdict, report.violated) == ("proven", [])


async def test_a_dump_of_something_else_is_not_checked(scene: Scene) -> None:
    """A dump without our tables, or with INSERT statements, is said to be unreadable, never proven."""
    inserts = subprocess.run(
        [scene.programs / "pg_dump", "--format=plain", "--inserts", scene.database.superuser.url],
        check=True,
        capture_output=True,
    ).stdout
    assert verify_bytes(inserts, scene.log, []).exit_code == 2
    assert verify_bytes(b"--\n-- PostgreSQL database dump\n--\n", scene.log, []).exit_code == 2
    assert verify_bytes(b"", scene.log, []).exit_code == 2
