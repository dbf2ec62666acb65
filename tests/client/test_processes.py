"""Forks, threads, greenlets, several processes on one file, and the end of each of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import tallystick
from tallystick.client.delivery import Delivery

from .fake import Fake

ADA = tallystick.User("usr_1")
MakeAudit = Callable[..., tallystick.Audit]
BEGIN = """
import os, sys, threading, time
import tallystick
from tallystick import Audit, User
ADA = User("usr_1")
"""


def program(body: str, fake: Fake, spool: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a Python program that begins with the SDK imported and configured."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    chosen = {
        "TALLYSTICK_URL": fake.url,
        "TALLYSTICK_API_KEY": "k",
        "TALLYSTICK_SPOOL": str(spool),
        "TALLYSTICK_PROFILE": "fast",
    }
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN + textwrap.dedent(body)], env={**clean, **chosen, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(body: str, fake: Fake, spool: Path, **environment: str) -> str:
    """Run such a program to its end and return what it printed."""
    process = program(body, fake, spool, **environment)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


@contextmanager
def eventually(seconds: float = 15.0) -> Iterator[Callable[[bool], bool]]:
    """Give a function that says whether to look once more."""
    deadline = time.monotonic() + seconds
    yield lambda ready: not ready and time.monotonic() < deadline and not time.sleep(0.02)


def wait_for(number: int, fake: Fake) -> None:
    with eventually() as again:
        while again(len(fake.stored) >= number):
            pass
    assert len(fake.stored) == number


def test_the_end_of_a_process_sends_what_waits(fake: Fake, tmp_path: Path) -> None:
    """A script that records and ends at once must not leave its events behind when the server is there."""
    run("Audit().record('script.ran', actor=ADA)", fake, tmp_path)
    run("Audit(profile='memory').record('script.ran', actor=ADA)", fake, tmp_path)
    assert [event["action"] for event in fake.stored.values()] == ["script.ran"] * 2


def test_what_is_left_is_sent_by_the_next_process(fake: Fake, tmp_path: Path) -> None:
    """Events recorded during an outage must be sent by whoever starts after it."""
    honest, fake.script = fake.script, lambda events: (503, {}, b"")
    run("for n in range(5): Audit(exit_seconds=0.1).record('a.b', actor=ADA)", fake, tmp_path)
    assert not fake.stored
    fake.script = honest
    run("Audit().flush(10)", fake, tmp_path)
    assert len(fake.stored) == 5


def test_a_child_of_a_fork_records_for_itself(make_audit: MakeAudit, fake: Fake) -> None:
    """A child that used its parent's connection would corrupt the spool of both."""
    audit = make_audit(url=fake.url, profile="fast")
    audit.record("parent.before", actor=ADA)
    stop = threading.Event()

    def keep_recording() -> None:
        while not stop.is_set():
            audit.record("parent.thread", actor=ADA)

    threads = [threading.Thread(target=keep_recording) for _ in range(3)]
    for thread in threads:
        thread.start()
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for _ in range(5):
                    audit.record("child.act", actor=ADA)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    stop.set()
    for thread in threads:
        thread.join()
    audit.record("parent.after", actor=ADA)
    assert audit.flush(20)
    actions = [event["action"] for event in fake.stored.values()]
    assert actions.count("child.act") == 40
    assert actions.count("parent.before") == actions.count("parent.after") == 1


def _pool_task(arguments: tuple[str, str, int]) -> int:
    url, spool, number = arguments
    audit = tallystick.Audit(url=url, spool=spool, profile="fast", linger_seconds=0.01)
    audit.record("pool.task", actor=ADA, metadata={"number": number})
    return number


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_pools(fake: Fake, tmp_path: Path, method: Any) -> None:
    """Workers end without running exit handlers; their events must be on disk by then."""
    with multiprocessing.get_context(method).Pool(2) as pool:
        pool.map(_pool_task, [(fake.url, str(tmp_path), n) for n in range(6)])
    collector = tallystick.Audit(url=fake.url, spool=tmp_path, profile="fast", linger_seconds=0.01)
    assert collector.flush(15)
    collector.close()
    assert sorted(event["metadata"]["number"] for event in fake.stored.values()) == list(range(6))


def test_two_processes_share_a_spool_and_one_sends(fake: Fake, tmp_path: Path) -> None:
    """Two senders on one file would send everything twice; and when the sending one dies, the other must go on."""
    body = """
    audit = Audit(linger_seconds=0.01)
    for n in range(30):
        audit.record('shared.act', actor=ADA)
    print('done', flush=True)
    sys.stdin.read()
    """
    first = program(body, fake, tmp_path)
    assert first.stdout is not None
    assert first.stdout.readline() == "done\n"
    wait_for(30, fake)
    second = program(body, fake, tmp_path)
    assert second.stdout is not None
    assert second.stdout.readline() == "done\n"
    wait_for(60, fake)
    first.kill()
    first.wait()
    third = program(body, fake, tmp_path)
    wait_for(90, fake)
    for process in (second, third):
        process.kill()
        process.communicate()
    assert sum(len(events) for _, events in fake.calls) == 90


def test_killed_in_the_middle(fake: Fake, tmp_path: Path) -> None:
    """What record() has returned for must survive kill -9 in every profile that keeps a file."""
    body = """
    audit = Audit()
    while True:
        print(audit.record('x.y', actor=ADA).id, flush=True)
    """
    for profile in ("fast", "durable"):
        process = program(body, fake, tmp_path, TALLYSTICK_PROFILE=profile)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.15)
        process.kill()
        told = {line for line in process.communicate()[0].split() if len(line) == 36}
        run("Audit().flush(20)", fake, tmp_path)
        assert told <= fake.stored.keys()


def test_greenlets(fake: Fake, tmp_path: Path) -> None:
    """Under gevent a thread is a greenlet; neither recording nor sending may block the others for ever."""
    pytest.importorskip("gevent", reason="gevent is not installed")
    body = """
    from gevent import monkey; monkey.patch_all()
    import gevent
    audit = Audit(linger_seconds=0.01)
    gevent.joinall([gevent.spawn(lambda: [audit.record('green.act', actor=ADA) for _ in range(20)]) for _ in range(10)])
    assert audit.flush(10)
    """
    run(
        "import gevent.monkey; gevent.monkey.patch_all()\n" + textwrap.dedent(body),
        fake,
        tmp_path,
        TALLYSTICK_PROFILE="durable",
    )
    assert len(fake.stored) == 200


def test_a_signal_handler_records(fake: Fake, tmp_path: Path) -> None:
    """SIGTERM often comes while a request is being recorded; its own event must neither hang nor vanish."""
    body = """
    import signal
    audit = Audit(linger_seconds=0.01)
    def ended(number, frame):
        audit.record('service.stopped', actor=ADA)
        sys.exit(0)
    signal.signal(signal.SIGTERM, ended)
    print('ready', flush=True)
    while True:
        audit.record('service.act', actor=ADA)
    """
    for _ in range(3):
        process = program(body, fake, tmp_path)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
    run("Audit().flush(20)", fake, tmp_path)
    assert sum(event["action"] == "service.stopped" for event in fake.stored.values()) == 3


def test_a_file_system_that_cannot_be_written(fake: Fake, tmp_path: Path) -> None:
    """A function on a read-only disk must record all the same, and must be told what that means."""
    place = tmp_path / "file"
    place.write_text("not a folder")
    out = run(
        """
        import logging; logging.basicConfig(stream=sys.stdout)
        audit = Audit()
        receipt = audit.record('lambda.ran', actor=ADA)
        print(receipt.durable, audit.stats().profile)
        """, fake, place,
    )  # fmt: skip
    assert "False memory" in out
    assert out.count("kept in memory") == 1
    assert len(fake.stored) == 1


FULL_DISK = """
audit = Audit(when_full='raise', exit_seconds=0)
kept = lost = 0
for n in range(400):
    try:
        audit.record('x.y', actor=ADA, after={'text': str(n) * 1000})
        kept += 1
    except tallystick.SpoolFull:
        lost += 1
print(kept, lost, flush=True)
sys.stdin.readline()
print(audit.flush(20), audit.stats().lost)
"""


def test_a_full_disk(fake: Fake, tmp_path: Path) -> None:
    """On a full disk each event is either kept or counted, and the count reaches the log when there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True
    ).returncode:
        pytest.skip("this account may not mount a small file system")
    try:
        fake.script = lambda events: (503, {}, b"")
        process = program(FULL_DISK, fake, disk / "spool")
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        kept, lost = map(int, line.split())
        assert lost > 0
        assert kept > 50
        fake.script = lambda events: None
        out, err = process.communicate("\n", timeout=60)
        assert out == f"True {lost}\n", err
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
    gaps = [event["metadata"]["lost"] for event in fake.stored.values() if event["action"] == "audit.gap"]
    assert sum(gaps) == lost
    assert len(fake.stored) - len(gaps) == kept


def test_a_clock_that_jumps(make_audit: MakeAudit, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clocks are set back and forth; events must be sent all the same, in order, with ids of their own."""
    from datetime import UTC, datetime, timedelta

    from tallystick.client import recorder

    audit = make_audit(url=fake.url, profile="fast")
    ids = []
    for days in (0, -4_000, 9_000, -1, 0):
        moment = datetime.now(UTC) + timedelta(days=days)
        monkeypatch.setattr(audit.recording.recorder, "_now", lambda moment=moment: moment)
        ids += [audit.record("x.y", actor=ADA).id for _ in range(3)]
        assert audit.stats().oldest_age_seconds >= 0
    assert recorder.utc_now
    assert audit.flush(10)
    assert list(fake.stored) == ids
    assert len(set(ids)) == 15


def test_settings_share_one_delivery(make_audit: MakeAudit, fake: Fake) -> None:
    """Ten modules that each make an Audit must not be ten senders; two keys must never share a file."""
    one, same, other = (
        make_audit(url=fake.url, api_key=key, profile="fast") for key in ("k1", "k1", "k2")
    )  # fmt: skip
    held: list[Delivery] = [audit.recording.delivery for audit in (one, same, other)]
    assert held[0] is held[1]
    assert held[0].spool.file.path != held[2].spool.file.path
