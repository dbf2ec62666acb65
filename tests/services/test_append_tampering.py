"""What is edited in the database behind our back must stop that log, no other, before anything is signed."""

from __future__ import annotations

import asyncpg
import pytest

from postgres import Database, Pools
from services.appending import LOG, OTHER_LOG, LogUnderTest, event, events
from tallystick.errors import Tampered
from tallystick.services.log_state import consistency_proof
from tallystick.store.connect import EVERY, connect, transaction

HEAD_EDITS = {
    "size shrunk": "UPDATE log_head SET size = size - 1",
    "size grown": "UPDATE log_head SET size = size + 1",
    "frontier flipped": "UPDATE log_head SET frontier = set_byte(frontier, 0, get_byte(frontier, 0) # 1)",
    "frontier cut": "UPDATE log_head SET frontier = substr(frontier, 1, 31)",
    "frontier emptied": "UPDATE log_head SET frontier = ''",
    "note emptied": "UPDATE log_head SET note = ''",
    "note edited": "UPDATE log_head SET note = replace(note, E'\\n520\\n', E'\\n519\\n')",
    "older note": "UPDATE log_head SET note = (SELECT note FROM log_checkpoints ORDER BY size LIMIT 1)",
    "head of an older log": "UPDATE log_head SET size = o.size, frontier = o.frontier, note = o.note, "
    "last_received_at = o.last_received_at FROM old_head o",
    "head deleted": "DELETE FROM log_head",
}
ROW_EDITS = {
    "last row deleted": "DELETE FROM audit_logs WHERE position = 519",
    "row of the tail deleted": "DELETE FROM audit_logs WHERE position = 515",
    "row beyond the end": "INSERT INTO audit_logs SELECT organization_id, received_at, occurred_at, 520, "
    "gen_random_uuid(), actor_ref, actor_type, action, verb, outcome, stream, workspace, target_type, target_id, "
    "more_targets, ip, request_id, leaf_hash, seed, leaf, opening FROM audit_logs WHERE position = 519",
    "leaf replaced": "UPDATE audit_logs SET leaf = '\\x00', leaf_hash = sha256('\\x0000') WHERE position = 517",
    "rows swapped": "UPDATE audit_logs SET position = 9999 WHERE position = 516; UPDATE audit_logs SET position = 516 "
    "WHERE position = 517; UPDATE audit_logs SET position = 517 WHERE position = 9999",
    "tile of the edge edited": "UPDATE log_tiles SET hashes = set_byte(hashes, 9, get_byte(hashes, 9) # 1) "
    "WHERE level = 0 AND index = 1",
    "tile of the edge deleted": "DELETE FROM log_tiles WHERE level = 0 AND index = 1",
}


async def edit(database: Database, statement: str) -> None:
    """Run a statement as a superuser who switched the triggers off."""
    connection = await connect(database.superuser)
    try:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(statement)
    finally:
        await connection.close()


async def fill(log: LogUnderTest, database: Database) -> None:
    await log.append(events(260))
    await edit(database, "CREATE TABLE old_head AS SELECT * FROM log_head")
    await log.append(events(260))
    await log.check(520)


@pytest.mark.parametrize("name", HEAD_EDITS)
async def test_edited_head_is_noticed_while_running(log: LogUnderTest, database: Database, name: str) -> None:
    """An edited head that a running server overwrites or builds on would be an edit without a trace."""
    await fill(log, database)
    await edit(database, HEAD_EDITS[name])
    signed = log.signer.state(log.signer.origin(LOG))
    for given in (events(1), events(250)):
        with pytest.raises(Tampered):
            await log.appender.append(LOG, given, source="test")
    assert LOG in log.appender.tampered
    assert log.signer.state(log.signer.origin(LOG)) == signed


@pytest.mark.parametrize("name", [*HEAD_EDITS, *ROW_EDITS])
async def test_edits_are_noticed_at_the_next_start(log: LogUnderTest, database: Database, name: str) -> None:
    """Whatever a new server reads to go on from must be checked before it signs."""
    await fill(log, database)
    await edit(database, {**HEAD_EDITS, **ROW_EDITS}[name])
    signed = log.signer.state(log.signer.origin(LOG))
    restarted = log.new_appender()
    for given in (events(1), events(250)):
        with pytest.raises(Tampered):
            await restarted.append(LOG, given, source="test")
    assert log.signer.state(log.signer.origin(LOG)) == signed


async def test_rolled_back_log_is_noticed(log: LogUnderTest, database: Database) -> None:
    """A log set back to an earlier, correctly signed state must be noticed by the signer's memory alone."""
    await fill(log, database)
    await edit(database, HEAD_EDITS["head of an older log"])
    await edit(database, "DELETE FROM audit_logs WHERE position >= 260")
    await edit(database, "DELETE FROM idempotency WHERE position >= 260")
    await edit(database, "DELETE FROM log_tiles WHERE index >= 1")
    with pytest.raises(Tampered, match="Restore a newer backup"):
        await log.new_appender().append(LOG, events(1), source="test")
    with pytest.raises(Tampered):
        await log.appender.append(LOG, events(1), source="test")


async def test_other_logs_go_on(log: LogUnderTest, database: Database) -> None:
    """One edited log must not stop the other organizations of the server."""
    await fill(log, database)
    await log.appender.append(OTHER_LOG, events(3), source="test")
    await edit(database, f"UPDATE log_head SET size = 1 WHERE organization_id = '{LOG}'")
    with pytest.raises(Tampered):
        await log.appender.append(LOG, events(1), source="test")
    await log.appender.append(OTHER_LOG, events(3), source="test")
    assert list(log.appender.tampered) == [LOG]


async def test_restored_log_is_accepted_again(log: LogUnderTest, database: Database) -> None:
    """Once a human has put the log right it must work without a restart."""
    await fill(log, database)
    await edit(database, "UPDATE log_head SET size = size - 1")
    with pytest.raises(Tampered):
        await log.append([event()])
    await edit(database, "UPDATE log_head SET size = size + 1")
    await log.append([event()])
    assert not log.appender.tampered
    await log.check(521)


async def test_foreign_key_is_not_believed(log: LogUnderTest, database: Database, tmp_path_factory) -> None:
    """A database whose log was signed by another key must not be continued with ours."""
    await fill(log, database)
    stranger = LogUnderTest(log.pool, tmp_path_factory.mktemp("other"), log.clock)
    with pytest.raises(Tampered, match=r"signing\.key"):
        await stranger.append([event()])


@pytest.mark.parametrize("role", ["owner", "writer", "keeper", "reader"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_logs SET action = 'x'",
        "DELETE FROM audit_logs",
        "TRUNCATE audit_logs",
        "UPDATE audit_logs_2026_11 SET action = 'x'",
        "DELETE FROM audit_logs_2026_11",
        "TRUNCATE audit_logs_2026_11",
        "UPDATE log_tiles SET hashes = hashes",
        "DELETE FROM log_tiles",
        "TRUNCATE log_tiles",
    ],
)
async def test_nobody_changes_the_log(log: LogUnderTest, pools: Pools, role: str, statement: str) -> None:
    """Rows that anyone, the owner included, can change in passing are no audit log."""
    await log.append(events(260))
    connection = await getattr(pools, role).inner.acquire()
    try:
        # The keeper may delete by right, where it says whose rows, and by a guard only what a recorded removal names.
        await connection.execute("BEGIN; SET LOCAL tallystick.organization = '*'")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.execute("ROLLBACK")
        await getattr(pools, role).inner.release(connection)
    await log.check(260)


async def test_careless_update_breaks_the_row_constraint(log: LogUnderTest, database: Database) -> None:
    """Even with the triggers off, a changed leaf without its hash must be refused at once."""
    await log.append(events(1))
    with pytest.raises(asyncpg.CheckViolationError):
        await edit(database, "UPDATE audit_logs SET leaf = leaf || '\\x20'")


async def test_consistency_proof_over_an_edited_tile_fails(log: LogUnderTest, database: Database) -> None:
    """A proof made from an edited tile must not verify, or an edit could be proved away."""
    await fill(log, database)
    await edit(
        database, "UPDATE log_tiles SET hashes = set_byte(hashes, 40, 0) WHERE level = 0 AND index = 0"
    )
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        proof = await consistency_proof(connection, LOG, 3, 520)
    (path,) = (log.data / "signer").glob("*.state")
    assert path.exists()
    honest = LogUnderTest(log.pool, log.data, log.clock)
    assert proof
    with pytest.raises(AssertionError):
        await honest.check()
