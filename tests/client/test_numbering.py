"""The numbers that a producer gives its events: dense for what was kept, and none without an account."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import tallystick
from server import Server
from tallystick.client import sender as sending
from tallystick.client import spool_numbers
from tallystick.client.delivery import gap_event_of
from tallystick.client.drain import drain
from tallystick.client.recorder import Recorder
from tallystick.client.settings import settings
from tallystick.client.spool import Spool
from tallystick.client.spool_contents import dead_letters, discard, revive
from tallystick.errors import Misconfigured
from tallystick.event.leaf import LeafProducer, LeafSpan
from tallystick.event.limits import UNSENT_MAX
from tallystick.event.numbering import Numbering
from tallystick.event.redact import Redaction

from .fake import Fake

ADA = tallystick.User("usr_1")
MakeAudit = Callable[..., tallystick.Audit]
EVENT = b'{"action":"x.y"}'
RECORDER = Recorder(Redaction(key=b"k" * 32))


def spool_at(path: Path | None, **more: Any) -> Spool:
    chosen: dict[str, Any] = {"synchronous": "FULL", "bytes_max": 2**26, "producer_default": "p-1"}
    return Spool(path, now_ms=lambda: 1_000, new_id=RECORDER.new_id, **{**chosen, **more})


def numbers(spool: Spool) -> list[dict[str, Any]]:
    """Return the number of each event that waits, as it would be sent."""
    return [json.loads(row.event)["producer"] for row in spool.batch(10_000, 10**9)]


def tell(spool: Spool) -> None:
    spool.record_gaps(gap_event_of(RECORDER))


def account(sent: list[dict[str, Any]]) -> Numbering:
    """Return what a server would make of the numbers it was sent."""
    found = Numbering()
    for one in sent:
        spans = tuple(LeafSpan(**span) for span in one.get("unsent", ()))
        found.take(LeafProducer(epoch=one["epoch"], id=one["id"], sequence=one["sequence"], unsent=spans))
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "test.spool"


def test_numbers_are_dense_and_outlive_the_process(path: Path) -> None:
    """A number left out by the SDK itself would be a gap that is none."""
    spool = spool_at(path)
    for number in range(3):
        spool.put(f"{number}", EVENT)
    rows = spool.batch(2, 999)
    spool.settle(rows)
    spool.close()
    again = spool_at(path)
    again.put("3", b'{"id":"3"}')
    found = numbers(again)
    assert [(one["id"], one["sequence"]) for one in found] == [("p-1", 3), ("p-1", 4)]
    assert found[0]["epoch"] == json.loads(rows[0].event)["producer"]["epoch"]


def test_threads_and_processes_share_the_count(path: Path) -> None:
    """Two writers of one spool must never give out the same number, nor leave one out between them."""
    spool_at(path).close()
    program = (
        "import sys; sys.path.insert(0, sys.argv[2]); from client.test_numbering import *\n"
        "s = spool_at(Path(sys.argv[1]))\n"
        "[s.put(f'{os.getpid()}-{n}', EVENT) for n in range(100)]"
    )
    root = str(Path(__file__).parents[1])
    others = [subprocess.Popen([sys.executable, "-c", program, str(path), root]) for _ in range(2)]
    spool = spool_at(path)
    threads = [
        threading.Thread(target=lambda at=at: [spool.put(f"t{at}-{n}", EVENT) for n in range(50)])
        for at in range(3)
    ]
    for thread in threads:
        thread.start()
    spool.before_fork()
    child = os.fork()
    if child == 0:
        spool.after_fork_in_child()
        for number in range(50):
            spool.put(f"child-{number}", EVENT)
        os._exit(0)
    spool.after_fork_in_parent()
    for thread in threads:
        thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert [other.wait() for other in others] == [0, 0]
    assert sorted(one["sequence"] for one in numbers(spool)) == list(range(1, 401))
    assert len({one["epoch"] for one in numbers(spool)}) == 1


def test_what_is_not_kept_takes_no_number(path: Path) -> None:
    """An event that the spool refused was never submitted; its number must go to the next one."""
    spool = spool_at(path)
    spool.put("a", EVENT)
    rows = [("lost", 1, EVENT), (None, 1, EVENT)]
    with pytest.raises(sqlite3.IntegrityError), spool.file.transaction() as connection:
        connection.executemany("INSERT INTO waiting (id, at, event) VALUES (?, ?, ?)", rows)
    spool.put("b", EVENT)
    assert [one["sequence"] for one in numbers(spool)] == [1, 2]


def test_dropped_events_are_accounted_for(path: Path) -> None:
    """What makes room for newer events must be told by number, the news of earlier losses included."""
    spool = spool_at(path, bytes_max=256 * 1024, when_full="drop_oldest")
    for number in range(1_500):
        spool.put(f"{number}", b'{"text":"' + b"x" * 4_000 + b'"}')
        if number % 100 == 99:
            tell(spool)
    tell(spool)
    found = account(numbers(spool))
    assert found.missing_count == 0
    assert found.unsent.count() > 1_000
    assert found.conflicts == 0


def test_dead_letters_are_told_once_and_keep_their_number(path: Path) -> None:
    """The server never sees what it refused: without an account every dead letter would be a gap."""
    spool = spool_at(path)
    for name in "abcd":
        spool.put(name, EVENT)
    rows = spool.batch(3, 999)
    spool.settle([rows[0]], [(row, "invalid_field", "no") for row in rows[1:]])
    tell(spool)
    sent = numbers(spool)
    assert [one["sequence"] for one in sent] == [4, 5]
    assert sent[1]["unsent"] == [{"first": 2, "last": 3}]
    told = spool.batch(9, 999)[1]
    assert json.loads(told.event)["action"] == "audit.dead_letter"
    assert json.loads(told.event)["metadata"] | {"from": 0, "to": 0} == {
        "reason": "refused", "events": 2, "from": 0, "to": 0,
    }  # fmt: skip
    spool.settle([], [(told, "workspace", "no")])
    tell(spool)
    assert [one["sequence"] for one in numbers(spool)] == [4], (
        "the news of a refused piece of news has no end"
    )
    assert revive(spool, ["b"]) == 1
    assert [one["sequence"] for one in numbers(spool)] == [2, 4]
    assert discard(spool, ["c"]) == 1
    tell(spool)
    assert numbers(spool)[-1] | {"epoch": ""} == {
        "id": "p-1", "epoch": "", "sequence": 6, "unsent": [{"first": 3, "last": 3}],
    }  # fmt: skip
    assert len(dead_letters(spool)) == 1


def test_more_ranges_than_one_event_can_tell(path: Path) -> None:
    """However scattered the numbers, each event about them stays within the limit, and none is left out."""
    spool = spool_at(path)
    for number in range(400):
        spool.put(f"{number}", EVENT)
    rows = spool.batch(500, 10**9)
    for half in (rows[:300], rows[300:]):
        spool.settle(
            [row for row in half if row.seq % 2], [(row, "r", "m") for row in half if not row.seq % 2]
        )
    tell(spool)
    told = numbers(spool)
    assert [len(one["unsent"]) for one in told] == [UNSENT_MAX, UNSENT_MAX, 150 - 2 * UNSENT_MAX, 50]
    assert sum(json.loads(row.event)["metadata"]["events"] for row in spool.batch(9, 10**9)) == 200
    found = account([{**told[0], "sequence": number, "unsent": []} for number in range(1, 400, 2)] + told)
    assert (found.missing_count, found.unsent.count()) == (0, 200)


def test_an_event_deleted_from_the_spool_is_missed(server: Server, path: Path) -> None:
    """Whoever takes events out of a spool with an editor must be found out, by their exact numbers."""
    spool = spool_at(path, producer="deleted-by-hand")
    for _ in range(10):
        id, raw = RECORDER.event("numbers.deleted", actor=ADA)
        spool.put(id, raw)
    spool.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as editor:
        editor.execute("DELETE FROM waiting WHERE seq BETWEEN 3 AND 5")
    drain(path, server.url, server.write_key, timeout_seconds=60, progress=lambda counts: None)
    deadline = time.monotonic() + 60
    with server.client() as client:
        while (found := client.get("/v1/producers/deleted-by-hand").json()).get("events") != 7:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert [(gap["first"], gap["last"], gap["kind"]) for gap in found["gaps"]] == [(3, 5, "missing")]
    assert found["summary"] == "producer deleted-by-hand: 3 events missing between 2 and 6"


def test_an_event_recorded_twice_gives_its_second_number_back(make_audit: MakeAudit, search: Any) -> None:
    """The log keeps one event for an id; the number of the other must not be taken for a loss."""
    audit = make_audit(profile="fast", producer="twice")
    when = RECORDER.now()
    id = RECORDER.new_id()
    for _ in range(2):
        audit.record("numbers.twice", id=id, actor=ADA, occurred_at=when)
        assert audit.flush(30)
    deadline = time.monotonic() + 30
    while not (told := [e for e in search(action="audit.repeated") if e["producer"]["id"] == "twice"]):
        assert audit.flush(30)
        assert time.monotonic() < deadline
    assert told[0]["producer"]["unsent"] == [{"first": 2, "last": 2}]
    assert len(search(action="numbers.twice")) == 1


def test_waiting_for_the_log_sends_the_number_too(make_audit: MakeAudit, logged: Any) -> None:
    """An event that overtakes the spool must not arrive without its number."""
    audit = make_audit(profile="fast", producer="waits", linger_seconds=5.0)
    first = audit.record("numbers.wait", actor=ADA)
    done = audit.record("numbers.wait", actor=ADA, wait=True)
    assert audit.flush(30)
    assert [logged(id)["producer"]["sequence"] for id in (first.id, done.id)] == [1, 2]


def test_a_lost_spool_is_a_new_epoch(path: Path) -> None:
    """Numbers that begin anew in the same epoch would be taken for events under another id."""
    spool = spool_at(path)
    spool.put("a", EVENT)
    (before,) = numbers(spool)
    spool.close()
    path.unlink()
    spool = spool_at(path)
    spool.put("b", EVENT)
    (after,) = numbers(spool)
    assert (after["id"], after["sequence"]) == (before["id"], 1)
    assert after["epoch"] != before["epoch"]


@pytest.mark.parametrize(("synchronous", "epochs"), [("FULL", 1), ("NORMAL", 2)])
def test_a_power_cut_ends_an_epoch_unless_every_number_was_synced(
    path: Path, monkeypatch: pytest.MonkeyPatch, synchronous: str, epochs: int
) -> None:
    """What was sent but not synced may be forgotten; its number must not be given to another event."""
    spool = spool_at(path, synchronous=synchronous)
    spool.put("a", EVENT)
    spool.close()
    again = spool_at(path, synchronous=synchronous)
    again.put("b", EVENT)
    again.close()
    boot = path.with_name("boot")
    boot.write_text("another run")
    monkeypatch.setattr(spool_numbers, "_BOOT", boot)
    spool = spool_at(path, synchronous=synchronous)
    spool.put("c", EVENT)
    found = numbers(spool)
    assert len({one["epoch"] for one in found}) == epochs
    assert [one["sequence"] for one in found] == [1, 2, 3 if epochs == 1 else 1]


def test_another_name_is_another_count(path: Path) -> None:
    """Numbers of two names in one file must not look like gaps of either."""
    spool = spool_at(path, producer="old")
    spool.put("a", EVENT)
    spool.close()
    spool = spool_at(path, producer="new")
    spool.put("b", EVENT)
    spool.close()
    spool = spool_at(path)
    assert [(one["id"], one["sequence"]) for one in numbers(spool)] == [("old", 1), ("new", 1)]
    assert (spool.standing().producer, spool.standing().last, spool.standing().waiting_from) == ("new", 1, 1)
    spool.settle(spool.batch(2, 999))
    assert spool.standing().waiting_from is None


@pytest.mark.parametrize("name", ["a b", "/", "p" * 129, "é"])
def test_a_name_that_no_event_may_carry(name: str) -> None:
    """A name that every event would be refused for must be told before the first one."""
    with pytest.raises(Misconfigured, match="TALLYSTICK_PRODUCER"):
        settings(environment={"TALLYSTICK_PRODUCER": name}, profile="memory")


def test_the_name_is_stable_and_tells_nothing() -> None:
    """The same spool must be the same producer after each start, and no machine's name may lie in the log."""
    first, again = (settings(url="http://x", spool="/tmp/a", environment={}) for _ in range(2))
    other = settings(url="http://x", spool="/tmp/b", environment={})
    assert first.producer_default == again.producer_default != other.producer_default
    assert os.uname().nodename not in first.producer_default


def test_the_server_is_told_how_far_the_numbers_go(
    make_audit: MakeAudit, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tail that is missing leaves no later number behind; and who goes must not be missed."""
    monkeypatch.setattr(sending, "_FIRST_BEAT_SECONDS", 0.0)
    audit = make_audit(url=fake.url, api_key="k", profile="fast", producer="beats", heartbeat_seconds=1.0)
    for _ in range(3):
        audit.record("x.y", actor=ADA)
    deadline = time.monotonic() + 30
    while not any(beat["waiting_from"] is None for _, beat in fake.beats):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    audit.close(5)
    path, last = fake.beats[-1]
    assert path == "/v1/producers/beats/heartbeat"
    assert (last["sequence"], last["waiting_from"], last["interval_seconds"]) == (3, None, 0.0)
    assert fake.beats[0][1]["interval_seconds"] == 1.0


def test_nothing_is_told_where_nobody_wants_it(
    make_audit: MakeAudit, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 seconds must mean never."""
    monkeypatch.setattr(sending, "_FIRST_BEAT_SECONDS", 0.0)
    audit = make_audit(url=fake.url, api_key="k", profile="fast", heartbeat_seconds=0)
    audit.record("x.y", actor=ADA)
    audit.close(10)
    assert fake.beats == []
    with pytest.raises(Misconfigured, match="heartbeat_seconds"):
        make_audit(url=fake.url, heartbeat_seconds=0.1)
