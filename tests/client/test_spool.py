"""The spool: what `put` has accepted is there, whatever else happens; what it has not accepted is counted."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tallystick.client.spool import Spool, Ticket
from tallystick.client.spool_contents import counts, dead_letters, discard, revive
from tallystick.client.spool_file import Unusable
from tallystick.errors import SpoolFull

SMALL = 256 * 1024
_ids = itertools.count()


def spool_at(path: Path | None, **more: Any) -> Spool:
    chosen: dict[str, Any] = {"synchronous": "NORMAL", "bytes_max": 64 * 1024 * 1024, **more}
    return Spool(
        path, now_ms=lambda: time.time_ns() // 1_000_000, new_id=lambda: f"id-{next(_ids)}", **chosen
    )


def fill(spool: Spool, size: int = 4_000) -> int:
    """Put events until the policy speaks; returns how many were accepted."""
    for number in itertools.count():
        try:
            spool.put(f"fill-{number}", b"x" * size)
        except SpoolFull:
            return number
    raise AssertionError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a" / "test.spool"


@pytest.mark.parametrize("memory", [True, False])
def test_order_and_batches(path: Path, memory: bool) -> None:
    """Events of one thread must be sent in the order they were recorded, and no batch may be over its size."""
    spool = spool_at(None if memory else path)
    for number in range(20):
        spool.put(f"{number}", b"%d" % number * 10)
    assert [row.id for row in spool.batch(5, 10_000)] == ["0", "1", "2", "3", "4"]
    assert [row.id for row in spool.batch(500, 25)] == ["0", "1"]
    assert [row.id for row in spool.batch(500, 1)] == ["0"]
    assert [row.id for row in spool.batch(2, 10_000, without={"0", "2"})] == ["1", "3"]
    rows = spool.batch(20, 10_000)
    spool.settle(rows[:7], [(rows[7], "rule", "why")], duplicates=2)
    found = counts(spool)
    assert (found.queued, found.dead, found.sent, found.duplicates) == (12, 1, 7, 2)
    assert spool.has_at_least(12, 10**9)
    assert not spool.has_at_least(13, 10**9)


def test_threads_share_a_commit(path: Path) -> None:
    """With one fsync for each event, sixteen threads would be as slow as one."""
    spool = spool_at(path, synchronous="FULL")
    commits = []
    spool.file.connection.set_trace_callback(
        lambda sql: commits.append(sql) if sql.startswith(("BEGIN", "INSERT")) else None
    )

    def record(thread: int) -> None:
        for number in range(30):
            assert spool.put(f"{thread}-{number}", b"x") is True

    threads = [threading.Thread(target=record, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spool.file.connection.set_trace_callback(None)
    begins = sum(sql.startswith("BEGIN") for sql in commits)
    assert counts(spool).queued == 480
    assert 0 < begins < 240
    for thread in range(16):  # and each thread's own order is kept
        own = [row.id for row in spool.batch(500, 10**9) if row.id.startswith(f"{thread}-")]
        assert own == [f"{thread}-{n}" for n in range(30)]


def test_a_signal_handler_may_record_during_a_commit(path: Path) -> None:
    """A handler that recorded while its own thread was committing would hang the process for ever."""
    spool = spool_at(path)
    inner: list[bool] = []

    def interrupted(sql: str) -> None:
        if sql.startswith("INSERT") and not inner:
            inner.append(spool.put("inner", b"i"))

    spool.file.connection.set_trace_callback(interrupted)
    assert spool.put("outer", b"o") is True
    spool.file.connection.set_trace_callback(None)
    assert inner == [False]
    spool.commit_pending()
    assert {row.id for row in spool.batch(9, 9_999)} == {"inner", "outer"}


def test_tickets_are_told(path: Path) -> None:
    """An event loop that waits must hear of success and of failure, once each."""
    spool = spool_at(path, bytes_max=SMALL, when_full="raise")
    told: list[Exception | None] = []
    spool.enqueue(Ticket("a", b"x", told.append))
    spool.commit_pending()
    assert told == [None]
    fill(spool)
    spool.enqueue(Ticket("b", b"x" * 9_000, told.append))
    spool.commit_pending()
    assert isinstance(told[1], Exception)
    assert len(told) == 2


# Bounds


def test_raise_says_so_and_counts(path: Path) -> None:
    """At its limit the spool must refuse loudly, and the log must learn how many events are missing."""
    spool = spool_at(path, bytes_max=SMALL, when_full="raise")
    accepted = fill(spool)
    with pytest.raises(SpoolFull):
        spool.put("more", b"x" * 4_000)
    found = counts(spool)
    assert (found.queued, found.lost) == (accepted, 2)
    assert path.stat().st_size <= SMALL + 256 * 1024
    gaps: list[Any] = []
    assert spool.record_gaps(lambda gap: gaps.append(gap) or b"{}") == 1
    assert (gaps[0].reason, gaps[0].lost) == ("spool_full", 2)
    assert counts(spool).queued == accepted + 1


def test_block_waits_for_room_and_gives_up_in_time(path: Path) -> None:
    """Blocking must end when the sender makes room, and must end anyway."""
    spool = spool_at(path, bytes_max=SMALL, when_full="block", block_seconds=0.2)
    accepted = fill(spool)
    waited: list[float] = []
    spool._block_seconds = 30.0
    thread = threading.Timer(0.3, lambda: spool.settle(spool.batch(30, 10**9)))
    thread.start()
    began = time.monotonic()
    assert spool.put("after", b"x" * 4_000)
    waited.append(time.monotonic() - began)
    thread.join()
    assert 0.2 < waited[0] < 5
    assert counts(spool).queued == accepted - 30 + 1
    assert counts(spool).lost == 1


def test_drop_oldest_counts_and_spares_what_is_being_sent(path: Path) -> None:
    """What is dropped must be counted, and what may be in the log already must not count as lost."""
    spool = spool_at(path, bytes_max=SMALL, when_full="drop_oldest")
    for number in range(10):
        spool.put(f"first-{number}", b"x" * 4_000)
    in_flight = spool.batch(10, 10**9)
    for number in range(300):
        spool.put(f"{number}", b"x" * 4_000)
    found = counts(spool)
    assert found.lost > 0
    assert found.queued + found.lost == 310
    waiting = [row.id for row in spool.batch(500, 10**9)]
    assert waiting[:10] == [row.id for row in in_flight]
    assert waiting[-1] == "299"


def test_a_count_survives_the_process(path: Path) -> None:
    """A loss known only to a process that then dies would be silent."""
    spool = spool_at(path, bytes_max=SMALL, when_full="raise")
    fill(spool)
    spool.close()
    again = spool_at(path, bytes_max=SMALL)
    assert counts(again).lost == 1
    assert again.waits()
    assert again.record_gaps(lambda gap: b"{}") == 1


def test_a_damaged_file_is_put_aside_and_told(path: Path) -> None:
    """A spool that cannot be read must stop neither the application nor the news that something is gone."""
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 1_000)
    spool = spool_at(path)
    spool.put("a", b"x")
    gaps: list[Any] = []
    spool.record_gaps(lambda gap: gaps.append(gap) or b"{}")
    assert [(gap.reason, gap.lost) for gap in gaps] == [("spool_damaged", 0)]
    assert [p.name.startswith("test.spool.damaged-") for p in path.parent.iterdir()].count(True) == 1
    spool.record_gaps(lambda gap: gaps.append(gap) or b"{}")
    assert len(gaps) == 1


@pytest.mark.parametrize("place", ["/proc/no/such.spool", "/dev/null/x.spool"])
def test_no_place_for_a_spool(place: str) -> None:
    """Where there can be no file, that must be known at once and not with the first event."""
    with pytest.raises(Unusable):
        spool_at(Path(place))


def test_dead_letters_can_be_revived_and_given_up(path: Path) -> None:
    """What the server refused must be there for a human, and giving it up is a loss that is counted."""
    spool = spool_at(path)
    for name in ("a", "b", "c"):
        spool.put(name, name.encode())
    rows = spool.batch(3, 999)
    spool.settle([], [(row, "invalid_field", "no such thing") for row in rows])
    assert [(letter.id, letter.rule) for letter in dead_letters(spool)] == [
        (name, "invalid_field") for name in "abc"
    ]  # fmt: skip
    assert revive(spool, ["a"]) == 1
    assert discard(spool, ["b", "nobody"]) == 1
    found = counts(spool)
    assert (found.queued, found.dead, found.lost) == (1, 1, 1)


def test_a_seq_used_again_deletes_nobody_else(path: Path) -> None:
    """SQLite gives a number out again when its row is gone; settling late must not delete the new row."""
    spool = spool_at(path)
    spool.put("old", b"o")
    old = spool.batch(1, 99)
    spool.settle(old)
    spool.put("new", b"n")
    spool.settle(old)
    assert [row.id for row in spool.batch(1, 99)] == ["new"]


def test_dropping_the_news_of_a_loss_forgets_no_loss(path: Path) -> None:
    """An event that tells of a hundred lost ones must not be dropped as if it were one."""
    spool = spool_at(path, bytes_max=SMALL, when_full="drop_oldest")
    told: dict[str, int] = {}

    def tell(gap: Any) -> bytes:
        told[gap.id] = gap.lost
        return b"x" * 300

    for number in range(1_500):
        spool.put(f"{number}", b"x" * 4_000)
        if number % 100 == 99:
            spool.record_gaps(tell)
    spool.record_gaps(tell)
    waiting = [row.id for row in spool.batch(10_000, 10**9)]
    events = [id for id in waiting if id not in told]
    assert len(events) + sum(told[id] for id in waiting if id in told) == 1_500
    assert counts(spool).lost == 1_500 - len(events)
