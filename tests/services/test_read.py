"""Reading as its callers see it: pages that stand still, workspaces that stay closed, holes that raise an alarm."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.appending import LOG, NOON, LogUnderTest, event
from tallystick.errors import NotFound, Refused, Tampered, TryLater
from tallystick.event.moment import instant_text
from tallystick.query import parse
from tallystick.services import watch as watching
from tallystick.services.buckets import BUCKETS_MAX, spread, width_for
from tallystick.services.permissions import READ
from tallystick.services.principal import Principal
from tallystick.services.read import Read
from tallystick.services.watch import Watch
from tallystick.store import conditions, search, tally
from tallystick.store.connect import Pool, connect

KEY = b"k" * 32


def someone(organization_id: UUID = LOG, workspace: str | None = None) -> Principal:
    """Someone who may read a log, or one workspace of it."""
    return Principal(
        organization_id=organization_id,
        kind="key",
        id="k",
        name="t",
        permissions=frozenset({READ}),
        workspaces=None if workspace is None else frozenset({workspace}),
    )


def clock_of(*seconds: float) -> Iterator[float]:
    """Seconds one after the other, the last one for ever."""
    yield from seconds
    while True:
        yield seconds[-1]


@pytest.fixture
def read(pool: Pool) -> Read:
    """The service under test."""
    return Read(pool, cursor_key=KEY, now=lambda: NOON)


async def fill(log: LogUnderTest, number: int, **fields: Any) -> None:
    """Append so many events, a minute apart, the newest last."""
    await log.append(
        [
            event(**{"occurred_at": instant_text(NOON - timedelta(minutes=number - n)), **fields})
            for n in range(number)
        ]
    )


async def positions(read: Read, caller: Principal, *parameters: tuple[str, str]) -> list[int]:
    """Return the positions on one page."""
    return [e["position"] for e in (await read.search(caller, parse(parameters, now=NOON))).events]


async def test_new_events_do_not_shift_pages(log: LogUnderTest, read: Read) -> None:
    """A second page that shows an event of the first page again, or one that came after it."""
    await fill(log, 6)
    first = await read.search(someone(), parse([("limit", "3")], now=NOON))
    await fill(log, 2)
    assert first.next_cursor is not None
    second = await read.search(someone(), parse([("limit", "3"), ("cursor", first.next_cursor)], now=NOON))
    assert [e["position"] for e in (*first.events, *second.events)] == [5, 4, 3, 2, 1, 0]
    assert second.next_cursor is None
    assert (first.size, second.size) == (6, 6)
    # From the oldest on, later events could have been next; they are not part of this search.
    first = await read.search(someone(), parse([("limit", "7"), ("order", "oldest")], now=NOON))
    await fill(log, 1)
    rest = parse([("limit", "7"), ("order", "oldest"), ("cursor", first.next_cursor or "")], now=NOON)
    assert len((await read.search(someone(), rest)).events) == 1


async def test_what_is_acknowledged_is_found_by_the_next_request(log: LogUnderTest, read: Read) -> None:
    """An answer from a memory that has not heard of the newest action or person."""
    for number in range(5):
        await log.append(
            [event(action=f"new.action{number}", actor={"type": "user", "id": f"new-person-{number}"})]
        )
        assert await positions(read, someone(), ("action", f"new.action{number}")) == [number]
        assert await positions(read, someone(), ("user", f"w-person-{number}")) == [number]
        assert await positions(read, someone(), ("q", f"-user:person-{number}")) == list(range(number))[::-1]
        assert (await read.count(someone(), parse([], now=NOON)))["count"] == number + 1


async def test_an_offset_skips_so_many_events(log: LogUnderTest, read: Read) -> None:
    """LangWatch's paging that loses or repeats an event between two pages."""
    await fill(log, 7)
    assert await positions(read, someone(), ("pageOffset", "2"), ("pageSize", "3")) == [4, 3, 2]
    assert await positions(read, someone(), ("pageOffset", "5"), ("pageSize", "3")) == [1, 0]
    assert await positions(read, someone(), ("pageOffset", "9"), ("pageSize", "3")) == []


async def test_a_cursor_of_another_search_or_caller_is_refused(log: LogUnderTest, read: Read) -> None:
    """A cursor that carries one caller's view to another caller."""
    await fill(log, 5, workspace="w-1")
    page = await read.search(someone(), parse([("limit", "2")], now=NOON))
    parameters = [("limit", "2"), ("cursor", page.next_cursor or "")]
    for caller in (someone(uuid4()), someone(LOG, "w-1")):
        with pytest.raises(Refused):
            await read.search(caller, parse(parameters, now=NOON))
    with pytest.raises(Refused):
        await read.search(someone(), parse([*parameters, ("outcome", "denied")], now=NOON))


async def test_a_workspace_key_sees_its_workspace_everywhere(log: LogUnderTest, read: Read) -> None:
    """A key for one workspace that learns of another's events: in a page, a count, a bar, a facet or the feed."""
    await log.append([event(workspace=w, action=f"in.{w}") for w in ("w-1", "w-2", "w-1", None)])
    caller, query = someone(workspace="w-1"), parse([], now=NOON)
    assert await positions(read, caller) == [2, 0]
    assert await positions(read, caller, ("workspace", "w-2")) == []
    assert await positions(read, caller, ("workspace", "-")) == []
    assert await read.count(caller, query) == {"count": 2, "exact": True}
    assert await read.count(caller, parse([("workspace", "w-2")], now=NOON)) == {"count": 0, "exact": True}
    week = parse([("range", "7d"), ("to", instant_text(NOON + timedelta(days=1)))], now=NOON)
    bars = (await read.histogram(caller, week))["buckets"]
    assert sum(bar["success"] + bar["other"] for bar in bars) == 2
    facets = (await read.facets(caller, query))["facets"]
    assert [f["value"] for f in facets["workspace"]] == ["w-1"]
    assert "w-2" not in str(facets)
    assert [e["position"] for e in await read.feed(caller, -1, 10)] == [0, 2]
    page = await read.follow(caller, query, 0, 10)
    assert ([e["position"] for e in page.events], page.last) == ([2], 3)
    everything = await read.feed(someone(), -1, 10)
    assert (await read.event(caller, UUID(everything[0]["id"])))[0] == 0
    with pytest.raises(NotFound):
        await read.event(caller, UUID(everything[1]["id"]))


@pytest.mark.parametrize(
    ("people", "labels", "counted"),
    [(1_000, 3_000, 200), (9, 3_000, 200), (1_000, 11, 200), (1_000, 3_000, 3)],
)
async def test_nobody_is_missed_for_fitting_with_several_labels(
    log: LogUnderTest, read: Read, monkeypatch: pytest.MonkeyPatch, people: int, labels: int, counted: int
) -> None:
    """Ten persons fit with two labels each: a limit on labels that is taken for one on persons loses some of them."""
    monkeypatch.setattr(conditions, "PEOPLE_MAX", people)
    monkeypatch.setattr(conditions, "LABELS_MAX", labels)
    monkeypatch.setattr(conditions, "COUNTED_MAX", counted)
    for n in range(10):
        actor = {
            "type": "user",
            "id": f"u{n}",
            "name": f"Grace Hopper {n}",
            "email": f"hopper{n}@example.com",
        }
        await log.append([event(actor=actor), event(actor={"type": "user", "id": f"other{n}"})])
    found = await positions(read, someone(), ("user", "hopper"))
    assert sorted(found) == [2 * n for n in range(10)]
    assert (await read.count(someone(), parse([("user", "hopper")], now=NOON)))["count"] == 10
    assert await positions(read, someone(), ("user", "ho")) == found
    assert await positions(read, someone(), ("q", "-user:hopper hopper")) == []


async def test_another_organization_sees_nothing(log: LogUnderTest, read: Read) -> None:
    """A row of one organization in the answer to another."""
    await fill(log, 3)
    stranger, query = someone(uuid4()), parse([], now=NOON)
    assert await positions(read, stranger) == []
    assert await read.count(stranger, query) == {"count": 0, "exact": True}
    assert await read.feed(stranger, -1, 10) == []
    assert (await read.facets(stranger, query))["facets"]["action"] == []
    event_id = UUID((await read.feed(someone(), -1, 1))[0]["id"])
    with pytest.raises(NotFound):
        await read.event(stranger, event_id)


async def test_a_hole_in_the_log_is_an_alarm(log: LogUnderTest, read: Read, database: Any) -> None:
    """A removed row that a consumer of the feed takes for the end of a page."""
    await fill(log, 5)
    superuser = await connect(database.superuser)
    await superuser.execute("SET session_replication_role = replica")  # as somebody with every right would
    await superuser.execute("DELETE FROM audit_logs WHERE position = 2")
    assert len(await read.feed(someone(), -1, 2)) == 2
    for limit in (3, 4, 100):
        with pytest.raises(Tampered, match="position 2"):
            await read.feed(someone(), -1, limit)
    with pytest.raises(Tampered, match="position 2"):
        await read.follow(someone(), parse([("action", "zzz.login")], now=NOON), 1, 10)
    await superuser.execute("DELETE FROM audit_logs WHERE position = 4")
    with pytest.raises(Tampered, match="position 4"):
        await read.feed(someone(), 3, 10)
    await superuser.close()


async def test_a_page_whose_time_is_over_says_how_far_it_searched(
    log: LogUnderTest, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow search that ends as if there were nothing more, or that never gets anywhere."""
    monkeypatch.setattr(search, "SCAN_ROWS_FIRST", 2)
    monkeypatch.setattr(search, "SCAN_ROWS_MAX", 2)
    await log.append([event(action="rare.one", occurred_at=instant_text(NOON - timedelta(days=1)))])
    await fill(log, 9, action="frequent.one", actor={"type": "user", "id": "robot9"})
    always_late = clock_of(0.0, 1_000.0)
    read = Read(pool, cursor_key=KEY, now=lambda: NOON, monotonic=lambda: next(always_late))
    parameters = [("q", "-user:robot9")]
    found: list[int] = []
    partial = 0
    for _ in range(20):
        always_late = clock_of(0.0, 1_000.0)
        page = await read.search(someone(), parse(parameters, now=NOON))
        found += [e["position"] for e in page.events]
        if page.next_cursor is None:
            break
        partial += page.searched_back_to is not None
        parameters = [("q", "-user:robot9"), ("cursor", page.next_cursor)]
    assert found == [0]
    assert partial >= 3


async def test_an_offset_that_takes_too_long_is_not_answered_wrongly(
    log: LogUnderTest, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page by offset whose count of skipped events was cut short."""
    monkeypatch.setattr(search, "SCAN_ROWS_FIRST", 2)
    monkeypatch.setattr(search, "SCAN_ROWS_MAX", 2)
    await fill(log, 9)
    late = clock_of(0.0, 1_000.0)
    read = Read(pool, cursor_key=KEY, now=lambda: NOON, monotonic=lambda: next(late))
    with pytest.raises(TryLater, match="next_cursor"):
        await read.search(someone(), parse([("q", "-user:zzz"), ("offset", "3")], now=NOON))


async def test_a_count_is_capped_and_says_so(
    log: LogUnderTest, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count that runs for minutes, or a capped one that is taken for the truth."""
    monkeypatch.setattr(tally, "COUNT_MAX", 4)
    await fill(log, 6, action="a.b")
    for parameters in (
        [],
        [("action", "a.b")],
        [("outcome", "success"), ("outcome", "failure"), ("outcome", "denied")],
    ):
        query = parse(parameters, now=NOON)
        assert await read.count(someone(), query) == {"count": 4, "exact": False}
        assert await read.count(someone(), query, exact=True) == {"count": 6, "exact": True}


async def test_facets_of_many_matches_are_called_approximate(
    log: LogUnderTest, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facets of a sample that are taken for those of everything."""
    monkeypatch.setattr(tally, "FACET_ROWS_MAX", 4)
    await fill(log, 6, action="a.b")
    found = await read.facets(someone(), parse([("action", "a.b")], now=NOON))
    assert (found["approximate"], found["rows"]) == (True, 4)
    assert found["facets"]["action"] == [{"value": "a.b", "count": 4}]


async def test_a_histogram_whose_time_is_over_says_so(log: LogUnderTest, pool: Pool) -> None:
    """Empty bars that stand for events nobody had the time to count."""
    log.clock.at = NOON - timedelta(days=40)  # type: ignore[attr-defined]
    await fill(log, 3, occurred_at=instant_text(NOON - timedelta(days=40)))
    log.clock.at = NOON  # type: ignore[attr-defined]
    await fill(log, 3)
    late = clock_of(0.0, 0.0, 1_000.0)
    read = Read(pool, cursor_key=KEY, now=lambda: NOON, monotonic=lambda: next(late))
    found = await read.histogram(someone(), parse([("range", "90d"), ("q", "-action:zzz")], now=NOON))
    assert not found["exact"]
    assert found["counted_back_to"] < instant_text(NOON - timedelta(days=20))
    assert sum(bar["success"] + bar["other"] for bar in found["buckets"]) == 3


@pytest.mark.parametrize(
    "seconds", [1, 59, 61, 900, 3_600, 86_400, 7 * 86_400, 300 * 86_400, 9_000 * 366 * 86_400]
)
def test_buckets_are_sixty_to_a_hundred_and_twenty(seconds: int) -> None:
    """A histogram of three bars, or of three thousand."""
    for start in (NOON, NOON + timedelta(seconds=17)):
        since = start - timedelta(seconds=min(seconds, 700 * 86_400))
        made = spread({}, since, start, width_for(start - since))
        assert len(made) <= BUCKETS_MAX
        assert len(made) >= min(60, seconds)
    assert timedelta(seconds=seconds) / width_for(timedelta(seconds=seconds)) <= BUCKETS_MAX


async def test_a_waiting_reader_is_woken_at_once(log: LogUnderTest, read: Read) -> None:
    """A live view that waits for a poll although the event came in through the same process."""
    await fill(log, 1)
    waiting = asyncio.create_task(read.wait_beyond(LOG, 0))
    await asyncio.sleep(0.05)
    await fill(log, 1)
    read.appended(LOG)
    async with asyncio.timeout(2):
        assert await waiting == 2


async def test_a_waiting_reader_sees_what_another_server_appends(log: LogUnderTest, read: Read) -> None:
    """A live view that never hears of events that came in elsewhere."""
    waiting = [asyncio.create_task(read.wait_beyond(LOG, -1)) for _ in range(5)]
    await asyncio.sleep(0.05)
    await fill(log, 1)
    async with asyncio.timeout(5):
        assert await asyncio.gather(*waiting) == [1] * 5


async def test_waiting_is_bounded_and_asks_once_for_all() -> None:
    """A thousand viewers that put a thousand questions to the database four times a second."""
    asked = 0

    async def size_of(_: UUID) -> int:
        nonlocal asked
        asked += 1
        return 0 if asked < 3 else 5

    watch = Watch(size_of, poll_seconds=0.01, waiters_max=50)
    waiting = [asyncio.create_task(watch.wait(LOG, 3)) for _ in range(50)]
    await asyncio.sleep(0)
    with pytest.raises(TryLater):
        await watch.wait(LOG, 3)
    assert await asyncio.gather(*waiting) == [5] * 50
    assert asked == 3
    assert watching.POLL_SECONDS <= 0.25


async def test_a_reader_that_waits_learns_of_a_lost_database() -> None:
    """A live view that hangs for ever once the database was away."""

    async def size_of(_: UUID) -> int:
        raise TryLater("The database cannot be reached.")

    watch = Watch(size_of)
    for _ in range(2):
        with pytest.raises(TryLater):
            await watch.wait(LOG, 0)


async def test_a_reader_that_gives_up_leaves_nothing_behind() -> None:
    """A task that asks for a log for ever after everyone has hung up."""

    async def size_of(_: UUID) -> int:
        return 0

    watch = Watch(size_of, poll_seconds=0.01)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await watch.wait(LOG, 0)
    await asyncio.sleep(0.05)
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("people_max", [conditions.PEOPLE_MAX, 0])
async def test_a_name_told_elsewhere_is_not_found(
    log: LogUnderTest, monkeypatch: pytest.MonkeyPatch, people_max: int
) -> None:
    """A reader of one workspace could try names, and learn who somebody is from what another workspace was told."""
    ada = {"type": "user", "id": "u-1", "name": "Ada Lovelace", "email": "ada@secret.example"}
    told = [
        event(workspace="w-2", actor=ada),
        event(workspace="w-1", actor={"type": "user", "id": "u-1"}),
        event(workspace="w-1", actor={"type": "user", "id": "u-1", "name": "Countess"}),
    ]
    await log.append(told)
    monkeypatch.setattr(conditions, "PEOPLE_MAX", people_max)  # 0: too many fit, every row is asked
    read = Read(log.pool, cursor_key=KEY, now=lambda: NOON)
    one = someone(workspace="w-1")
    for asked, seen, seen_by_all in (
        ([("user", "lovelace")], [], [0, 1, 2]),
        ([("user", "secret.example")], [], [0, 1, 2]),
        ([("user", "ada")], [], [0, 1, 2]),
        ([("q", "ada")], [], [0, 1, 2]),
        ([("user", "l")], [], [0, 1, 2]),
        ([("q", "-user:lovelace")], [1, 2], []),
        ([("user", "countess")], [2], [0, 1, 2]),
        ([("user", "u-1")], [1, 2], [0, 1, 2]),
    ):
        query = parse([*asked, ("order", "oldest")], now=NOON)
        assert [e["position"] for e in (await read.search(one, query)).events] == seen, asked
        assert (await read.count(one, query, exact=True))["count"] == len(seen), asked
        assert (await read.count(one, query))["count"] == len(seen), asked
        shown = (await read.facets(one, query))["facets"]["workspace"]
        assert sum(value["count"] for value in shown) == len(seen), asked
        assert sum(b["success"] + b["other"] for b in (await read.histogram(one, query))["buckets"]) == len(
            seen
        )
        assert [e["position"] for e in (await read.search(someone(), query)).events] == seen_by_all, asked
