"""The append's promises: everything acknowledged once, in order, provable; nothing twice, nothing half."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from oracle import check_tree
from services.appending import LOG, NOON, OTHER_LOG, Clock, LogUnderTest, event, events, raw_event
from tallystick.errors import Conflict, Refused, TryLater
from tallystick.event.prepare import Prepared
from tallystick.merkle.tlog_proof import parse_tlog_proof
from tallystick.services import commit
from tallystick.services.append import Appender, Limits
from tallystick.services.group import Entry, Group, Stored
from tallystick.store.connect import EVERY, Connection, transaction


def positions(results: list[Stored | object]) -> list[int]:
    return [result.position for result in results if isinstance(result, Stored)]


async def leaf_hash(log: LogUnderTest, position: int) -> bytes:
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        return await connection.fetchval(
            "SELECT leaf_hash FROM audit_logs WHERE organization_id = $1 AND position = $2",
            log.organization_id,
            position,
        )


async def test_first_events_of_a_log(log: LogUnderTest) -> None:
    """A log that cannot take its first event, or forgets where it stands after it, is no log."""
    for size in range(1, 4):
        appended = await log.append([event()])
        assert positions(appended.results) == [size - 1]
        await log.check(size)


@pytest.mark.parametrize("batch", [1, 5, 250, 600])
async def test_batches_of_all_sizes(log: LogUnderTest, batch: int) -> None:
    """One statement and a locked append must write exactly the same things, across the edges of tiles."""
    before = 0
    for _ in range(3):
        appended = await log.append(events(batch))
        assert positions(appended.results) == list(range(before, before + batch))
        before += batch
        await log.check(before)


async def test_tiles_fill_across_levels(log: LogUnderTest) -> None:
    """A wrong tile above level 0 shows only in logs of more than 65,536 events, when it is too late."""
    log.appender = log.new_appender()
    object.__setattr__(log.appender.limits, "group_events", 20_000)
    template = event()
    for _ in range(35):  # lots that a busy machine builds well within the time a transaction may stand still
        await log.append([replace(template, id=(made := uuid4()), id_text=str(made)) for _ in range(2_000)])
    log.appender = log.new_appender()
    await log.append(events(3))
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        tiles = await connection.fetchval("SELECT count(*) FROM log_tiles WHERE level = 1")
    assert tiles == 1
    assert await check_tree(log.pool, LOG, log.verifier) == 70_003


async def test_receipts_verify_offline(log: LogUnderTest) -> None:
    """A receipt that its holder cannot check against the log's key alone is worth nothing."""
    await log.append(events(300))
    appended = await log.append(events(70))
    origin = log.signer.origin(LOG)
    for result in appended.results[::23]:
        assert isinstance(result, Stored)
        fresh = appended.receipt(result.position)
        later = await log.log.receipt(LOG, result.position)
        for text in (fresh, later):
            assert text is not None
            proof = parse_tlog_proof(text)
            proof.verify(
                await leaf_hash(log, result.position),
                [log.verifier],
                origin=origin,
                witnesses=[log.signer.clock()],
            )
            assert proof.index == result.position
    assert appended.receipt(0) is None
    assert await log.log.receipt(LOG, 0)


async def test_same_event_again_is_a_duplicate(log: LogUnderTest, clock: Clock) -> None:
    """A retry must give the first position and time, and change nothing, across a restart and months later."""
    given = events(30)
    first = await log.append(given)
    clock.move(days=40)
    for appender in (log.appender, log.new_appender()):
        again = await log.append(given, appender)
        assert positions(again.results) == positions(first.results)
        for one, other in zip(again.results, first.results, strict=True):
            assert isinstance(one, Stored)
            assert isinstance(other, Stored)
            assert (one.duplicate, one.received_at) == (True, other.received_at)
    await log.check(30)


async def test_retry_beside_new_events(log: LogUnderTest) -> None:
    """A batch of which a part is in the log already must add exactly the rest, in order."""
    given = events(40)
    await log.append(given[10:20])
    appended = await log.append(given)
    assert positions(appended.results) == [*range(10, 20), *range(10), *range(20, 40)]
    await log.check(40)


@pytest.mark.parametrize("number", [1, 300])
async def test_same_id_with_other_content_is_a_conflict(log: LogUnderTest, number: int) -> None:
    """An id that silently covered another event would lose that event."""
    given = events(number)
    await log.append(given)
    other = event(id=given[0].id_text)
    appended = await log.appender.append(LOG, [other, *given[1:]], source="test")
    assert isinstance(appended.results[0], Conflict)
    assert all(isinstance(result, Stored) and result.duplicate for result in appended.results[1:])
    await log.check(number)


async def test_equal_ids_in_one_batch(log: LogUnderTest) -> None:
    """Two equal ids in one call, or in two calls of one group, are one event or a conflict, never two rows."""
    same, other = event(), event()
    clash = event(id=other.id_text)
    appended = await log.appender.append(LOG, [same, other, same, clash], source="test")
    first, second, third, fourth = appended.results
    assert isinstance(first, Stored)
    assert isinstance(third, Stored)
    assert (first.position, third.position, third.duplicate) == (0, 0, True)
    assert isinstance(second, Stored)
    assert isinstance(fourth, Conflict)
    await log.check(2)


async def test_many_callers_send_the_same(log: LogUnderTest) -> None:
    """Retries that overlap with the first attempt must all get the one position."""
    given = [event() for _ in range(5)]
    calls = [log.append([one]) for one in given for _ in range(6)]
    found = await asyncio.gather(*calls)
    by_id = {result.id: result.position for appended in found for result in appended.results}  # type: ignore[union-attr]
    assert sorted(by_id.values()) == list(range(5))
    await log.check(5)


async def test_retry_by_another_source_is_a_duplicate(log: LogUnderTest) -> None:
    """A spool that changes its key between two attempts must not get a conflict for its own event."""
    one = event()
    await log.append([one])
    again = await log.appender.append(LOG, [one], source="key:other")
    assert positions(again.results) == [0]
    await log.check(1)


async def test_clock_going_backwards(log: LogUnderTest, clock: Clock) -> None:
    """Times of receipt must never decrease within a log, whatever the clock does, or pages by month break."""
    for hours in (0, -3, +5, -10, +1):
        clock.move(hours=hours)
        await log.append(events(2))
        await log.append(events(250))
    await log.check(5 * 252)


async def test_two_servers_with_skewed_clocks(log: LogUnderTest) -> None:
    """The slower clock must be re-stamped and its events sealed again, not stored out of order."""
    ahead = log.new_appender(clock=lambda: datetime.fromisoformat("2026-11-21T13:00:00+00:00"))
    behind = log.new_appender(clock=lambda: datetime.fromisoformat("2026-11-21T11:00:00+00:00"))
    for appender in (ahead, behind, ahead, behind, behind):
        await log.append(events(2), appender)
        await log.append(events(210), appender)
    await log.check(5 * 212)


async def test_month_turns(log: LogUnderTest, clock: Clock) -> None:
    """The first event of a month needs its partition and its mark; a log read over the border must be whole."""
    clock.at = datetime.fromisoformat("2026-11-30T23:59:59.9+00:00")
    await log.append(events(5))
    clock.move(seconds=0.2)
    await log.append(events(3))
    clock.move(days=70)
    await log.append(events(4))
    await log.append(events(4), log.new_appender())
    await log.check(16)


async def test_logs_are_independent(log: LogUnderTest) -> None:
    """Two organizations with the same ids and the same people must not see or block each other."""
    given = events(20)
    other = LogUnderTest(log.pool, log.data, log.clock, organization_id=OTHER_LOG)
    await asyncio.gather(log.append(given), other.append(given))
    await log.check(20)
    await other.check(20)
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        refs = await connection.fetch("SELECT ref FROM subjects")
    assert len({row["ref"] for row in refs}) == len(refs) == 14
    await other.stop()


async def test_caller_that_goes_away_cancels_nothing(log: LogUnderTest) -> None:
    """A client that disconnects must neither lose its event nor fail those of others in its group."""
    callers = [asyncio.create_task(log.append([event()])) for _ in range(8)]
    await asyncio.sleep(0)
    callers[3].cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    assert callers[3].cancelled()
    await log.append([event()])
    await log.check(9)


async def test_full_queue_is_refused(log: LogUnderTest) -> None:
    """A queue without a bound ends in a server without memory; a full one must say so and lose nothing."""
    log.limits = Limits(queue_events=10, queue_bytes=1 << 20)
    appender = log.new_appender()
    await log.append([event()], appender)
    async with transaction(log.pool, organization=EVERY) as connection:
        await connection.execute("SELECT FROM log_head FOR UPDATE")
        blocked = asyncio.create_task(log.append([event()], appender))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(log.append(events(2), appender)) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert appender.waiting[0] == 10
        with pytest.raises(TryLater):
            await log.append([event()], appender)
    await asyncio.gather(blocked, *waiting)
    assert appender.waiting == (0, 0)
    await log.check(12)


async def test_full_queue_by_bytes(log: LogUnderTest) -> None:
    """Few large events must not slip past a bound that only counts events."""
    log.limits = Limits(queue_bytes=50_000)
    appender = log.new_appender()
    await log.append([event()], appender)
    async with transaction(log.pool, organization=EVERY) as connection:
        await connection.execute("SELECT FROM log_head FOR UPDATE")
        blocked = asyncio.create_task(log.append([event()], appender))
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(log.append([event(after="x" * 40_000)], appender))
        await asyncio.sleep(0)
        with pytest.raises(TryLater):
            await log.append([event(after="x" * 40_000)], appender)
    await asyncio.gather(blocked, waiting)
    await log.check(3)


async def test_small_calls_go_first(log: LogUnderTest) -> None:
    """One event must not wait behind a queue of large batches; the batches must not starve either."""
    log.limits = Limits(group_events=100, early=10_000)
    appender = log.new_appender()
    await log.append([event()], appender)
    done: list[str] = []

    async def call(name: str, given: list[Prepared]) -> None:
        await log.append(given, appender)
        done.append(name)

    async with transaction(log.pool, organization=EVERY) as connection:
        await connection.execute("SELECT FROM log_head FOR UPDATE")
        calls = [asyncio.create_task(call(name, events(90))) for name in ("large 0", "large 1", "large 2")]
        await asyncio.sleep(0.05)
        calls += [asyncio.create_task(call("small", [event()])) for _ in range(5)]
        await asyncio.sleep(0.05)
    await asyncio.gather(*calls)
    assert done[-1] == "large 2"
    assert done.index("small") < done.index("large 2")
    await log.check(276)


async def test_stop_commits_what_waits(log: LogUnderTest) -> None:
    """A stopping server must finish what it took, and take no more."""
    calls = [asyncio.create_task(log.append(events(50))) for _ in range(10)]
    await asyncio.sleep(0)
    await log.appender.stop()
    await asyncio.gather(*calls)
    with pytest.raises(TryLater):
        await log.append([event()])
    await log.check(500)


async def test_event_the_database_cannot_hold(log: LogUnderTest) -> None:
    """One impossible event must not take the others of its group, or of its batch, with it."""
    impossible = replace(event(), target_id="nul \0")
    given = [*events(3), impossible, *events(3)]
    calls = [log.append([event()]) for _ in range(6)]
    results = await asyncio.gather(log.appender.append(LOG, given, source="test"), *calls)
    refused = [result for result in results[0].results if not isinstance(result, Stored)]
    assert [type(error).__mro__[1] for error in refused] == [Refused]
    assert results[0].results.index(refused[0]) == 3
    await log.check(12)


async def test_impossible_event_and_its_retry_in_one_group(log: LogUnderTest) -> None:
    """Two calls with one impossible event must both hear of it, or one of them waits for ever."""
    impossible = replace(event(), target_id="nul \0")
    results = await asyncio.gather(
        *(log.appender.append(LOG, [event(), impossible], source="test") for _ in range(3))
    )
    for appended in results:
        assert isinstance(appended.results[0], Stored)
        assert isinstance(appended.results[1], Refused)
    await log.check(3)


async def test_long_names_are_searchable(log: LogUnderTest) -> None:
    """A name as long as the limit allows, in any script, must be stored with its label."""
    name = "".join(chr(0x4E00 + number * 17 % 20000) for number in range(1024))
    await log.append([event(actor={"type": "user", "id": "long", "name": name, "email": None})])
    await log.check(1)


async def test_changing_names_are_all_searchable(log: LogUnderTest) -> None:
    """Whoever changes the name must be found under each; a name seen in each event must not fill the memory."""
    for number in range(25):
        actor = {"type": "user", "id": "u", "name": f"Name {number % 12}", "email": "U@example.org"}
        await log.append([event(actor=actor)])
    await log.check(25)


async def test_actors_without_id_and_delegators(log: LogUnderTest) -> None:
    """Actors that have no id, and those on whose behalf others act, have their place in the directory too."""
    agent = {
        "type": "agent",
        "id": "agent-1",
        "on_behalf_of": [{"type": "service", "id": "cron"}, {"type": "user", "id": "u-1", "name": "Ada"}],
    }
    await log.append(
        [event(actor={"type": "system"}), event(actor={"type": "anonymous"}), event(actor=agent)]
    )
    await log.append([event(actor=agent), event(actor={"type": "user", "id": "u-1", "name": "Ada"})])
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        rows = await connection.fetch("SELECT type, id FROM subjects ORDER BY type, id")
        labels = await connection.fetchval("SELECT count(*) FROM subject_labels WHERE label = 'ada'")
    assert [tuple(row) for row in rows] == [
        ("agent", "agent-1"),
        ("anonymous", ""),
        ("service", "cron"),
        ("system", ""),
        ("user", "u-1"),
    ]
    assert labels == 1
    await log.check(5)


async def test_inside_runs_in_the_same_transaction(log: LogUnderTest) -> None:
    """Erasure and retention rely on it: the record and the deletion happen together or not at all."""
    seen: list[tuple[UUID, int]] = []

    async def inside(connection: Connection, entries: list[Entry]) -> None:
        for entry in entries:
            seen.append((entry.prepared.id, entry.position))
            held = await connection.fetchval("SELECT id FROM audit_logs WHERE position = $1", entry.position)
            assert held == entry.prepared.id

    async def refuse(connection: Connection, entries: list[Entry]) -> None:
        await inside(connection, entries)
        raise Refused("not like this")

    await log.append(events(3))
    one, other = event(), event()
    others = [asyncio.create_task(log.append([event()])) for _ in range(5)]
    await log.appender.append(LOG, [one], source="test", inside=inside)
    with pytest.raises(Refused):
        await log.appender.append(LOG, [other], source="test", inside=refuse)
    await asyncio.gather(*others)
    assert [found[0] for found in seen] == [one.id, other.id]
    await log.append([other])
    await log.check(10)


async def test_quarantine_is_written_with_the_event(log: LogUnderTest) -> None:
    """An event that breaks its schema must be in the log and in quarantine, or in neither."""
    given = events(3)
    appended = await log.appender.append(LOG, given, source="test", violations={1: b'[{"path":"/after"}]'})
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        rows = await connection.fetch("SELECT position, action, violations FROM quarantine")
    (row,) = rows
    assert row["position"] == positions(appended.results)[1]
    assert (row["action"], bytes(row["violations"])) == (given[1].action, b'[{"path": "/after"}]')
    await log.check(3)


async def test_groups_form_without_a_timer(log: LogUnderTest) -> None:
    """Many callers at once must share commits, and a single caller must not wait for company."""
    await log.append([event()])
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        before = await connection.fetchval(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        )
    found = await asyncio.gather(*(log.append([event()]) for _ in range(64)))
    notes = {appended.note for appended in found}
    assert len(notes) <= 8, f"64 callers needed {len(notes)} commits"
    assert before is not None
    await log.check(65)


async def test_forgotten_logs_are_read_again(log: LogUnderTest) -> None:
    """With more logs than are remembered each must still continue exactly where it stands."""
    log.limits = Limits(logs=2)
    appender = log.new_appender()
    for _ in range(3):
        for number in range(5):
            await appender.append(UUID(int=number), events(2), source="test")
    for number in range(5):
        other = LogUnderTest(log.pool, log.data, log.clock, organization_id=UUID(int=number))
        await other.check(6)


def test_events_of_the_tests_are_valid() -> None:
    """A helper that made events the product refuses would test nothing."""
    assert b'"id"' in raw_event()
    assert event(actor={"type": "system"}).subjects[0].id == ""
    assert isinstance(Appender, type)


async def test_sealing_again_is_not_catching(log: LogUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One group sealed again under the lock must not make all that wait behind it be sealed twice, for ever."""
    ticks = count()
    log.limits = Limits(group_events=250, early=1)
    appender = log.new_appender(clock=lambda: NOON + timedelta(milliseconds=next(ticks)))
    await log.append(events(250), appender)
    sealed: list[int] = []
    real = commit.seal_group

    async def seal_group(group: Group, **arguments: Any) -> None:
        sealed.append(len(group.entries))
        await real(group, **arguments)
        if len(sealed) == 1:  # as if another server had appended since, with a later stamp
            group.received_at = NOON - timedelta(hours=1)

    monkeypatch.setattr(commit, "seal_group", seal_group)
    await asyncio.gather(*(log.append(events(250), appender) for _ in range(6)))
    assert len(sealed) == 6 + 1
    await log.check(7 * 250)
