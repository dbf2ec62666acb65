"""Acts from outside any request: a change and its event are one, and an event that no log takes now is not lost."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from services.appending import LOG, NOON, REDACTION, Faults, LogUnderTest, events, faulty
from tallystick.errors import NotFound, UnknownOutcome
from tallystick.event.model import Actor, Target
from tallystick.event.render import render
from tallystick.services.host_acts import COMMAND_LINE, DeferredActs, HostActs
from tallystick.services.ingest import Ingest
from tallystick.store import deferred, organizations
from tallystick.store.connect import EVERY, Connection, transaction
from tallystick.store.organizations import Organization

ROOT = Actor(type="system", name="root on host")


def ingest(log: LogUnderTest) -> Ingest:
    return Ingest(log.appender, log.log, redaction_of=lambda _: REDACTION, new_id=uuid4)


def host_acts(log: LogUnderTest, into: Ingest | None) -> HostActs:
    return HostActs(
        log.pool, into, actor=ROOT, source=COMMAND_LINE, metadata={"os_user": "root"}, new_id=uuid4, now=lambda: NOON
    )  # fmt: skip


async def make(connection: Connection) -> None:
    await organizations.insert(connection, Organization(id=LOG, display_name="made", config={}))


async def act(acts: HostActs) -> None:
    target = Target(type="organization", id=str(LOG), name="made")
    await acts.record(LOG, [acts.act("organization.created", targets=[target], after={"a": 1})], make)


async def recorded(log: LogUnderTest) -> list[dict]:
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        rows = await connection.fetch("SELECT position, leaf, opening FROM audit_logs ORDER BY position")
    return [render(row["leaf"], row["opening"], row["position"]) for row in rows]


async def made(log: LogUnderTest) -> bool:
    return await organizations.get(log.pool, LOG) is not None


async def waiting(log: LogUnderTest) -> list[UUID]:
    return [one.id for one in await deferred.oldest(log.pool, 100)]


async def test_a_change_and_its_event_are_one(log: LogUnderTest) -> None:
    """What an operator does on the command line would not be in the log, or only what was done."""
    acts = host_acts(log, ingest(log))
    await act(acts)
    (event,) = await recorded(log)
    assert (event["action"], event["source"], event["stream"]) == (
        "organization.created",
        "command line",
        "tallystick",
    )
    assert (event["actor"]["type"], event["actor"]["name"]) == ("system", "root on host")
    assert (event["metadata"], event["after"]) == ({"os_user": "root"}, {"a": 1})
    assert await made(log)
    assert acts.deferred == 0
    await log.check(1)


@pytest.mark.parametrize("deferring", [False, True])
async def test_a_change_that_fails_leaves_nothing(log: LogUnderTest, deferring: bool) -> None:
    """The log would tell of an act that never was."""
    acts = host_acts(log, None if deferring else ingest(log))

    async def change(connection: Connection) -> None:
        await make(connection)
        raise NotFound("there is nothing of the kind")

    with pytest.raises(NotFound):
        await acts.record(LOG, [acts.act("organization.created")], change)
    assert (await made(log), await waiting(log), await recorded(log)) == (False, [], [])


async def test_where_no_log_can_be_written_it_is_kept(log: LogUnderTest) -> None:
    """An act on a machine without the signing key would be lost, or refused."""
    acts = host_acts(log, None)
    await act(acts)
    assert (await made(log), acts.deferred, await recorded(log)) == (True, 1, [])
    (id,) = await waiting(log)
    await DeferredActs(log.pool, ingest(log)).append_all()
    (event,) = await recorded(log)
    assert (event["id"], event["source"], event["occurred_at"][:10]) == (
        str(id),
        "command line",
        "2026-11-21",
    )
    assert await waiting(log) == []


async def test_a_log_that_takes_nothing_stops_no_act(log: LogUnderTest) -> None:
    """A key could not be revoked, or nobody would know of it, while a log waits for a human."""
    await log.append(events(3))
    async with transaction(log.pool, organization=EVERY) as connection:
        await connection.execute("UPDATE log_head SET size = 2")
    acts = host_acts(log, Ingest(log.new_appender(), log.log, redaction_of=lambda _: REDACTION, new_id=uuid4))
    await act(acts)
    assert (await made(log), acts.deferred) == (True, 1)
    server = DeferredActs(
        log.pool, Ingest(log.new_appender(), log.log, redaction_of=lambda _: REDACTION, new_id=uuid4)
    )
    await server.append_all()
    assert "not in the log yet" in server.late
    async with transaction(log.pool, organization=EVERY) as connection:
        await connection.execute("UPDATE log_head SET size = 3")
    await server.append_all()
    assert (server.late, await waiting(log)) == ("", [])
    await log.check(4)


async def test_several_servers_append_it_once(log: LogUnderTest) -> None:
    """Two servers that find the same act would record it twice."""
    acts = host_acts(log, None)
    await act(acts)
    for number in range(20):
        await acts.record(LOG, [acts.act("organization.updated", after={"n": number})], nothing)
    servers = [
        DeferredActs(
            log.pool, Ingest(log.new_appender(), log.log, redaction_of=lambda _: REDACTION, new_id=uuid4)
        )
        for _ in range(3)
    ]
    for _ in range(3):
        await asyncio.gather(*(server.append_all() for server in servers))
    assert sorted(one["after"].get("n", -1) for one in await recorded(log)) == list(range(-1, 20))
    assert await waiting(log) == []
    await log.check(21)


async def nothing(connection: Connection) -> None:
    """Change nothing."""


@pytest.mark.parametrize("happened", [False, True])
async def test_an_unknown_outcome_is_said(log: LogUnderTest, happened: bool) -> None:
    """A change that perhaps happened would be made once more."""
    faults = Faults(at="COMMIT", happened=happened)
    broken = log.new_appender(pool=faulty(log.pool, faults))
    await broken.start()
    faults.times = 1
    acts = host_acts(log, Ingest(broken, log.log, redaction_of=lambda _: REDACTION, new_id=uuid4))
    with pytest.raises(UnknownOutcome):
        await act(acts)
    assert await made(log) is happened
    assert len(await recorded(log)) == happened
    assert await waiting(log) == []


async def test_a_server_without_its_database_tries_again(log: LogUnderTest) -> None:
    """One lost connection would leave an act unrecorded until the next start."""
    await act(host_acts(log, None))
    broken = faulty(log.pool, Faults(at="deferred_acts", times=1))
    server = DeferredActs(broken, ingest(log))
    await server.append_all()
    assert server.late
    await server.append_all()
    assert (server.late, len(await recorded(log))) == ("", 1)
