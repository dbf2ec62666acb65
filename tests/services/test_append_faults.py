"""Each step of the append broken both ways: it did not happen, and it happened but answered an error."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from postgres import Database, Pools
from services.appending import LOG, Faults, LogUnderTest, event, events, faulty
from tallystick.errors import Misconfigured, TryLater, UnknownOutcome
from tallystick.services.append import Limits
from tallystick.services.group import Stored
from tallystick.services.sign import Signer
from tallystick.store.connect import EVERY, Connection, commit, connect, transaction

SMALL, LARGE = 3, 250
# What an append of that size does, in words of its SQL; the last one is where the commit happens.
STEPS = [
    (SMALL, "append_events"),
    (LARGE, "BEGIN"),
    (LARGE, "begin_append"),
    (LARGE, "finish_append"),
    (LARGE, "COMMIT"),
]


@pytest.mark.parametrize("happened", [False, True], ids=["undone", "done"])
@pytest.mark.parametrize(("size", "step"), STEPS)
async def test_broken_step_then_retry(log: LogUnderTest, size: int, step: str, happened: bool) -> None:
    """A connection lost at any step must lose, repeat and reorder nothing, and the retry must store it once."""
    await log.append(events(1))
    faults = Faults()
    appender = log.new_appender(pool=faulty(log.pool, faults))
    await log.append(events(7), appender)  # from here on it knows everyone, and looks nobody up
    faults.at, faults.happened, faults.times = step, happened, 1
    given = events(size)
    with pytest.raises(TryLater) as caught:
        await appender.append(LOG, given, source="test")
    assert faults.times == 0, "the fault was never reached"
    assert isinstance(caught.value, UnknownOutcome) == (step in ("append_events", "COMMIT"))
    after_fault = await log.check()
    committed = happened and step in ("append_events", "COMMIT")
    assert after_fault == 8 + size * committed
    again = await log.append(given, appender)
    assert all(result.duplicate == committed for result in again.results)  # type: ignore[union-attr]
    await log.append(events(2), appender)
    await log.append(events(2), log.new_appender())
    await log.check(8 + size + 4)


@pytest.mark.parametrize("happened", [False, True], ids=["undone", "done"])
async def test_first_append_of_a_log_breaks(log: LogUnderTest, happened: bool) -> None:
    """The very first commit, which makes the head, must be as safe as any other."""
    faults = Faults("COMMIT", happened, 0)
    appender = log.new_appender(pool=faulty(log.pool, faults))
    await appender.start()
    faults.times = 1
    given = events(3)
    with pytest.raises(UnknownOutcome):
        await appender.append(LOG, given, source="test")
    await log.append(given, appender)
    await log.check(3)


@pytest.mark.parametrize("step", ["stored_events", "find_subjects", "ensure"])
async def test_reads_beside_the_append_break(log: LogUnderTest, step: str) -> None:
    """A lookup that fails must answer its callers, keep what was stored, and leave the log usable."""
    faults = Faults()
    appender = log.new_appender(pool=faulty(log.pool, faults))
    old = event()
    words = {
        "stored_events": "FROM idempotency",
        "find_subjects": "find_subjects(",
        "ensure": "ensure_audit_logs_month",
    }
    if step != "ensure":
        await log.append([old], appender)
    faults.at, faults.times = words[step], 1
    stranger = event(actor={"type": "user", "id": "stranger"})
    if step == "stored_events":
        appended = await appender.append(LOG, [old, stranger], source="test")
        assert isinstance(appended.results[0], TryLater)
        assert isinstance(appended.results[1], Stored)
    else:
        with pytest.raises(TryLater):
            await appender.append(LOG, [old, stranger], source="test")
    await log.append([old, stranger], appender)
    await log.check(2)


async def test_driver_that_waits_for_ever(log: LogUnderTest) -> None:
    """A commit that never returns must end as an unknown outcome, and the log must go on."""
    log.limits = Limits(commit_seconds=1.5)
    faults = Faults()
    appender = log.new_appender(pool=faulty(log.pool, faults))
    await log.append(events(7), appender)
    given = events(LARGE)
    faults.at, faults.times, faults.stuck = "finish_append", 1, True
    with pytest.raises(UnknownOutcome):
        await appender.append(LOG, given, source="test")
    await log.append(given, appender)
    await log.check(7 + LARGE)


async def test_next_month_can_wait(log: LogUnderTest) -> None:
    """A partition that is needed only next month must not fail an event of today, and be made later."""
    faults = Faults("ensure_audit_logs_month", times=1, spared=1)
    appender = log.new_appender(pool=faulty(log.pool, faults))
    await log.append(events(1), appender)
    assert faults.times == 0
    await log.append(events(1), appender)
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        assert await connection.fetchval("SELECT to_regclass('audit_logs_2026_12') IS NOT NULL")
    await log.check(2)


async def test_answer_of_rollback_to_commit(log: LogUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers COMMIT with ROLLBACK has stored nothing: acknowledging then loses the event."""
    await log.append(events(1))

    async def spoiled(connection: Connection) -> None:
        with pytest.raises(Exception, match="division"):
            await connection.execute("SELECT 1/0")
        await commit(connection)

    monkeypatch.setattr("tallystick.store.connect.commit", spoiled)
    given = events(LARGE)
    with pytest.raises(TryLater) as caught:
        await log.appender.append(LOG, given, source="test")
    assert not isinstance(caught.value, UnknownOutcome)
    monkeypatch.undo()
    await log.check(1)
    await log.append(given)
    await log.check(1 + LARGE)


async def test_backend_is_killed_under_load(log: LogUnderTest, database: Database) -> None:
    """Connections terminated by the server at any moment must never cost an acknowledged event, nor double one."""
    await log.append([event()])
    acknowledged = 1
    stop = asyncio.Event()

    async def write(number: int) -> None:
        nonlocal acknowledged
        for _ in range(12):
            given = events((1, 2, 230)[number % 3])
            while True:
                try:
                    await log.append(given)
                    break
                except TryLater:
                    await asyncio.sleep(0.01)
            acknowledged += len(given)

    async def kill() -> None:
        superuser = await connect(database.superuser)
        for kills in range(40):
            if stop.is_set():
                break
            await superuser.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tallystick_writer' "
                "AND datname = current_database() ORDER BY random() LIMIT 1"
            )
            await asyncio.sleep(0.01 * (kills % 9))
        await superuser.close()

    killer = asyncio.create_task(kill())
    await asyncio.gather(*(write(number) for number in range(6)))
    stop.set()
    await killer
    await log.check(acknowledged)


async def test_two_servers_ten_writers_three_readers(log: LogUnderTest, pools: Pools) -> None:
    """No reader by position may ever miss or repeat an event, whichever server wrote it and however commits race."""
    servers = [log.new_appender(), log.new_appender()]
    per_writer, writing = 12, asyncio.Event()
    total = 0

    async def write(number: int) -> None:
        nonlocal total
        for turn in range(per_writer):
            given = events((1, 4, 260)[(number + turn) % 3])
            while True:
                try:
                    await log.append(given, servers[number % 2])
                    break
                except TryLater:
                    await asyncio.sleep(0.01)
            total += len(given)

    async def page(start: int) -> list[Any]:
        async with transaction(pools.reader, reading=True, organization=EVERY) as connection:
            return await connection.fetch(
                "SELECT position FROM audit_logs WHERE organization_id = $1 AND position >= $2 "
                "ORDER BY position LIMIT 100",
                LOG,
                start,
            )

    async def read() -> list[int]:
        seen: list[int] = []
        while True:
            done = writing.is_set()
            try:
                rows = await page(len(seen))
            except TryLater:  # a machine too busy to answer in time is no reader that missed anything
                await asyncio.sleep(0.05)
                continue
            seen += [row["position"] for row in rows]
            assert seen == list(range(len(seen))), "a reader missed or repeated a position"
            if done and not rows:
                return seen
            await asyncio.sleep(0)

    readers = [asyncio.create_task(read()) for _ in range(3)]
    await asyncio.gather(*(write(number) for number in range(10)))
    writing.set()
    for reader in readers:
        assert len(await reader) == total
    await log.check(total)


async def test_two_servers_get_the_same_retries(log: LogUnderTest) -> None:
    """A client that retries at the other server must get the same position there."""
    first, second = log.new_appender(), log.new_appender()
    given = [events(3) for _ in range(8)]
    calls = [log.append(one, server) for one in given for server in (first, second, first)]
    found = await asyncio.gather(*calls)
    for same in (found[at : at + 3] for at in range(0, len(found), 3)):
        assert len({tuple(result.position for result in one.results) for one in same}) == 1  # type: ignore[union-attr]
    await log.check(24)


async def test_two_servers_meet_the_same_strangers(log: LogUnderTest) -> None:
    """Two servers that see a person for the first time at once must agree on one pseudonym."""
    first, second = log.new_appender(), log.new_appender()
    for number in range(6):
        actor = {"type": "user", "id": f"new-{number}", "name": f"New {number}"}
        await asyncio.gather(
            *(log.append([event(actor=actor)], server) for server in (first, second, first, second))
        )
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        assert await connection.fetchval("SELECT count(*) FROM subjects") == 6
        assert await connection.fetchval("SELECT count(DISTINCT actor_ref) FROM audit_logs") == 6
    await log.check(24)


async def test_erased_subject_gets_a_new_ref(log: LogUnderTest, pools: Pools) -> None:
    """A ref remembered by a server must not tie new acts of an erased person to the old ones."""
    actor = {"type": "user", "id": "erased", "name": "Was Here"}
    server = log.new_appender()
    await log.append([event(actor=actor)], server)
    async with transaction(pools.owner, organization=EVERY) as connection:
        await connection.execute("DELETE FROM subject_labels")
        await connection.execute("DELETE FROM subjects")
        await connection.execute("UPDATE log_head SET subject_epoch = subject_epoch + 1")
    await log.append([event(actor=actor)], server)
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        rows = await connection.fetch("SELECT actor_ref FROM audit_logs ORDER BY position")
        known = await connection.fetchval("SELECT ref FROM subjects WHERE id = 'erased'")
        labels = await connection.fetchval("SELECT count(*) FROM subject_labels WHERE ref = $1", known)
    assert rows[0]["actor_ref"] != rows[1]["actor_ref"] == known
    assert labels == 2


async def test_retry_does_not_bring_an_erased_subject_back(log: LogUnderTest, pools: Pools) -> None:
    """A late retry of an event of an erased person must not write the person into the directory again."""
    one = event(actor={"type": "user", "id": "erased", "name": "Was Here"})
    await log.append([one])
    async with transaction(pools.owner, organization=EVERY) as connection:
        await connection.execute("DELETE FROM subject_labels")
        await connection.execute("DELETE FROM subjects")
        await connection.execute("UPDATE log_head SET subject_epoch = subject_epoch + 1")
    server = log.new_appender()
    await log.append([one, event(actor={"type": "system"})], server)
    await log.append(
        [one, event(actor={"type": "system"})], server
    )  # now it knows the log, and of the erasure
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        assert await connection.fetchval("SELECT count(*) FROM subjects WHERE id = 'erased'") == 0
        assert await connection.fetchval("SELECT count(*) FROM subject_labels") == 0


async def test_signer_that_cannot_be_written(log: LogUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk under the signer's state must not fail what is committed, and heal when there is room again."""
    await log.append(events(3))
    real = Signer.confirm
    calls = 0

    def full(self: Signer, *arguments: object, **named: object) -> None:
        nonlocal calls
        calls += 1
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Signer, "confirm", full)
    await log.append(events(3))
    assert calls == 1
    monkeypatch.setattr(Signer, "confirm", real)
    await log.append(events(3))
    await log.append(events(3))
    await log.check(12)
    assert (log.signer.state(log.signer.origin(LOG)) or (0,))[0] == 12


async def test_state_lost_in_a_power_cut(log: LogUnderTest) -> None:
    """An older state than the database's is honest after a power cut: it must catch up by proof, not refuse."""
    await log.append(events(3))
    (path,) = (log.data / "signer").glob("*.state")
    old = path.read_bytes()
    for _ in range(3):
        await log.append(events(300))
    path.write_bytes(old)
    restarted = log.new_appender()
    await restarted.start()
    await log.append(events(3), restarted)
    await log.check(906)


async def test_database_smaller_than_signed(log: LogUnderTest, tmp_path: Path) -> None:
    """A database restored from a backup must not be gone on with silently: acknowledged events are missing."""
    await log.append(events(3))
    ahead = log.new_signer()
    origin = ahead.origin(LOG)
    state = ahead.state(origin)
    assert state is not None
    ahead.confirm(origin, state._replace(size=5, root=b"\1" * 32), follows=state)
    with pytest.raises(Misconfigured, match="Restore a newer backup"):
        await log.new_appender().start()
    await log.check(3)


async def test_database_without_a_signed_log(log: LogUnderTest) -> None:
    """A log that vanished from the database altogether must stop the start, too."""
    signer = log.new_signer()
    origin = signer.origin(UUID(int=7))
    nothing = signer.state(origin)
    assert nothing is None
    await log.append(events(3))
    known = signer.state(signer.origin(LOG))
    assert known is not None
    signer._replace(origin, signer.state(origin) or known._replace(size=0, root=EMPTY), known)
    with pytest.raises(Misconfigured):
        await log.new_appender().start()


EMPTY = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


def test_steps_are_all_the_steps() -> None:
    """A step that the faults do not know is a step nobody has broken."""
    assert [later for _, later in pairwise([("", ""), *STEPS])] == STEPS
