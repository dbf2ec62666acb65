"""A live database and its dump, edited by a superuser: every edit is found both ways, honest logs raise no alarm."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from postgres import Cluster, Database
from services.appending import LOG, OTHER_LOG, Clock, LogUnderTest, event, events
from tallystick.catalogue.describe import verb_of
from tallystick.merkle.tree import Frontier
from tallystick.services.verify import Verify
from tallystick.verify.dump import verify_dump
from tallystick.verify.instance import Means
from tallystick.verify.known import Kept
from tallystick.verify.report import Report

EVENTS = 600
REPETITIONS = int(
    os.environ.get("FORGERY_REPETITIONS", "1")
)  # of each edit; dumps are edited 40 times as text below


@dataclass
class Scene:
    """A filled log, a superuser on its database, and both ways to verify it."""

    log: LogUnderTest
    superuser: asyncpg.Connection
    database: Database
    programs: Any
    kept: list[Kept]

    async def live(self, *, known: bool = False) -> Report:
        """Verify the live database."""
        service = Verify(self.log.pool, keys=(self.log.verifier, self.log.signer.clock()), random=os.urandom)
        return await service.database(kept=self.kept if known else ())

    def dump(self) -> bytes:
        """Dump the database as text."""
        return subprocess.run(
            [self.programs / "pg_dump", "--format=plain", "--schema=public", self.database.superuser.url],
            check=True,
            capture_output=True,
        ).stdout

    def dumped(self, *, known: bool = False) -> Report:
        """Verify a dump."""
        return verify_bytes(self.dump(), self.log, kept=self.kept if known else [])

    async def allow_edits(self) -> None:
        """Switch off every trigger and drop every constraint that stands in a forger's way."""
        await self.superuser.execute("SET session_replication_role = replica")
        await self.superuser.execute("ALTER TABLE audit_logs DROP CONSTRAINT leaf_hash_is_of_leaf")
        await self.superuser.execute("ALTER TABLE log_tiles DROP CONSTRAINT log_tiles_hashes_check")
        await self.superuser.execute("ALTER TABLE audit_logs DROP CONSTRAINT audit_logs_pkey")


def verify_bytes(dump: bytes, log: LogUnderTest, kept: list[Kept], *, keys: bool = True) -> Report:
    pieces = [dump[at : at + 65_536] for at in range(0, len(dump), 65_536)]
    means = Means(
        verb_of=verb_of,
        secret=os.urandom(32),
        keys=(log.verifier, log.signer.clock()) if keys else (),
        kept=kept,
    )
    return verify_dump(lambda: iter(pieces), means)


@pytest_asyncio.fixture
async def scene(
    log: LogUnderTest, clock: Clock, database: Database, postgres_programs: Any, postgres_cluster: Cluster
) -> AsyncIterator[Scene]:
    """A log of 600 events over three months, another of 3, with checkpoints and receipts kept from the way."""
    other = LogUnderTest(log.pool, log.data, clock, organization_id=OTHER_LOG)
    superuser = await asyncpg.connect(database.superuser.url)
    await superuser.execute(
        "INSERT INTO organizations (id, display_name) VALUES ($1, 'ours'), ($2, 'other')", LOG, OTHER_LOG
    )
    kept = []
    for size in (100, 200, 57, 43, 200):
        await log.append(events(size))
        kept.append(Kept(f"checkpoint {size}", await log.log.checkpoint(LOG)))
        clock.move(days=20)
    await other.append(
        [*events(2), event(actor={"type": "system", "name": "Cron"}, targets=None, context=None)]
    )
    kept.append(Kept("receipt", await log.log.receipt(LOG, 123)))
    yield Scene(log, superuser, database, postgres_programs, kept)
    await superuser.close()
    await other.stop()


async def test_an_honest_database_is_proven(scene: Scene) -> None:
    """A log nobody touched is proven live and as a dump, with everything kept outside confirmed."""
    for report in (await scene.live(known=True), scene.dumped(known=True)):
        assert (report.verdict, report.violated) == ("proven", [])
        assert sum("beginning of this log" in line for line in report.proven) == len(scene.kept)
        assert any("600 events: unchanged" in line for line in report.proven)
    assert verify_bytes(scene.dump(), scene.log, [], keys=False).exit_code == 2
    assert "--known" in " ".join(scene.dumped().not_proven)


async def test_appends_may_go_on_meanwhile(scene: Scene, clock: Clock) -> None:
    """A check of a log that grows under it raises no alarm."""
    service = Verify(scene.log.pool, keys=(scene.log.verifier, scene.log.signer.clock()), random=os.urandom)
    grown = 0

    async def grow() -> None:
        nonlocal grown
        for _ in range(6):
            await scene.log.append(events(100))
            clock.move(hours=5)
            grown += 1

    growing = asyncio.create_task(grow())
    while grown < 6:
        report = await service.log(LOG)
        assert (report.verdict, report.violated) == ("proven", [])
    await growing
    assert (await service.log(LOG)).facts["log size"] == EVENTS + 600


Forgery = Callable[[Scene, random.Random], Awaitable[None]]


def at_random(statement: str) -> Forgery:
    """Return the forgery that runs `statement`, with $1 = our log and $2 = a position."""

    async def run(scene: Scene, rng: random.Random) -> None:
        arguments = [LOG, rng.randrange(EVENTS)] if "$2" in statement else [LOG]
        await scene.superuser.execute(statement, *arguments)

    return run


def change_column(column: str, value: str) -> Forgery:
    return at_random(f"UPDATE audit_logs SET {column} = {value} WHERE organization_id = $1 AND position = $2")


async def swap_rows(scene: Scene, rng: random.Random) -> None:
    first, second = rng.sample(range(EVENTS), 2)
    await scene.superuser.execute(
        """UPDATE audit_logs SET position = CASE position WHEN $2 THEN $3::bigint ELSE $2::bigint END
           WHERE organization_id = $1 AND position IN ($2, $3)""",
        LOG, first, second,
    )  # fmt: skip


async def delete_and_renumber(scene: Scene, rng: random.Random) -> None:
    position = rng.randrange(EVENTS)
    for table in ("audit_logs", "idempotency"):
        await scene.superuser.execute(
            f"DELETE FROM {table} WHERE organization_id = $1 AND position = $2", LOG, position
        )
        await scene.superuser.execute(
            f"UPDATE {table} SET position = position - 1 WHERE organization_id = $1 AND position > $2",
            LOG,
            position,
        )
    await scene.superuser.execute("UPDATE log_head SET size = size - 1 WHERE organization_id = $1", LOG)


async def truncate_tail(scene: Scene, rng: random.Random) -> None:
    """Cut off the tail everywhere and put back an older, honestly signed head: only what was kept can tell."""
    note, size = rng.choice([(scene.kept[0].text, 100), (scene.kept[1].text, 300)])
    execute = scene.superuser.execute
    rows = await scene.superuser.fetch(
        "SELECT * FROM audit_logs WHERE organization_id = $1 AND position >= $2", LOG, size
    )
    for kind in (
        "action",
        "workspace",
        "target_type",
        "stream",
        "outcome",
        "verb",
        "actor_type",
        "actor_ref",
    ):
        for value, number in Counter(str(row[kind]) for row in rows).items():
            await execute(
                "UPDATE terms SET events = events - $4 WHERE organization_id = $1 AND kind = $2 AND value = $3",
                LOG,
                kind,
                value,
                number,
            )
    for (hour, outcome), number in Counter(
        (row["occurred_at"].astimezone(UTC).replace(minute=0, second=0, microsecond=0), row["outcome"])
        for row in rows
    ).items():
        await execute(
            f"UPDATE event_counts SET {outcome} = {outcome} - $3 WHERE organization_id = $1 AND hour = $2",
            LOG,
            hour,
            number,
        )
    await execute("DELETE FROM terms WHERE events = 0")
    await execute("DELETE FROM event_counts WHERE success + failure + denied + unknown = 0")
    for table in ("audit_logs", "idempotency"):
        await execute(f"DELETE FROM {table} WHERE organization_id = $1 AND position >= $2", LOG, size)
    await execute("DELETE FROM log_months WHERE organization_id = $1 AND first_position >= $2", LOG, size)
    await execute("DELETE FROM log_checkpoints WHERE organization_id = $1 AND size > $2", LOG, size)
    await execute(
        "DELETE FROM log_tiles WHERE organization_id = $1 AND (index + 1) << (8 * (level + 1)) > $2",
        LOG,
        size,
    )
    left = await scene.superuser.fetch(
        "SELECT leaf_hash, received_at FROM audit_logs WHERE organization_id = $1 ORDER BY position", LOG
    )
    frontier = Frontier().extend(row["leaf_hash"] for row in left)
    await execute(
        "UPDATE log_head SET size = $2, frontier = $3, last_received_at = $4, note = $5 WHERE organization_id = $1",
        LOG, size, b"".join(frontier.nodes), left[-1]["received_at"], note,
    )  # fmt: skip


ROW = "WHERE organization_id = $1 AND position = $2"
FORGERIES: dict[str, Forgery] = {
    "flip a byte of a leaf": change_column("leaf", "set_byte(leaf, (position % 100)::int, get_byte(leaf, (position % 100)::int) # 1)"),
    "flip a byte of an opening": change_column("opening", "set_byte(opening, (position % 60)::int, get_byte(opening, (position % 60)::int) # 1)"),
    "flip a byte of a leaf and hash it again": at_random(
        f"UPDATE audit_logs SET leaf = set_byte(leaf, 20, get_byte(leaf, 20) # 1), leaf_hash = sha256('\\x00'::bytea || set_byte(leaf, 20, get_byte(leaf, 20) # 1)) {ROW}"
    ),
    "change the hash": change_column("leaf_hash", "set_byte(leaf_hash, 3, get_byte(leaf_hash, 3) # 4)"),
    "change the seed": change_column("seed", "set_byte(seed, 3, get_byte(seed, 3) # 4)"),
    "change a sealed value": change_column("opening", "replace(convert_from(opening, 'UTF8'), 'Person ', 'Persona')::bytea"),
    "take another row's opening": change_column(
        "opening", "(SELECT o.opening FROM audit_logs o WHERE o.organization_id = $1 AND o.position = ($2 + 1) % 600)"
    ),
    "back-date": change_column("occurred_at", "occurred_at - interval '1 year'"),
    "change received_at": change_column("received_at", "received_at + interval '1 second'"),
    "change the id": change_column("id", "gen_random_uuid()"),
    "change the actor": change_column("actor_ref", "gen_random_uuid()"),
    "change the actor's type": change_column("actor_type", "'service'"),
    "change the action": change_column("action", "'harmless.read'"),
    "change the verb": change_column("verb", "'delete'"),
    "change the outcome": change_column("outcome", "'unknown'"),
    "change the stream": change_column("stream", "'elsewhere'"),
    "change the workspace": change_column("workspace", "'elsewhere'"),
    "change the target's type": change_column("target_type", "'elsewhere'"),
    "change the target's id": change_column("target_id", "'elsewhere'"),
    "change other targets": change_column("more_targets", "'{}'"),
    "change the ip": change_column("ip", "''"),
    "change the request id": change_column("request_id", "''"),
    "delete a row": at_random(f"DELETE FROM audit_logs {ROW}"),
    "delete a row and its id": at_random(
        "WITH gone AS (DELETE FROM idempotency WHERE organization_id = $1 AND position = $2) "
        "DELETE FROM audit_logs WHERE organization_id = $1 AND position = $2"
    ),
    "delete and renumber": delete_and_renumber,
    "insert a copy at the end": at_random(
        "INSERT INTO audit_logs SELECT organization_id, received_at, occurred_at, 600, gen_random_uuid(), actor_ref, actor_type, "
        "action, verb, outcome, stream, workspace, target_type, target_id, more_targets, ip, request_id, leaf_hash, seed, leaf, "
        f"opening FROM audit_logs {ROW}"
    ),
    "insert a second row at a position": at_random(
        "INSERT INTO audit_logs SELECT organization_id, received_at + interval '1 microsecond', occurred_at, position, id, actor_ref, "
        "actor_type, action, verb, outcome, stream, workspace, target_type, target_id, more_targets, ip, request_id, leaf_hash, seed, "
        f"leaf, opening FROM audit_logs {ROW}"
    ),
    "move a row into another log": at_random(
        f"UPDATE audit_logs SET organization_id = '{OTHER_LOG}', position = 3 {ROW}"
    ),
    "swap two rows": swap_rows,
    "shrink the head": at_random("UPDATE log_head SET size = size - 1 WHERE organization_id = $1"),
    "put back an older head": at_random(
        "UPDATE log_head SET size = 1, frontier = (SELECT leaf_hash FROM audit_logs WHERE organization_id = $1 AND position = 0) "
        "WHERE organization_id = $1"
    ),
    "change the frontier": at_random(
        "UPDATE log_head SET frontier = set_byte(frontier, 9, get_byte(frontier, 9) # 1) WHERE organization_id = $1"
    ),
    "change the note": at_random("UPDATE log_head SET note = replace(note, E'\\n600\\n', E'\\n601\\n') WHERE organization_id = $1"),
    "empty the note": at_random("UPDATE log_head SET note = '' WHERE organization_id = $1"),
    "change the last stamp": at_random(
        "UPDATE log_head SET last_received_at = last_received_at + interval '1 hour' WHERE organization_id = $1"
    ),
    "delete the head": at_random("DELETE FROM log_head WHERE organization_id = $1"),
    "edit a tile": at_random("UPDATE log_tiles SET hashes = set_byte(hashes, 4000, get_byte(hashes, 4000) # 1) WHERE organization_id = $1 AND index = 1"),
    "append bytes to a tile": at_random("UPDATE log_tiles SET hashes = hashes || '\\x00' WHERE organization_id = $1 AND index = 0"),
    "delete a tile": at_random("DELETE FROM log_tiles WHERE organization_id = $1 AND index = 1"),
    "add a tile": at_random("INSERT INTO log_tiles SELECT organization_id, 0, 2, hashes FROM log_tiles WHERE organization_id = $1 AND index = 1"),
    "delete an id": at_random("DELETE FROM idempotency WHERE organization_id = $1 AND position = $2"),
    "change an id": at_random("UPDATE idempotency SET id = gen_random_uuid() WHERE organization_id = $1 AND position = $2"),
    "point an id elsewhere": at_random("UPDATE idempotency SET position = ($2 + 7) % 600 WHERE organization_id = $1 AND position = $2"),
    "add an id": at_random("INSERT INTO idempotency VALUES ($1, gen_random_uuid(), $2, now())"),
    "add an id beyond the log": at_random("INSERT INTO idempotency VALUES ($1, gen_random_uuid(), 600 + $2, now())"),
    "change a retained checkpoint": at_random(
        "UPDATE log_checkpoints SET note = replace(note, E'\\n1', E'\\n2'), size = size + 100 WHERE organization_id = $1 AND size = 100"
    ),
    "take another checkpoint's note": at_random(
        "UPDATE log_checkpoints SET note = (SELECT note FROM log_checkpoints WHERE organization_id = $1 AND size = 300) "
        "WHERE organization_id = $1 AND size = 100"
    ),
    "change a month": at_random("UPDATE log_months SET first_position = first_position + 1 WHERE organization_id = $1"),
    "delete a month": at_random("DELETE FROM log_months WHERE organization_id = $1 AND first_position > 0"),
    "delete a term": at_random("DELETE FROM terms WHERE organization_id = $1 AND kind = 'action' AND value = 'login'"),
    "change a count": at_random("UPDATE terms SET events = events - 1 WHERE organization_id = $1 AND kind = 'outcome' AND value = 'denied'"),
    "change an hour": at_random("UPDATE event_counts SET denied = denied - 1 WHERE organization_id = $1 AND denied > 0"),
    "change who someone is": at_random("UPDATE subjects SET id = 'somebody else' WHERE organization_id = $1 AND id = 'user-3'"),
    "delete a subject": at_random("DELETE FROM subjects WHERE organization_id = $1 AND id = 'user-3'"),
    "delete a label": at_random("DELETE FROM subject_labels WHERE organization_id = $1 AND label = 'person 4'"),
    "change a label": at_random("UPDATE subject_labels SET label = 'nobody' WHERE organization_id = $1 AND label LIKE 'person5@%'"),
}  # fmt: skip


TABLES = (
    "audit_logs", "idempotency", "log_head", "log_tiles", "log_checkpoints", "log_months", "terms", "event_counts",
    "subjects", "subject_labels",
)  # fmt: skip


async def back_up(scene: Scene) -> None:
    for table in TABLES:
        await scene.superuser.execute(f"CREATE TABLE backup.{table} AS TABLE public.{table}")


async def restore(scene: Scene) -> None:
    for table in TABLES:
        await scene.superuser.execute(
            f"TRUNCATE public.{table}; INSERT INTO public.{table} TABLE backup.{table}"
        )


@pytest.mark.parametrize("part", range(4))
async def test_every_edit_by_a_superuser_is_found(part: int, scene: Scene) -> None:
    """Whatever a superuser changes in the rows, the tree, the head, the ids or the dictionaries is found both ways."""
    await scene.allow_edits()
    await scene.superuser.execute("CREATE SCHEMA backup")
    await back_up(scene)
    missed = []
    for name in list(FORGERIES)[part::4]:
        for repetition in range(REPETITIONS):
            await FORGERIES[name](scene, random.Random(f"{name} {repetition}"))
            if (codes := (scene_live := await scene.live()).exit_code, scene.dumped().exit_code) != (1, 1):
                missed.append((name, repetition, codes, scene_live))
            await restore(scene)
    assert missed == []
    assert ((await scene.live()).exit_code, scene.dumped().exit_code) == (0, 0)


async def test_a_perfect_rollback_is_found_by_what_was_kept(scene: Scene) -> None:
    """A tail cut off everywhere, with an older head put back, is honest in itself; a kept checkpoint finds it."""
    await scene.allow_edits()
    await truncate_tail(scene, random.Random(1))
    for report in (await scene.live(), scene.dumped()):
        assert (report.exit_code, report.violated) == (0, [])
        assert any("rolled back" in line for line in report.not_proven)
    for report in (await scene.live(known=True), scene.dumped(known=True)):
        assert {finding.kind for finding in report.violated} == {"rollback"}


async def test_a_log_that_vanished_is_found_by_what_was_kept(scene: Scene) -> None:
    """An organization removed from every table leaves no trace in the database; a kept checkpoint is one."""
    await scene.allow_edits()
    for (table,) in await scene.superuser.fetch(
        "SELECT table_name FROM information_schema.columns WHERE column_name = 'organization_id' AND table_name !~ 'audit_'"
    ):
        await scene.superuser.execute(f"DELETE FROM {table} WHERE organization_id = $1", LOG)
    await scene.superuser.execute("DELETE FROM audit_logs WHERE organization_id = $1", LOG)
    assert (await scene.live()).exit_code == 0
    for report in (await scene.live(known=True), scene.dumped(known=True)):
        assert report.exit_code == 1
    await scene.superuser.execute("DELETE FROM organizations WHERE id = $1", LOG)
    for report in (await scene.live(known=True), scene.dumped(known=True)):
        assert {finding.kind for finding in report.violated} == {"missing_log"}


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
