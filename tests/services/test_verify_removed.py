"""A log with removed, held and erased events, edited by a forger or a superuser: every edit is found."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import msgspec
import pytest

from postgres import Database
from services.appending import event
from services.keeping import Office
from tallystick.event.unseal import erase
from tallystick.query.model import Clause
from tallystick.services.keeping.erasure import ErasureWish
from tallystick.services.keeping.holds import HoldWish
from tallystick.services.keeping.rules import Wish
from tallystick.verify.layout import bare_line
from verify.forgery import Lines, forged, pick

REPETITIONS = 40
ADA = {"type": "user", "id": "usr_ada_77", "name": "Ada Lovelace", "email": "ada@lovelace.example"}


async def lived(office: Office) -> Office:
    """Let the log live: events, a policy, a hold, purges and an erasure."""
    for _ in range(40):
        await office.log.append([event(workspace=f"w-{at % 3}") for at in range(10)])
    await office.log.append([event(actor=ADA, workspace="w-0") for _ in range(20)])
    await office.age(0, days=400)
    await office.log.append([event(actor=ADA, workspace="w-0") for _ in range(20)])
    await office.holds.set(office.boss, HoldWish(reason="case", workspace="w-1"))
    await office.policies.change(office.boss, Wish(class_="custom", days=200))
    await office.purge.run(office.log.organization_id)
    office.clock.move(days=8)
    await office.erasures.erase(office.boss, ErasureWish(id=ADA["id"]))
    await office.age(60)
    await office.purge.run(office.log.organization_id)
    return office


def hash_of(line: dict[str, Any]) -> bytes:
    return hashlib.sha256(b"\0" + msgspec.json.encode(line["leaf"])).digest()


def is_record(line: dict[str, Any]) -> bool:
    return "event" in line and line["event"]["action"] in ("retention.pruned", "privacy.erased")


def accounts(line: dict[str, Any]) -> bool:
    """Tell whether a record speaks of anything that is gone."""
    return bool({"parts", "fields", "removed"} & set(line["opening"].get("metadata", {})))


def hide_as_removed(lines: Lines, rng: random.Random) -> None:
    """An event looks as if a purge had taken it."""
    at = rng.choice([at for at, line in enumerate(lines) if "event" in line])
    lines[at] = msgspec.json.decode(bare_line(lines[at]["position"], [hash_of(lines[at])], removed=True))


def unmark(lines: Lines, rng: random.Random) -> None:
    """Removed events look like events that a filter left out."""
    line = rng.choice([line for line in lines if line.get("removed")])
    del line["removed"]


def mark(lines: Lines, rng: random.Random) -> None:
    """Removed is not said as it is written."""
    line = rng.choice([line for line in lines if line.get("removed")])
    line["removed"] = rng.choice([False, 1, "true", None])


def change_a_hash(lines: Lines, rng: random.Random) -> None:
    line = rng.choice([line for line in lines if line.get("removed")])
    text = line["leaf_hashes"]
    at = rng.randrange(len(text) - 4)
    line["leaf_hashes"] = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


def hide_a_record(lines: Lines, rng: random.Random) -> None:
    """The record of a removal is taken out, as if it had been removed itself."""
    at = rng.choice([at for at, line in enumerate(lines) if is_record(line) and accounts(line)])
    lines[at] = msgspec.json.decode(bare_line(lines[at]["position"], [hash_of(lines[at])], removed=True))


def change_a_record(lines: Lines, rng: random.Random) -> None:
    """A record is made to speak of more."""
    line = rng.choice([line for line in lines if is_record(line)])
    line["opening"]["metadata"]["events"] = 7
    line["event"]["metadata"]["events"] = 7


def erase_the_record(lines: Lines, rng: random.Random) -> None:
    """What a record says is erased."""
    at = rng.choice([at for at, line in enumerate(lines) if is_record(line) and accounts(line)])
    _erase(lines[at], {"metadata"})


def erase_more(lines: Lines, rng: random.Random) -> None:
    """A value more is erased, with everything right but the record."""
    line = pick(lines, rng, "event")
    paths = [path for path in line["opening"] if path != "$erased"]
    if paths:
        _erase(line, {rng.choice(paths)})


def fake_after_erasure(lines: Lines, rng: random.Random) -> None:
    """An erased value comes back as another one."""
    line = rng.choice([line for line in lines if "event" in line and "$erased" in line["opening"]])
    gone = line["opening"]["$erased"]
    path = rng.choice(list(gone))
    if rng.random() < 0.5:
        del gone[path]
    line["opening"][path] = "fake"
    line["opening"] = dict(sorted(line["opening"].items()))
    if path.startswith("actor/"):
        line["event"]["actor"][path[6:]] = "fake"


def change_a_commit(lines: Lines, rng: random.Random) -> None:
    line = rng.choice([line for line in lines if "event" in line and "$erased" in line["opening"]])
    gone = line["opening"]["$erased"]
    path = rng.choice(list(gone))
    gone[path] = gone[path][::-1]


def change_a_salt(lines: Lines, rng: random.Random) -> None:
    line = rng.choice([line for line in lines if isinstance(line.get("seed"), dict) and line["seed"]])
    path = rng.choice(list(line["seed"]))
    line["seed"][path] = line["seed"][path][::-1]


def drop_a_record_line(lines: Lines, rng: random.Random) -> None:
    del lines[rng.choice([at for at, line in enumerate(lines) if "record" in line and accounts(line)])]


def change_a_record_line(lines: Lines, rng: random.Random) -> None:
    line = rng.choice([line for line in lines if "record" in line])
    match rng.randrange(4):
        case 0:
            line["record"] += rng.choice([-1, 1])
        case 1:
            line["proof"] = line["proof"][1:]
        case 2:
            line["opening"]["metadata"]["format"] = 2
        case _:
            line["leaf"]["source"] = "key:k"


def _erase(line: dict[str, Any], paths: set[str]) -> None:
    opening, seed = line["opening"], line["seed"]
    stored = bytes.fromhex(seed) if isinstance(seed, str) else msgspec.json.encode(seed)
    left, salts = erase(msgspec.json.encode(opening), stored, paths)
    line["opening"], line["seed"] = msgspec.json.decode(left), msgspec.json.decode(salts)
    from tallystick.verify.layout import full_line

    whole = full_line(
        line["position"], line["event"]["organization"], msgspec.json.encode(line["leaf"]), left, salts
    )
    line["event"] = msgspec.json.decode(whole)["event"]


WHOLE = (
    hide_as_removed, unmark, mark, change_a_hash, hide_a_record, change_a_record, erase_the_record, erase_more,
    fake_after_erasure, change_a_commit, change_a_salt,
)  # fmt: skip
PART = (
    hide_as_removed,
    mark,
    change_a_hash,
    erase_more,
    fake_after_erasure,
    drop_a_record_line,
    change_a_record_line,
)


async def test_every_forgery_of_an_export_is_found(office: Office) -> None:
    """No edit that concerns removed or erased events passes, in a whole export or in a filtered one."""
    await lived(office)
    whole = await office.exported()
    part = await office.exported(never=(Clause("workspace", ("w-2",)),))
    assert office.check(whole).violated == []
    assert office.check(part).violated == []
    assert office.check(whole).facts["removed"] > 100
    assert office.check(part).facts["erased"] > 10
    missed: list[tuple[str, str, int]] = []
    for name, export, forgeries in (("whole", whole, WHOLE), ("part", part, PART)):
        for forgery in forgeries:
            for repetition in range(REPETITIONS):
                rng = random.Random(repetition)
                made = forged(export, lambda lines, rng=rng, forgery=forgery: forgery(lines, rng))
                if made != export and office.check(made).exit_code == 0:
                    missed.append((name, forgery.__name__, repetition))
    assert missed == []


async def delete_a_row(db: asyncpg.Connection, rng: random.Random) -> None:
    await db.execute("DELETE FROM audit_logs WHERE position = $1", await some(db, rng))


async def delete_and_declare(db: asyncpg.Connection, rng: random.Random) -> None:
    """A row goes, and the table of removals says that an honest purge took it."""
    position = await some(db, rng, below=256)
    await db.execute("DELETE FROM audit_logs WHERE position = $1", position)
    await db.execute(
        "UPDATE removals SET positions = positions + int8multirange(int8range($1::bigint, $1::bigint + 1)) WHERE id = "
        "(SELECT id FROM removals WHERE kind <> 'fields' ORDER BY position LIMIT 1)", position,
    )  # fmt: skip


async def forget_a_removal(db: asyncpg.Connection, rng: random.Random) -> None:
    await db.execute(
        "DELETE FROM removals WHERE id = (SELECT id FROM removals WHERE kind <> 'fields' ORDER BY random() LIMIT 1)"
    )


async def bring_back(db: asyncpg.Connection, rng: random.Random) -> None:
    """A removed position gets a row again, somebody else's."""
    await db.execute(
        "INSERT INTO audit_logs (organization_id, received_at, occurred_at, position, id, actor_ref, actor_type, action, verb, "
        "outcome, stream, workspace, target_type, target_id, more_targets, ip, request_id, leaf_hash, seed, leaf, opening) "
        "SELECT organization_id, received_at, occurred_at, (SELECT first_position FROM removals WHERE kind <> 'fields' "
        "ORDER BY random() LIMIT 1), gen_random_uuid(), actor_ref, actor_type, action, verb, outcome, stream, workspace, "
        "target_type, target_id, more_targets, ip, request_id, leaf_hash, seed, leaf, opening FROM audit_logs "
        "ORDER BY random() LIMIT 1"
    )  # fmt: skip


async def change_a_tile(db: asyncpg.Connection, rng: random.Random) -> None:
    await db.execute(
        "UPDATE log_tiles SET hashes = set_byte(hashes, $1, get_byte(hashes, $1) # 1) WHERE level = 0 AND index = 0",
        rng.randrange(8192),
    )


async def erase_a_row(db: asyncpg.Connection, rng: random.Random) -> None:
    position = await some(db, rng)
    row = await db.fetchrow("SELECT opening, seed FROM audit_logs WHERE position = $1", position)
    assert row is not None
    paths = [path for path in msgspec.json.decode(row["opening"]) if path not in ("$erased", "context/ip")]
    opening, seed = erase(row["opening"], row["seed"], {rng.choice(paths)}) if paths else (b"{}", row["seed"])
    await db.execute(
        "UPDATE audit_logs SET opening = $2, seed = $3 WHERE position = $1", position, opening, seed
    )


async def some(db: asyncpg.Connection, rng: random.Random, below: int = 10_000) -> int:
    rows = await db.fetch("SELECT position FROM audit_logs WHERE position < $1 ORDER BY 1", below)
    return rng.choice(rows)["position"]


EDITS: tuple[Callable[[asyncpg.Connection, random.Random], Awaitable[None]], ...] = (
    delete_a_row, delete_and_declare, forget_a_removal, bring_back, change_a_tile, erase_a_row,
)  # fmt: skip
COPIED = {
    "audit_logs": "*", "log_tiles": "*",
    "removals": "organization_id, id, kind, positions, position, recorded_at, transaction",
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
async def test_every_edit_of_the_database_is_found(
    edit: Callable[[asyncpg.Connection, random.Random], Awaitable[None]], office: Office, database: Database
) -> None:
    """Whatever a superuser does to rows, tiles and the table of removals, the verifier says so."""
    await lived(office)
    await office.proven()
    db = await asyncpg.connect(database.superuser.url)
    await db.execute("SET session_replication_role = replica")
    for table, columns in COPIED.items():
        await db.execute(f"CREATE TABLE copy_of_{table} AS SELECT {columns} FROM {table}")
    missed = []
    for repetition in range(REPETITIONS):
        await edit(db, random.Random(repetition))
        report = await office.verify.log(office.log.organization_id)
        if report.exit_code == 0:
            missed.append(repetition)
        for table, columns in COPIED.items():
            names = "" if columns == "*" else f"({columns})"
            await db.execute(
                f"DELETE FROM {table}; INSERT INTO {table} {names} SELECT {columns} FROM copy_of_{table}"
            )
    await office.proven()
    await db.close()
    assert missed == []


async def test_a_purge_of_held_events_is_found(office: Office, database: Database) -> None:
    """An administrator who deletes a hold's row gets held events removed, and is found by what the log says of the hold."""
    await office.log.append([event(workspace="w-1") for _ in range(600)])
    await office.age(0, days=400)
    await office.age(10)
    await office.holds.set(office.boss, HoldWish(reason="case", workspace="w-1"))
    db = await asyncpg.connect(database.superuser.url)
    await db.execute("DELETE FROM legal_holds")
    assert await office.purge.run(office.log.organization_id) == 512
    for report in (
        await office.verify.log(office.log.organization_id),
        office.check(await office.exported()),
    ):
        assert {one.kind for one in report.violated} == {"held"}
    await db.close()


async def test_a_purge_under_an_edited_policy_is_found(office: Office, database: Database) -> None:
    """An administrator who edits the table of policies gets events removed early, and is found by the recorded policy."""
    await office.log.append([event() for _ in range(600)])
    await office.age(0, days=100)
    await office.age(10)
    await office.policies.change(office.boss, Wish(class_="forever"))
    db = await asyncpg.connect(database.superuser.url)
    await db.execute("UPDATE retention_policies SET days = 30, class = 'thirty_days'")
    assert await office.purge.run(office.log.organization_id) == 512
    for report in (
        await office.verify.log(office.log.organization_id),
        office.check(await office.exported()),
    ):
        assert {one.kind for one in report.violated} == {"retention"}
    await db.close()


async def test_a_shortening_without_notice_is_found(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server made to skip the notice writes a record that no verifier accepts."""
    from datetime import timedelta

    monkeypatch.setattr("tallystick.services.keeping.policies.NOTICE", timedelta(days=-1))
    await office.age(600, days=100)
    await office.age(10)
    await office.policies.change(office.boss, Wish(class_="thirty_days"))
    office.clock.move(days=1)
    await office.purge.run(office.log.organization_id)
    for report in (
        await office.verify.log(office.log.organization_id),
        office.check(await office.exported()),
    ):
        assert "notice" in {one.kind for one in report.violated}


async def test_only_the_keeper_removes_and_only_with_a_record(office: Office) -> None:
    """Owner, writer and reader cannot remove, nor can the keeper without a record that is in the log at the commit."""
    await office.age(300)
    pools = office.pools
    for pool in (pools.owner, pools.writer, pools.reader, pools.keeper):
        for statement in (
            "DELETE FROM audit_logs WHERE position = 1",
            "UPDATE audit_logs SET opening = '{}' WHERE position = 1",
            "TRUNCATE audit_logs",
        ):
            connection = await pool.inner.acquire()
            try:
                await connection.execute("BEGIN; SET LOCAL tallystick.organization = '*'")
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
            finally:
                await connection.execute("ROLLBACK")
                await pool.inner.release(connection)
    connection = await pools.keeper.inner.acquire()
    await connection.execute("BEGIN; SET LOCAL tallystick.organization = '*'")
    await connection.execute(
        "INSERT INTO removals (organization_id, id, kind, positions) VALUES ($1, gen_random_uuid(), 'retention', "
        "'{[0,200)}')", office.log.organization_id,
    )  # fmt: skip
    await connection.execute("DELETE FROM audit_logs WHERE position = 1")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("COMMIT")
    await pools.keeper.inner.release(connection)
    await office.log.check(300)
