"""Exports: what leaves the database proves itself offline, whatever the filter, the key or the size."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from services.appending import LOG, NOON, Clock, LogUnderTest, event, events
from tallystick.catalogue.describe import verb_of
from tallystick.errors import Forbidden, NotFound, Tampered
from tallystick.query.meaning import matches
from tallystick.query.model import Query
from tallystick.query.parse import parse
from tallystick.services.export import Export
from tallystick.services.permissions import EXPORT, MANAGE, READ
from tallystick.services.principal import Principal
from tallystick.store import export as stored
from tallystick.verify.export import verify_export
from tallystick.verify.known import Kept
from tallystick.verify.report import Report


def principal(*permissions: str, workspace: str | None = None) -> Principal:
    return Principal(
        organization_id=LOG,
        kind="key",
        id="k",
        name="k",
        permissions=frozenset(permissions),
        workspaces=None if workspace is None else frozenset({workspace}),
    )


EXPORTER = principal(EXPORT)


def query(*parameters: tuple[str, str]) -> Query:
    return parse(parameters, now=NOON)


async def collect(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in stream])


def service(log: LogUnderTest) -> Export:
    return Export(log.pool, log.signer, now=log.clock)


def check(log: LogUnderTest, export: bytes) -> Report:
    report = verify_export([export], keys=(log.verifier,))
    assert (report.verdict, report.violated) == ("proven", [])
    return report


def in_full(export: bytes) -> list[dict[str, Any]]:
    return [line["event"] for line in map(json.loads, export.splitlines()) if "event" in line]


async def fill(log: LogUnderTest, clock: Clock, number: int) -> None:
    rng = random.Random(number)
    left = number
    while left:
        batch = min(left, rng.randrange(1, 90))
        occurred = [(clock.at - timedelta(minutes=rng.randrange(400))).isoformat() for _ in range(batch)]
        await log.append([event(occurred_at=at) for at in occurred])
        clock.move(minutes=rng.randrange(300))
        left -= batch


async def test_a_whole_log_is_proven(log: LogUnderTest, clock: Clock) -> None:
    """A full export holds every event of the log and proves it with nothing but the log's key."""
    await fill(log, clock, 700)
    export = await collect(await service(log).jsonl(EXPORTER, Query()))
    report = check(log, export)
    assert report.facts["events"] == 700
    assert [one["position"] for one in in_full(export)] == list(range(700))


FILTERS = (
    [("action", "member")],
    [("action", "^nothing")],
    [("user", "person3@")],
    [("user", "nobody at all")],
    [("outcome", "denied"), ("workspace", "w-1")],
    [("verb", "create"), ("verb", "auth")],
    [("q", "-outcome:success person")],
    [("target_type", "team"), ("target_id", 'a "b" \\ {c},')],
    [("ip", "192.0.2.7")],
    [("q", "-user:person2 -workspace:w-2")],
)


async def test_every_filter_gives_exactly_what_it_means(log: LogUnderTest, clock: Clock) -> None:
    """The full rows of a filtered export are those the filter means, the rest are hashes, and all is proven."""
    await fill(log, clock, 300)
    whole = in_full(await collect(await service(log).jsonl(EXPORTER, Query())))
    times = [
        ("from", (NOON + timedelta(hours=8)).isoformat()),
        ("to", (NOON + timedelta(hours=30)).isoformat()),
    ]
    found = []
    for number, parameters in enumerate(
        [*FILTERS, *([*one, *times[: at % 3]] for at, one in enumerate(FILTERS))]
    ):
        wanted = query(*parameters)
        expected = [one for one in whole if matches(wanted, one, verb_of=verb_of)]
        export = await collect(await service(log).jsonl(EXPORTER, wanted))
        report = check(log, export)
        assert in_full(export) == expected, (number, parameters)
        header = json.loads(export.splitlines()[0])
        again = parse([("q", header["filter"])], now=NOON)
        assert [one for one in whole if matches(again, one, verb_of=verb_of)] == expected
        assert report.facts["events"] == len(expected)
        found.append(len(expected))
    assert sum(0 < one < 300 for one in found) >= 12


async def test_a_time_range_is_a_range_of_positions(log: LogUnderTest, clock: Clock) -> None:
    """An export of some time takes no more positions than it must, over months, and proves that range."""
    for _ in range(4):
        await log.append(events(70))
        clock.move(days=20)
    bounds = [
        ("from", (NOON + timedelta(days=10)).isoformat()),
        ("to", (NOON + timedelta(days=50)).isoformat()),
    ]
    export = await collect(await service(log).jsonl(EXPORTER, query(*bounds)))
    assert (
        check(log, export).facts | {"first position": 70, "end position": 210, "bare hashes": 0}
        == check(log, export).facts
    )
    export = await collect(await service(log).jsonl(EXPORTER, query(("from", "2030-01-01T00:00:00Z"))))
    assert check(log, export).facts["events"] == 0
    assert json.loads(export.splitlines()[0])["start"] == 280


async def test_events_recorded_meanwhile_are_not_in_it(log: LogUnderTest, clock: Clock) -> None:
    """An export ends at the head it began with, however long it takes and whatever is recorded meanwhile."""
    await fill(log, clock, 300)
    stream = await service(log).jsonl(EXPORTER, Query())
    first = await anext(stream)
    await log.append(events(50))
    export = first + await collect(stream)
    assert check(log, export).facts["log size"] == 300
    kept = Kept("later", await log.log.checkpoint(LOG))
    assert [one.kind for one in verify_export([export], kept=[kept]).violated] == ["rollback"]
    newer = await collect(await service(log).jsonl(EXPORTER, Query()))
    report = verify_export(
        [newer], keys=(log.verifier,), kept=[kept, Kept("receipt", await log.log.receipt(LOG, 7))]
    )
    assert report.verdict == "proven"
    assert len([line for line in report.proven if "beginning of this log" in line]) == 2


async def test_chunks_stay_small(log: LogUnderTest, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk ends at its number of rows or bytes, and an event larger than that still comes."""
    await log.append(
        [event(after={"text": "x" * size}) for size in (10, 200_000, 10, 10, 90_000, 90_000, 10)]
    )
    await fill(log, clock, 100)
    monkeypatch.setattr(stored, "CHUNK_ROWS", 7)
    monkeypatch.setattr(stored, "CHUNK_BYTES", 100_000)
    pieces = [piece async for piece in await service(log).jsonl(EXPORTER, Query())]
    assert len(pieces) >= 2 + 107 / 7
    assert sorted(map(len, pieces))[-2] < 2_200_000
    check(log, b"".join(pieces))


async def test_what_goes_on_at_once_is_small(
    log: LogUnderTest, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that stops reading would hold thousands of rendered events, and so would each of its kind."""
    for _ in range(4):
        await log.append([event(after={"text": "x" * 2_000}) for _ in range(250)])
    asked: list[int] = []
    read = stored.chunk

    async def chunk(pool: Any, selection: Any, first: int, end: int, rows_max: int) -> list[stored.Position]:
        rows = await read(pool, selection, first, end, rows_max)
        asked.append(rows_max)
        assert sum(len(row.leaf or b"") + len(row.opening or b"") for row in rows) <= stored.CHUNK_BYTES
        return rows

    monkeypatch.setattr(stored, "chunk", chunk)
    pieces = [piece async for piece in await service(log).jsonl(EXPORTER, Query())]
    assert max(map(len, pieces)) < 512 * 1024
    assert max(asked) <= 500, "more rows were asked for than a chunk has room for"
    check(log, b"".join(pieces))


async def test_only_who_may_export_does(log: LogUnderTest) -> None:
    """Reading is not exporting; organization:manage implies it; an empty log has nothing to prove."""
    with pytest.raises(Forbidden):
        await service(log).jsonl(principal(READ), Query())
    with pytest.raises(NotFound):
        await service(log).jsonl(EXPORTER, Query())
    await log.append(events(3))
    check(log, await collect(await service(log).jsonl(principal(MANAGE), Query())))


async def test_a_key_of_one_workspace_gets_only_its_events(log: LogUnderTest) -> None:
    """A key bound to a workspace never sees another's events, whatever it asks for, and its export says so."""
    await log.append(events(90))
    bound = principal(EXPORT, workspace="w-1")
    for parameters, found in (
        ([], 30),
        ([("workspace", "w-1"), ("workspace", "w-2")], 30),
        ([("workspace", "w-2")], 0),
    ):
        export = await collect(await service(log).jsonl(bound, query(*parameters)))
        assert check(log, export).facts["events"] == found
        assert {one.get("workspace") for one in in_full(export)} <= {"w-1"}
        text = json.loads(export.splitlines()[0])["filter"]
        assert "workspace:w-1" in text if found else "-workspace:w-2" in text


async def test_a_hole_breaks_the_export_off(log: LogUnderTest, pools: Any) -> None:
    """A row deleted behind our back is never exported over: the stream fails and the file is not taken for whole."""
    await log.append(events(60))
    async with pools.owner.inner.acquire() as connection:
        await connection.execute("ALTER TABLE audit_logs DISABLE TRIGGER ALL")
        for part in await connection.fetch(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'audit_logs'::regclass"
        ):
            await connection.execute(f"ALTER TABLE {part['name']} DISABLE TRIGGER ALL")
        await connection.execute("DELETE FROM audit_logs WHERE position = 33")
    pieces: list[bytes] = []

    async def keep_all() -> None:
        async for piece in await service(log).jsonl(EXPORTER, Query()):
            pieces.append(piece)

    with pytest.raises(Tampered, match="33"):
        await keep_all()
    assert [one.kind for one in verify_export([b"".join(pieces)]).violated][-1] == "truncated"
