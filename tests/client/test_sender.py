"""The sender: whatever a server or a network answers, no event is lost, none is given up in error."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tallystick
from tallystick.client import sender as sending
from tallystick.client.lease import Lease
from tallystick.client.sender import BACK_OFF_SECONDS_MAX, Sender
from tallystick.client.spool import Spool
from tallystick.client.spool_contents import dead_letters
from tallystick.client.transport import Later, Settled, Transport

from .fake import Fake, problem

ADA = tallystick.User("usr_1")
MakeAudit = Callable[..., tallystick.Audit]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off in milliseconds."""
    monkeypatch.setattr(sending, "BACK_OFF_SECONDS_MIN", 0.01)
    monkeypatch.setattr(sending, "BACK_OFF_SECONDS_MAX", 0.05)


@pytest.fixture
def audit(make_audit: MakeAudit, fake: Fake, quick: None) -> tallystick.Audit:
    return make_audit(url=fake.url, api_key="k", profile="fast")


def ids_of(audit: tallystick.Audit, number: int) -> list[str]:
    return [audit.record("x.y", actor=ADA).id for _ in range(number)]


def html(status: int) -> Any:
    return status, {"Content-Type": "text/html"}, b"<h1>It works!</h1>"


@pytest.mark.parametrize(
    "answer",
    [
        problem(503, "try_later"), problem(429, "attempts"), problem(401, "unauthorized"), problem(403, "forbidden"),
        problem(500, "error"), html(400), html(404), html(413), html(200), html(302), html(502),
        (200, {}, b'{"results": []}'), (200, {}, b'{"results": [{"status": "created"}, {"status": "created"}]}'),
        (200, {}, b'{"results": [{"status": "some_new_word"}]}'),
        (200, {}, b'{"results": [{"status": "rejected", "error": {"rule": "r", "message": "m", "retry": true}}]}'),
    ],
)  # fmt: skip
def test_anything_but_a_clear_answer_is_tried_again(audit: tallystick.Audit, fake: Fake, answer: Any) -> None:
    """A proxy's error page or a revoked key must cost time, never an event."""
    fake.script = lambda events: answer if len(fake.calls) < 4 else None
    id = audit.record("x.y", actor=ADA).id
    assert audit.flush(10)
    assert list(fake.stored) == [id]
    assert (audit.stats().dead, audit.stats().sent) == (0, 1)
    assert len(fake.calls) >= 4


def test_a_broken_connection_is_tried_again_with_the_same_id(audit: tallystick.Audit, fake: Fake) -> None:
    """When the answer is lost after the commit, the event must be in the log once."""
    stored = fake.answer

    def lost(events: list[dict[str, Any]]) -> Any:
        fake.script = lambda events: None
        stored("/v1/events:batch", json.dumps(events).encode())
        raise ConnectionAbortedError  # the handler dies, and with it the connection

    fake.script = lost
    id = audit.record("x.y", actor=ADA).id
    assert audit.flush(10)
    assert list(fake.stored) == [id]
    assert audit.stats().duplicates == 1


def test_the_good_events_of_a_batch_pass(audit: tallystick.Audit, fake: Fake, caplog: Any) -> None:
    """One bad event must neither stop the others nor be sent for ever; and somebody must hear of it."""

    def reject_one(events: list[dict[str, Any]]) -> Any:
        results: list[dict[str, Any]] = []
        for event in events:
            if event["action"] == "bad.one":
                results.append(
                    {"status": "rejected", "error": {"rule": "conflict", "message": "used before"}}
                )
            else:
                fake.stored[event["id"]] = event
                results.append({"status": "created"})
        return 200, {}, json.dumps({"results": results}).encode()

    fake.script = reject_one
    with caplog.at_level(logging.ERROR, logger="tallystick"):
        good = ids_of(audit, 3)
        bad = audit.record("bad.one", actor=ADA).id
        good += ids_of(audit, 3)
        assert audit.flush(10)
    assert [id for id, event in fake.stored.items() if event["action"] == "x.y"] == good
    letters = dead_letters(audit.recording.delivery.spool)
    assert [(letter.id, letter.rule) for letter in letters] == [(bad, "conflict")]
    assert any(bad in record.getMessage() for record in caplog.records)


def test_a_batch_that_is_refused_is_halved(audit: tallystick.Audit, fake: Fake) -> None:
    """When a server takes no batch of this size, or one event spoils it, only that event may stay behind."""

    def picky(events: list[dict[str, Any]]) -> Any:
        if len(events) > 4 or any(event["action"] == "poison" for event in events):
            return problem(413 if len(events) > 4 else 400, "too_large")
        return None

    fake.script = picky
    before = ids_of(audit, 10)
    poison = audit.record("poison", actor=ADA).id
    after = ids_of(audit, 10)
    assert audit.flush(10)
    told = [event["id"] for event in fake.stored.values() if event["action"] == "audit.dead_letter"]
    assert sorted(fake.stored) == sorted(before + after + told)
    assert len(told) == 1
    assert [letter.id for letter in dead_letters(audit.recording.delivery.spool)] == [poison]


def test_batches_are_bounded(audit: tallystick.Audit, fake: Fake) -> None:
    """A batch over 500 events or a megabyte is refused by servers and proxies."""
    for _ in range(1_100):
        audit.record("x.y", actor=ADA)
    for _ in range(8):
        audit.record("x.big", actor=ADA, after={"text": "x" * 200_000})
    assert audit.flush(20)
    assert len(fake.stored) == 1_108
    for _, events in fake.calls:
        assert len(events) <= 500
        assert len(events) == 1 or len(json.dumps(events)) < 1_100_000


def test_retry_after_is_honoured(make_audit: MakeAudit, fake: Fake, quick: None) -> None:
    """A server that asks for a pause and gets none cannot recover."""
    audit = make_audit(url=fake.url, profile="fast")
    status, headers, body = problem(503, "try_later")
    fake.script = lambda events: (
        (status, {**headers, "Retry-After": "1"}, body) if len(fake.calls) == 1 else None
    )
    audit.record("x.y", actor=ADA)
    deadline = time.monotonic() + 10
    while not fake.stored and time.monotonic() < deadline:
        time.sleep(0.02)
    assert fake.calls[1][0] - fake.calls[0][0] >= 1.0


def test_back_off_doubles_with_jitter_up_to_a_limit() -> None:
    """A thousand producers that retry in step would keep a server down."""
    most = Sender(None, None, None, gap_event=None, chance=lambda: 1.0)  # type: ignore[arg-type]
    least = Sender(None, None, None, gap_event=None, chance=lambda: 0.0)  # type: ignore[arg-type]
    longest = [most._back_off(Later("x")) for _ in range(12)]
    assert longest[:4] == [1.0, 2.0, 4.0, 8.0]
    assert longest[-1] == BACK_OFF_SECONDS_MAX
    assert [least._back_off(Later("x")) for _ in range(12)] == [wait / 2 for wait in longest]
    assert most._back_off(Later("x", 300.0)) == 300.0


def test_trouble_is_told_once(audit: tallystick.Audit, fake: Fake, caplog: Any) -> None:
    """A warning for each attempt of a long outage hides everything else in a log."""
    fake.script = lambda events: problem(503, "try_later") if len(fake.calls) < 12 else None
    with caplog.at_level(logging.INFO, logger="tallystick"):
        audit.record("x.y", actor=ADA)
        assert audit.flush(10)
        time.sleep(0.05)
    words = [record.getMessage() for record in caplog.records]
    assert sum("cannot send" in word for word in words) == 1
    assert sum("sending again" in word for word in words) == 1


def test_what_the_disk_forgets_is_not_sent_twice(
    audit: tallystick.Audit, fake: Fake, monkeypatch: Any
) -> None:
    """When the rows of a committed batch cannot be deleted, the next ones must still be sent."""
    spool = audit.recording.delivery.spool
    settle, failures = spool.settle, iter(range(3))

    def failing(*args: Any, **more: Any) -> None:
        if next(failures, None) is not None:
            raise sqlite3.OperationalError("disk I/O error")
        settle(*args, **more)

    monkeypatch.setattr(spool, "settle", failing)
    ids = ids_of(audit, 5)
    assert audit.flush(10)
    more = ids_of(audit, 5)
    assert audit.flush(10)
    sent = [event["id"] for _, events in fake.calls for event in events]
    assert sent == ids + more


def test_without_a_server_nothing_is_lost(
    make_audit: MakeAudit, fake: Fake, tmp_path: Path, caplog: Any
) -> None:
    """An application that starts before its audit log is configured must not crash and must say where events are."""
    with caplog.at_level(logging.WARNING, logger="tallystick"):
        audit = make_audit(url=None, api_key=None)
    assert "TALLYSTICK_URL" in caplog.text
    assert audit.record("x.y", actor=ADA).durable
    assert audit.flush(0.1) is False


def test_a_late_answer_is_not_an_answer(fake: Fake) -> None:
    """A server that hangs must cost a time-out and not the sender."""
    fake.script = lambda events: time.sleep(1.0)
    transport = Transport(fake.url, "k", timeout_seconds=0.1)
    outcome = transport.send_one("a", b'{"id": "a"}')
    assert isinstance(outcome, Later)
    transport.close()


def test_retry_after_as_a_date(fake: Fake) -> None:
    """Proxies write dates; a clock that differs from ours must not make the wait hours long."""
    date = {"Date": "Wed, 01 Jan 2020 00:00:00 GMT", "Retry-After": "Wed, 01 Jan 2020 00:00:07 GMT"}
    fake.script = lambda events: (503, date, b"")
    transport = Transport(fake.url, "k")
    outcome = transport.send_one("a", b'{"id": "a"}')
    transport.close()
    assert isinstance(outcome, Later)
    assert outcome.after_seconds == 7.0


class _NoServer:
    """Nobody answers until `until`, seconds on the virtual clock."""

    def __init__(self, clock: list[float], until: float) -> None:
        self.clock, self.until, self.attempts, self.stored = clock, until, 0, []

    def send(self, rows: Any) -> Any:
        self.attempts += 1
        if self.clock[0] < self.until:
            return Later("no answer")
        self.stored += [row.id for row in rows]
        return Settled(list(rows), [], [], 0)


def test_a_day_without_a_server(tmp_path: Path) -> None:
    """After 24 hours of outage everything must arrive within minutes, and the outage must not have been a flood."""
    clock = [0.0]
    day = 24 * 3600.0
    server = _NoServer(clock, day)
    spool = Spool(
        tmp_path / "day.spool",
        synchronous="NORMAL",
        bytes_max=2**26,
        now_ms=lambda: int(clock[0] * 1000),
        new_id=str,
    )
    sender = Sender(
        spool,
        Lease(None),
        lambda: server,
        gap_event=lambda gap: b"{}",
        linger_seconds=0.0,
        monotonic=lambda: clock[0],
    )  # type: ignore[arg-type,return-value]
    recorded = 0
    while spool.waits() or recorded < 1_440:
        while recorded < 1_440 and recorded * 60.0 <= clock[0]:
            spool.put(f"{recorded}", b"{}")
            recorded += 1
        clock[0] += sender.step() or 0.01
        assert clock[0] < day + 300
    assert server.stored == [f"{n}" for n in range(1_440)]
    assert 1_000 < server.attempts < 4_000
