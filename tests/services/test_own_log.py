"""The log of the log under load and under faults: bounded, never lost quietly, never written twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.appending import LOG, OTHER_LOG, Faults, LogUnderTest, faulty
from services.test_ingest import ingest, rendered
from tallystick.errors import Forbidden, TryLater, UnknownOutcome
from tallystick.event.model import Actor, Event, Target
from tallystick.services import own_log as limits
from tallystick.services.group import Inside
from tallystick.services.ingest import Ingest
from tallystick.services.own_events import own_event, record_act
from tallystick.services.own_log import OwnLog
from tallystick.services.permissions import MANAGE
from tallystick.services.principal import Principal
from tallystick.store.connect import EVERY, transaction

ADMIN = Principal(organization_id=LOG, kind="key", id="key_1", name="k", permissions=frozenset({MANAGE}))


def look(text: str = "ada") -> Event:
    """Return the event of a search."""
    return own_event(
        Actor(type="user", id="mbr_1"), "events.searched", metadata={"filters": {"user": [text]}}
    )


class Seconds:
    """A clock in seconds that the test moves."""

    at = 0.0

    def __call__(self) -> float:
        return self.at


async def nobody(credential: str) -> None:
    """Know no credential."""


def own_log(log: LogUnderTest, seconds: Seconds, with_ingest: Any = None, **more: Any) -> OwnLog:
    """Return the log of the log of a log under test."""
    return OwnLog(
        with_ingest or ingest(log), new_id=uuid4, now=log.clock, monotonic=seconds,
        **{"find_holder": nobody, **more},
    )  # fmt: skip


@asynccontextmanager
async def running(own: OwnLog) -> AsyncIterator[OwnLog]:
    """Have it write beside the test, and stop it in order."""
    task = asyncio.create_task(own.run())
    try:
        yield own
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await own.stop()


async def settled(own: OwnLog) -> None:
    """Wait until nothing waits."""
    async with asyncio.timeout(20):
        while own.waiting:
            await asyncio.sleep(0.005)


async def test_once_at_once_and_the_rest_as_a_number(log: LogUnderTest) -> None:
    """A reader who reloads a page a thousand times a minute would drown the log, or not be in it."""
    seconds = Seconds()
    async with running(own_log(log, seconds)) as own:
        for _ in range(1000):
            own.notice(LOG, "a search", look)
        own.notice(LOG, "another search", lambda: look("bob"))
        await settled(own)
        await log.check(2)
        seconds.at += 59
        own.notice(LOG, "a search", look)
        await settled(own)
        await log.check(2)
        seconds.at += 2
        async with asyncio.timeout(20):
            while await log.check() < 3:
                await asyncio.sleep(0.05)
        own.notice(LOG, "a search", look)
        await settled(own)
    await log.check(4)
    first, other, summary, fresh = [await rendered(log, position) for position in range(4)]
    assert summary["metadata"] == {**first["metadata"], "again": 1000, "first": first["id"]}
    assert other["metadata"]["filters"] == {"user": ["bob"]}
    assert "again" not in fresh["metadata"]
    assert {one["stream"] for one in (first, other, summary, fresh)} == {"tallystick"}


async def test_what_was_seen_again_is_written_at_the_stop(log: LogUnderTest) -> None:
    """Stopping the server would be the way to hide how often."""
    async with running(own_log(log, Seconds())) as own:
        for _ in range(5):
            own.notice(LOG, "a search", look)
    await log.check(2)
    assert (await rendered(log, 1))["metadata"]["again"] == 4


async def test_recorded_before_it_is_answered(log: LogUnderTest) -> None:
    """An export would begin that is not on record."""
    own = own_log(log, Seconds())
    await own.record(LOG, "an export", look, seconds=0)
    await log.check(1)
    await own.record(LOG, "an export", look, seconds=0)
    await log.check(2)
    await asyncio.gather(*(own.record(LOG, "a view", look) for _ in range(20)))
    await log.check(3)


@pytest.mark.parametrize("happened", [False, True])
async def test_no_answer_without_the_record(log: LogUnderTest, happened: bool) -> None:
    """A database that is away would let everybody read unseen; one that answers late would record it twice."""
    faults = Faults(at="COMMIT" if happened else "BEGIN", happened=happened, times=99)
    log.appender = log.new_appender(pool=faulty(log.pool, faults))
    own = own_log(log, Seconds())
    with pytest.raises(TryLater):
        await own.record(LOG, "a view", look)
    faults.times = 0
    await own.record(LOG, "a view", look)
    size = await log.check()
    assert size == (2 if happened and size == 2 else 1)


async def test_it_is_written_once_when_the_database_is_back(log: LogUnderTest) -> None:
    """What happened while the database was away would be lost, or written again at every try."""
    flaky = Flaky(ingest(log), failures=12)
    async with running(own_log(log, Seconds(), flaky)) as own:
        for text in ("a", "b", "c"):
            own.notice(LOG, text, lambda text=text: look(text))
        await settled(own)
        assert own.late == ""
    await log.check(3)
    assert own.failures >= 1
    found = {(await rendered(log, position))["metadata"]["filters"]["user"][0] for position in range(3)}
    assert found == {"a", "b", "c"}


@dataclass
class Flaky:
    """An Ingest whose outcome is unknown the first times, although the event was stored."""

    inner: Ingest
    failures: int
    seen: list[str] = field(default_factory=list)

    async def record_own(
        self, organization_id: UUID, event: Event, *, source: str = "tallystick", inside: Inside | None = None
    ) -> Any:
        """Store it, and say that nobody knows."""
        recorded = await self.inner.record_own(organization_id, event, inside=inside)
        if self.failures:
            self.failures -= 1
            raise UnknownOutcome("The commit was not confirmed.")
        return recorded


async def test_limits(log: LogUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing can be written, memory would fill; or reading would go on unseen."""
    monkeypatch.setattr(limits, "WAITING_OF_ONE_MAX", 5)
    monkeypatch.setattr(limits, "WAITING_MAX", 8)
    own = own_log(log, Seconds())
    for number in range(5):
        own.notice(LOG, number, look)
    with pytest.raises(TryLater, match="records who reads"):
        own.notice(LOG, 5, look)
    own.notice(LOG, 4, look)  # the same again costs nothing
    for number in range(3):
        own.notice(OTHER_LOG, number, look)
    with pytest.raises(TryLater):
        own.notice(OTHER_LOG, 3, look)
    with pytest.raises(TryLater):
        await own.record(LOG, "an export", look)
    assert own.waiting == 8


async def test_windows_are_bounded(log: LogUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand different searches would be remembered for ever."""
    monkeypatch.setattr(limits, "WINDOWS_MAX", 3)
    own = own_log(log, Seconds())
    for number in range(10):
        for _ in range(2):
            own.notice(LOG, number, look)
    assert len(own._windows) == 3
    assert own.waiting == 10 + 7, "those that had to go left their count"


async def test_attempts(log: LogUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guessing keys would fill the memory or the log; a leaked key in use would not be noticed."""
    monkeypatch.setattr(limits, "ATTEMPTS_MAX", 4)
    unknown: list[int] = []

    async def find(credential: str) -> tuple[UUID, Actor, str] | None:
        return (LOG, Actor(type="api_key", id="key_9"), "revoked") if credential == "leaked" else None

    def made(holder: Actor, why: str) -> Event:
        return own_event(holder, "access.denied", outcome="denied", metadata={"why": why})

    own = own_log(log, Seconds(), find_holder=find, unknown=lambda: unknown.append(1))
    taken = [own.investigate(one, one.encode(), made) for one in ("leaked", "x", "leaked", "y", "z")]
    assert taken == [True, True, True, True, False]
    async with running(own):
        await settled(own)
    assert len(unknown) == 2
    first, summary = [await rendered(log, position) for position in range(2)]
    assert (first["actor"]["id"], first["metadata"]) == ("key_9", {"why": "revoked"})
    assert summary["metadata"]["again"] == 1
    await log.check(2)


async def test_a_change_and_its_event_are_one(log: LogUnderTest) -> None:
    """Somebody would be made an owner without an event, or an event would tell of what was never done."""

    async def make(connection: Any, entries: Any) -> None:
        await connection.execute(
            "INSERT INTO teams (organization_id, id, display_name) VALUES ($1, 'tea_1', 'T')", LOG
        )

    async def make_and_fail(connection: Any, entries: Any) -> None:
        await make(connection, entries)
        raise Forbidden("Not this one.")

    act = {"targets": [Target(type="team", id="tea_1")], "after": {"display_name": "T"}}
    with pytest.raises(Forbidden):
        await record_act(ingest(log), ADMIN, "team.created", **act, inside=make_and_fail)
    assert await _teams(log) == 0
    await log.check(0)
    faults = Faults(at="COMMIT", times=1)
    log.appender = log.new_appender(pool=faulty(log.pool, faults))
    with pytest.raises(UnknownOutcome):
        await record_act(ingest(log), ADMIN, "team.created", **act, inside=make)
    assert await _teams(log) == await log.check() == 0
    await record_act(ingest(log), ADMIN, "team.created", **act, inside=make)
    assert await _teams(log) == await log.check() == 1
    recorded = await rendered(log, 0)
    assert (recorded["stream"], recorded["after"]) == ("tallystick", {"display_name": "T"})


async def _teams(log: LogUnderTest) -> int:
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        return int(await connection.fetchval("SELECT count(*) FROM teams") or 0)
