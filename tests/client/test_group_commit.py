"""Threads that record together share a commit: nobody is told too early, nobody is forgotten, nobody waits for himself."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tallystick.client.spool import Spool, Ticket
from tallystick.errors import SpoolFull

WAIT_SECONDS = 60


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    numbers = count()
    made = Spool(
        tmp_path / "x.spool", bytes_max=2**26, when_full="raise", now_ms=lambda: 1, new_id=lambda: f"{next(numbers):036d}"
    )  # fmt: skip
    yield made
    made.close()


def finish(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert not [thread for thread in threads if thread.is_alive()], "somebody waits for ever"


def test_nobody_is_told_too_early(spool: Spool, tmp_path: Path) -> None:
    """An event must be in the file when the call returns that recorded it, whoever committed it."""
    too_early: list[str] = []

    def work(me: int) -> None:
        with sqlite3.connect(tmp_path / "x.spool", timeout=WAIT_SECONDS) as own:
            for n in range(12):
                id = f"{me}-{n}"
                assert spool.put(id, b"{}") is True
                if own.execute("SELECT 1 FROM waiting WHERE id = ?", (id,)).fetchone() is None:
                    too_early.append(id)
        own.close()

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(16)]
    for thread in threads:
        thread.start()
    finish(threads)
    assert too_early == []
    assert spool.file.connection.execute("SELECT count(DISTINCT id), count(*) FROM waiting").fetchone() == (
        192,
        192,
    )


def held_up(spool: Spool, number: int) -> list[threading.Thread]:
    """Have threads record that cannot go on, because whoever calls this has the lock."""
    threads = [threading.Thread(target=spool.put, args=(f"w{n}", b"{}"), daemon=True) for n in range(number)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + WAIT_SECONDS
    while len(spool._pending) < number and time.monotonic() < end:
        time.sleep(0.001)
    return threads


def test_a_signal_handler_in_the_thread_that_has_the_lock(spool: Spool) -> None:
    """It must record at once: whoever leads waits for the very lock that its thread has."""
    with spool.lock:
        threads = held_up(spool, 3)
        assert spool.put("from a handler", b"{}") is True
        assert not spool._pending
    finish(threads)
    assert spool.file.connection.execute("SELECT count(*) FROM waiting").fetchone()[0] == 4


def test_everybody_hears_of_a_failure(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written must be refused to each who waited for it, and taken from the next."""
    errors: list[Exception] = []

    def work(n: int) -> None:
        try:
            spool.put(f"w{n}", b"{}")
        except SpoolFull as error:
            errors.append(error)

    with monkeypatch.context() as broken:

        def fails(*given: object) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        with spool.lock:
            threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(5)]
            for thread in threads:
                thread.start()
            end = time.monotonic() + WAIT_SECONDS
            while len(spool._pending) < 5 and time.monotonic() < end:
                time.sleep(0.001)
            broken.setattr(spool.file, "transaction", fails)
            broken.setattr(spool, "_insert", fails)
            broken.setattr(spool, "lose", lambda reason, number: None)
        finish(threads)
    assert len(errors) == 5
    assert spool.put("after", b"{}") is True


def test_whoever_comes_last_is_not_forgotten(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the last look of a leader and its end somebody may fall asleep; somebody must wake him."""
    asleep = threading.Event()
    late = threading.Thread(target=spool.put, args=("late", b"{}"), daemon=True)
    wait, lead = Ticket.wait, spool._lead

    def waits(ticket: Ticket) -> None:
        asleep.set()
        wait(ticket)

    def leads() -> None:
        lead()
        if not late.is_alive() and not asleep.is_set():
            late.start()
            assert asleep.wait(WAIT_SECONDS)

    monkeypatch.setattr(Ticket, "wait", waits)
    monkeypatch.setattr(spool, "_lead", leads)
    with spool.lock:
        threads = held_up(spool, 1)
    finish([*threads, late])
    assert spool.file.connection.execute("SELECT count(*) FROM waiting").fetchone()[0] == 2
