"""The instance log's promises: every organization's checkpoint is in it, once, provably, and nobody can set it back."""

from __future__ import annotations

import asyncio
from uuid import UUID

import psycopg
import pytest

from postgres import Database, Pools
from services.appending import LOG, OTHER_LOG, Clock, Fault, Faults, LogUnderTest, event, faulty
from tallystick.errors import AuditError, NotFound, Tampered, UnknownOutcome
from tallystick.merkle.checkpoint import open_checkpoint, parse_checkpoint
from tallystick.merkle.note import parse_note
from tallystick.merkle.proof import verify_consistency
from tallystick.merkle.tile import tiles_of_size
from tallystick.merkle.tlog_proof import parse_tlog_proof
from tallystick.merkle.tree import leaf_hash, root_of
from tallystick.services import instance_tree as tree
from tallystick.services.instance_log import INSTANCE, InstanceLog, leaf_of
from tallystick.services.verify_instance import InstanceCheck
from tallystick.store import instance_log as stored
from tallystick.store.connect import EVERY, Pool, transaction


def instance_log(log: LogUnderTest, *, pool: Pool | None = None, signer: object = None) -> InstanceLog:
    return InstanceLog(pool or log.pool, log.pool, signer or log.new_signer(), now=log.clock)  # type: ignore[arg-type]


async def grow(log: LogUnderTest, clock: Clock, instance: InstanceLog, organization: UUID = LOG) -> int:
    """Record one event in an organization and let the instance log have its round ten seconds later."""
    await log.appender.append(organization, [event()], source="test")
    clock.move(seconds=10)
    return await instance.round()


async def check_whole(log: LogUnderTest, instance: InstanceLog) -> list[bytes]:
    """Check everything about the instance log from its rows alone, and return its leaves."""
    note = await instance.checkpoint()
    checkpoint = open_checkpoint(note, [instance.verifier()], origin=instance.origin).checkpoint
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        leaves = await stored.leaves(connection, 0, checkpoint.size)
        tiles = dict(await tree.read_tiles(connection, tiles_of_size(checkpoint.size)))
        rows = await connection.fetchval("SELECT count(*) FROM instance_log_leaves")
    hashes = [leaf_hash(leaf) for leaf in leaves]
    assert rows == checkpoint.size
    assert root_of(hashes) == checkpoint.root
    assert b"".join(tiles[one] for one in sorted(tiles) if one.level == 0) == b"".join(hashes)
    return leaves


async def test_checkpoints_become_leaves_once(log: LogUnderTest, clock: Clock) -> None:
    """An organization whose checkpoint is missing from the instance log, or in it again and again, has no witness."""
    instance = instance_log(log)
    assert await grow(log, clock, instance) == 1
    assert await grow(log, clock, instance, OTHER_LOG) == 1
    for _ in range(3):
        clock.move(seconds=60)
        await log.appender.refresh(LOG)  # signed again, with another time
        assert await instance.round() == 0
    leaves = await check_whole(log, instance)
    note = await log.log.checkpoint(LOG)
    assert leaves[0] == leaf_of(note, log.signer.origin(LOG))
    assert [parse_checkpoint(parse_note(leaf.decode()).text).size for leaf in leaves] == [1, 1]


async def test_at_most_every_ten_seconds(log: LogUnderTest, clock: Clock) -> None:
    """A busy organization would otherwise write the instance log full."""
    instance = instance_log(log)
    assert await grow(log, clock, instance) == 1
    await log.append([event()])
    clock.move(seconds=9)
    assert await instance.round() == 0
    clock.move(seconds=1)
    assert await instance.round() == 1


async def test_quiet_instance_is_signed_again(log: LogUnderTest, clock: Clock) -> None:
    """A quiet hour of the instance log is provable only if it is signed although nothing changed."""
    instance = instance_log(log)
    await grow(log, clock, instance)
    before = await instance.standing()
    clock.move(seconds=60)
    await instance.round()
    after = await instance.standing()
    assert before is not None
    assert after is not None
    assert (after.size, after.signed_at) == (before.size, clock.at)


async def test_two_servers_append_once(log: LogUnderTest, clock: Clock) -> None:
    """Two servers on one database must not write the same checkpoint twice or fork the instance log."""
    one, two = instance_log(log), instance_log(log)
    for _ in range(5):
        await log.append([event()])
        clock.move(seconds=10)
        assert sum(await asyncio.gather(one.round(), two.round())) == 1
    assert len(await check_whole(log, one)) == 5


@pytest.mark.parametrize("happened", [False, True])
@pytest.mark.parametrize("at", ["INSERT INTO instance_log_leaves", "UPDATE instance_log_head", "COMMIT"])
async def test_broken_at_any_step(log: LogUnderTest, clock: Clock, at: str, happened: bool) -> None:
    """A crash between any two steps must neither lose a checkpoint nor repeat one, whether or not the step took effect."""
    await grow(log, clock, instance_log(log))
    await log.append([event()])
    clock.move(seconds=10)
    faults = Faults(at=at, happened=happened, times=1)
    with pytest.raises((Fault, AuditError)):
        await instance_log(log, pool=faulty(log.pool, faults)).round()
    again = instance_log(log)
    clock.move(seconds=10)
    await again.round()
    assert len(await check_whole(log, again)) == 2


async def test_unknown_outcome_is_taken_over(log: LogUnderTest, clock: Clock) -> None:
    """A commit that happened but was not confirmed leaves the signer behind: it must catch up by proof, not stop."""
    faults = Faults(at="COMMIT", happened=True, times=1)
    await log.append([event()])
    with pytest.raises(UnknownOutcome):
        await instance_log(log, pool=faulty(log.pool, faults)).round()
    signer = log.new_signer()
    instance = instance_log(log, signer=signer)
    await grow(log, clock, instance)
    mark = signer.state(instance.origin)
    assert mark is not None
    assert mark.size == 2


async def test_many_leaves_fill_tiles(log: LogUnderTest, clock: Clock, database: Database) -> None:
    """Beyond 256 leaves the log needs its stored tiles: a wrong one would make every later proof worthless."""
    instance = instance_log(log)
    await grow(log, clock, instance)
    (leaf,) = await check_whole(log, instance)
    async with transaction(log.pool, organization=EVERY) as connection:
        head = await stored.lock_head(connection)
        many = [stored.NewLeaf(LOG, 1, leaf_hash(leaf), leaf)] * 700
        old, new = await instance._append(connection, head, many, clock())
    instance._signer.confirm(instance.origin, new, follows=old)
    for _ in range(3):
        await grow(log, clock, instance)
    assert len(await check_whole(log, instance)) == 704
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        size = new.size
        proof = await tree.consistency_proof(connection, size, 704)
    root = open_checkpoint(await instance.checkpoint(), [instance.verifier()]).checkpoint.root
    verify_consistency(size, 704, proof, new.root, root)
    assert len(await instance.entries(1, 256)) == 256
    with pytest.raises(NotFound):
        await instance.entries(2, 193)


async def test_anchor_proves_the_checkpoint(log: LogUnderTest, clock: Clock) -> None:
    """Without a proof of its own an organization cannot show that what it was given is what was witnessed."""
    instance = instance_log(log)
    for _ in range(3):
        await grow(log, clock, instance)
    await grow(log, clock, instance, OTHER_LOG)
    proof = parse_tlog_proof(await instance.anchor(LOG))
    assert proof.extra is not None
    proof.verify(leaf_hash(proof.extra), [instance.verifier()], origin=instance.origin)
    leaf = open_checkpoint(proof.extra, [log.verifier]).checkpoint
    assert (leaf.origin, leaf.size) == (log.verifier.name, 3)
    earlier = parse_tlog_proof(await instance.anchor(LOG, size=2))
    assert open_checkpoint(earlier.extra or b"", [log.verifier]).checkpoint.size == 2
    with pytest.raises(NotFound):
        await instance.anchor(UUID(int=7))


async def test_head_set_back_is_refused(log: LogUnderTest, clock: Clock, database: Database) -> None:
    """A database set back must not get a second history of the instance log signed."""
    instance = instance_log(log)
    await grow(log, clock, instance)
    with psycopg.connect(database.superuser.url, autocommit=True) as edit:
        kept = edit.execute("SELECT size, frontier, note FROM instance_log_head").fetchone()
        await grow(log, clock, instance)
        assert kept is not None
        edit.execute("SET session_replication_role = replica")
        edit.execute(
            "UPDATE instance_log_head SET size = %s, frontier = %s, note = %s, note_at = 'epoch'", kept
        )
        edit.execute("DELETE FROM instance_log_leaves WHERE position >= 1")
    clock.move(seconds=60)
    for again in (instance, instance_log(log)):
        with pytest.raises(Tampered):
            await again.round()


async def test_checkpoint_set_back_is_left_out(log: LogUnderTest, clock: Clock, database: Database) -> None:
    """An organization's head with an older note put back must be noticed, and must not stop the others."""
    instance = instance_log(log)
    await grow(log, clock, instance)
    old = await log.log.checkpoint(LOG)
    await grow(log, clock, instance)
    with psycopg.connect(database.superuser.url, autocommit=True) as edit:
        edit.execute("UPDATE log_head SET size = 1, note = %s WHERE organization_id = %s", (old, LOG))
    assert await grow(log, clock, instance, OTHER_LOG) == 1
    assert set(instance.failures) == {LOG}
    assert "set back" in str(instance.failures[LOG])


async def test_run_says_what_fails(log: LogUnderTest, clock: Clock) -> None:
    """A failing round must stand where health is read, and be gone once a round goes well."""
    faults = Faults(at="FOR UPDATE", times=1)
    instance = instance_log(log, pool=faulty(log.pool, faults))
    running = asyncio.create_task(instance.run(3600))
    async with asyncio.timeout(30):
        while INSTANCE not in instance.failures:
            await asyncio.sleep(0.01)
    running.cancel()
    await instance.round()
    assert instance.failures == {}


async def test_nobody_rewrites_leaves(log: LogUnderTest, clock: Clock, pools: Pools) -> None:
    """Whoever writes must not be able to rewrite: the grants and triggers hold that, not the code."""
    await grow(log, clock, instance_log(log))
    for statement in ("UPDATE instance_log_leaves SET size = 9", "DELETE FROM instance_log_leaves"):
        with pytest.raises(AuditError):
            async with transaction(pools.writer, organization=EVERY) as connection:
                await connection.execute(statement)
        with pytest.raises(AuditError):
            async with transaction(pools.owner, organization=EVERY) as connection:
                await connection.execute(statement)


EDITS = {
    "an entry": "UPDATE instance_log_leaves SET leaf = set_byte(leaf, 60, 65), "
    "leaf_hash = sha256('\\x00'::bytea || set_byte(leaf, 60, 65)) WHERE position = 1",
    "a missing entry": "DELETE FROM instance_log_leaves WHERE position = 1",
    "the head": "UPDATE instance_log_head SET size = 2, frontier = substr(frontier, 1, 32)",
    "an older note": "UPDATE instance_log_head SET note = replace(note, E'\\n3\\n', E'\\n2\\n')",
    "a swap": "UPDATE instance_log_leaves a SET leaf = b.leaf, leaf_hash = b.leaf_hash FROM instance_log_leaves b "
    "WHERE (a.position, b.position) IN ((0, 1), (1, 0))",
}


async def test_doctor_finds_every_edit(log: LogUnderTest, clock: Clock, database: Database) -> None:
    """An administrator who edits the instance log must be found by whoever looks at the database."""
    instance = instance_log(log)
    for _ in range(3):
        await grow(log, clock, instance)
    keys = [instance.verifier(), log.signer.clock()]
    honest = InstanceCheck(log.pool, keys)
    assert (await honest.run()).verdict == "proven"
    assert [parse_checkpoint(one.text).size for one in honest.newest] == [3]
    for name, statement in EDITS.items():
        with psycopg.connect(database.superuser.url) as edit:
            edit.execute("SET session_replication_role = replica")
            saved = edit.execute("SELECT * FROM instance_log_leaves ORDER BY position").fetchall()
            head = edit.execute("SELECT * FROM instance_log_head").fetchone()
            edit.execute(statement)
            edit.commit()
            report = await InstanceCheck(log.pool, keys).run()
            assert report.verdict == "violated", name
            assert head is not None
            edit.execute("DELETE FROM instance_log_leaves")
            edit.execute("DELETE FROM instance_log_head")
            edit.cursor().executemany(
                "INSERT INTO instance_log_leaves VALUES (%s, %s, %s, %s, %s, %s)", saved
            )
            edit.execute("INSERT INTO instance_log_head VALUES (%s, %s, %s, %s, %s, %s)", head)
            edit.commit()
    assert (await InstanceCheck(log.pool, keys).run()).verdict == "proven"
