"""Numbers of producers: followed in the log, counted once, and told when something is missing."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any
from uuid import UUID

import pytest

from services.appending import LOG, OTHER_LOG, REDACTION, Clock, LogUnderTest
from services.test_read import someone
from tallystick.errors import Forbidden, NotFound, Refused, TryLater
from tallystick.event.leaf import read_leaf, read_opening
from tallystick.event.prepare import prepare
from tallystick.services.ingest import Ingest
from tallystick.services.permissions import WRITE
from tallystick.services.principal import Principal
from tallystick.services.producers import Beat, Producers
from tallystick.store.connect import EVERY, transaction


def new_id() -> UUID:
    return UUID(bytes=os.urandom(16), version=4)


@pytest.fixture
def ingest(log: LogUnderTest) -> Ingest:
    return Ingest(log.appender, log.log, redaction_of=lambda _: REDACTION, new_id=new_id)


@pytest.fixture
def producers(log: LogUnderTest, ingest: Ingest, clock: Clock) -> Producers:
    """The service under test."""
    return Producers(log.pool, ingest, now=clock)


def writer(organization_id: UUID = LOG) -> Principal:
    return Principal(
        organization_id=organization_id, kind="key", id="w", name="w", permissions=frozenset({WRITE}), workspaces=None
    )  # fmt: skip


def numbered(sequence: int, *unsent: tuple[int, int], id: str = "billing", epoch: str = "e1") -> bytes:
    spans = [{"first": first, "last": last} for first, last in unsent]
    who = {"id": id, "epoch": epoch, "sequence": sequence, **({"unsent": spans} if spans else {})}
    return json.dumps({"action": "a.b", "actor": {"type": "system"}, "producer": who}).encode()


async def append(log: LogUnderTest, *raws: bytes) -> None:
    await log.append([prepare(raw, redaction=REDACTION, new_id=new_id) for raw in raws])


async def told(log: LogUnderTest) -> list[tuple[str, dict[str, Any]]]:
    """Return what the log of the log tells of producers, oldest first."""
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        found = await connection.fetch(
            "SELECT leaf, opening FROM audit_logs WHERE action LIKE 'producer.%' ORDER BY position"
        )
    return [(read_leaf(row["leaf"]).action, read_opening(row["opening"])["metadata"]) for row in found]


async def test_gaps_are_listed_with_the_numbers_around_them(log: LogUnderTest, producers: Producers) -> None:
    """Whoever asks must learn exactly which numbers are missing, and which the producer itself gave up."""
    await append(log, *(numbered(at) for at in (*range(1, 6), *range(8, 10), 20)), numbered(22, (21, 21)))
    await producers.round()
    found = await producers.one(someone(), "billing")
    assert [(gap.first, gap.last, gap.kind) for gap in found.gaps] == [
        (6, 7, "missing"), (10, 19, "missing"), (21, 21, "declared"),
    ]  # fmt: skip
    assert (found.missing, found.declared, found.events, found.sequence) == (12, 1, 9, 22)
    assert found.summary.startswith("producer billing: 12 events missing between 5 and 8, between 9 and 20;")
    (listed,) = (await producers.list(someone())).producers
    assert listed == found


async def test_late_events_close_gaps_and_nothing_is_counted_twice(
    log: LogUnderTest, ingest: Ingest, clock: Clock
) -> None:
    """Two servers on one database, a restart, and late arrivals must end in the account of one reading."""
    servers = [Producers(log.pool, ingest, now=clock, stretch=3) for _ in range(2)]
    for start in (1, 41, 21):
        await append(log, *(numbered(at) for at in range(start, start + 20)))
        await asyncio.gather(*(server.round() for server in servers))
    await Producers(log.pool, ingest, now=clock).round()
    found = await servers[0].one(someone(), "billing")
    assert (found.events, found.conflicts, found.missing, found.sequence) == (60, 0, 0, 60)
    assert found.gaps == []


async def test_a_number_under_another_id_is_a_conflict(log: LogUnderTest, producers: Producers) -> None:
    """A copied spool gives the same numbers to other events; that must not pass for a retry."""
    await append(log, numbered(1), numbered(2), numbered(2))
    await producers.round()
    await producers.round()
    assert (await producers.one(someone(), "billing")).conflicts == 1
    assert [action for action, _ in await told(log)] == ["producer.conflict"]


async def test_a_gap_is_told_once_and_so_is_its_end(
    log: LogUnderTest, producers: Producers, ingest: Ingest, clock: Clock
) -> None:
    """What is late for a moment is no news; what stays away is, once, and its return as well."""
    await append(log, numbered(1), numbered(4))
    await producers.round()
    assert await told(log) == []
    clock.move(seconds=30)
    await producers.round()
    assert await told(log) == []
    clock.move(seconds=40)
    both = (producers, Producers(log.pool, ingest, now=clock))
    await asyncio.gather(*(one.round() for one in both))
    for one in both:
        await one.round()
    ((action, metadata),) = await told(log)
    assert (action, metadata["ranges"], metadata["missing"]) == ("producer.gap", [[2, 3]], 2)
    assert metadata["summary"] == "producer billing: 2 events missing between 1 and 4"
    assert (await producers.one(someone(), "billing")).gaps[0].reported
    await append(log, numbered(8))
    for _ in range(3):
        clock.move(seconds=61)
        await producers.round()
    assert [one["ranges"] for _, one in await told(log)] == [[[2, 3]], [[5, 7]]]
    await append(log, *(numbered(at) for at in (2, 3, 5, 6, 7)))
    for _ in range(3):
        await producers.round()
    assert [action for action, _ in await told(log)] == ["producer.gap", "producer.gap", "producer.recovered"]


async def test_what_arrives_within_the_grace_is_never_told(
    log: LogUnderTest, producers: Producers, clock: Clock
) -> None:
    """An event that overtook another must not raise an alarm."""
    await append(log, numbered(2))
    await producers.round()
    await append(log, numbered(1))
    for _ in range(3):
        clock.move(seconds=61)
        await producers.round()
    assert await told(log) == []


async def test_a_missing_tail_is_found_by_the_sign_of_life(
    log: LogUnderTest, producers: Producers, clock: Clock
) -> None:
    """After the last event no later number shows that one is missing; what waits in the spool is not."""
    await append(log, numbered(1), numbered(2))
    await producers.beat(writer(), "billing", Beat(epoch="e1", sequence=9, waiting_from=6))
    await producers.round()
    found = await producers.one(someone(), "billing")
    assert [(gap.first, gap.last, gap.kind) for gap in found.gaps] == [(3, 5, "missing")]
    assert (found.waiting, found.missing, found.state) == (4, 3, "stopped")
    await append(log, numbered(9))
    await producers.round()
    found = await producers.one(someone(), "billing")
    assert [(gap.first, gap.last, gap.kind) for gap in found.gaps] == [(3, 5, "missing"), (6, 8, "waiting")]
    clock.move(seconds=61)
    await producers.round()
    assert [one["ranges"] for _, one in await told(log)] == [[[3, 5]]]


async def test_silence_is_told_once_and_so_is_its_end(
    log: LogUnderTest, producers: Producers, ingest: Ingest, clock: Clock
) -> None:
    """A producer that is dead must be missed; one that said good-bye must not."""
    await producers.beat(writer(), "lives", Beat(epoch="e1", sequence=0, interval_seconds=60))
    await producers.beat(writer(), "leaves", Beat(epoch="e1", sequence=0, interval_seconds=0))
    clock.move(seconds=170)
    await producers.round()
    assert await told(log) == []
    clock.move(seconds=20)
    late = Producers(log.pool, ingest, now=clock)
    await late.round()
    assert await told(log) == [], "a server that has just started has heard nobody yet"
    for _ in range(3):
        await producers.round()
    assert [action for action, _ in await told(log)] == ["producer.silent"]
    found = {one.id: one for one in (await producers.list(someone())).producers}
    assert (found["lives"].state, found["leaves"].state) == ("silent", "stopped")
    assert found["lives"].summary == "no heartbeat for 3 minutes"
    clock.move(seconds=10)
    await producers.beat(writer(), "lives", Beat(epoch="e1", sequence=0, interval_seconds=60))
    for _ in range(3):
        await producers.round()
    assert [action for action, _ in await told(log)] == ["producer.silent", "producer.recovered"]
    assert (await producers.one(someone(), "lives")).state == "active"


async def test_limits_of_producers_and_epochs(log: LogUnderTest, ingest: Ingest, clock: Clock) -> None:
    """Whoever makes up names or epochs must not fill the tables; what is missing is never forgotten."""
    few = Producers(log.pool, ingest, now=clock, producers_max=2, epochs_max=2)
    await append(log, *(numbered(1, id=name) for name in ("a", "b", "c")))
    await few.round()
    assert [one.id for one in (await few.list(someone())).producers] == ["a", "b"]
    with pytest.raises(TryLater):
        await few.beat(writer(), "d", Beat(epoch="e", sequence=1))
    for at, epoch in enumerate(("e2", "e3", "e4", "e5")):
        clock.move(seconds=1)
        await append(log, numbered(2 if at == 0 else 1, id="a", epoch=epoch))
        await few.round()
    found = await few.one(someone(), "a")
    assert (found.events, found.missing, found.epoch) == (3, 1, "e5")
    page = await few.list(someone(), limit=1)
    assert (page.producers[0].id, page.next_after) == ("a", "a")
    assert [one.id for one in (await few.list(someone(), after="a")).producers] == ["b"]


async def test_producers_are_their_organizations(producers: Producers, log: LogUnderTest) -> None:
    """Neither another organization nor somebody of one workspace may see who writes here."""
    await append(log, numbered(1))
    await producers.round()
    assert (await producers.list(someone(OTHER_LOG))).producers == []
    with pytest.raises(NotFound):
        await producers.one(someone(OTHER_LOG), "billing")
    with pytest.raises(Forbidden):
        await producers.list(someone(LOG, "ws_1"))
    with pytest.raises(Forbidden):
        await producers.beat(someone(), "billing", Beat(epoch="e1", sequence=1))


@pytest.mark.parametrize(
    ("id", "beat", "path"),
    [
        ("a b", Beat(epoch="e", sequence=1), "/id"),
        ("a", Beat(epoch="é", sequence=1), "/epoch"),
        ("a", Beat(epoch="e", sequence=-1), "/sequence"),
        ("a", Beat(epoch="e", sequence=1, waiting_from=2), "/waiting_from"),
        ("a", Beat(epoch="e", sequence=1, interval_seconds=86_401), "/interval_seconds"),
        ("a", Beat(epoch="e", sequence=1, interval_seconds=float("nan")), "/interval_seconds"),
    ],
)
async def test_a_sign_of_life_that_cannot_be(producers: Producers, id: str, beat: Beat, path: str) -> None:
    """A mistake in a heartbeat must be told, or its producer would never be missed."""
    with pytest.raises(Refused) as refusal:
        await producers.beat(writer(), id, beat)
    assert refusal.value.path == path
