"""When something runs out or goes away: bounded memory, a clear answer, recovery by itself, and nothing lost."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from postgres import Database
from server import Server, Servers, event, events, start
from tallystick.store import embedded

MIB = 1 << 20


def postmaster(server: Server) -> int:
    """Return the process id of the embedded PostgreSQL of `server`."""
    return int((server.data / "postgres" / "cluster" / "postmaster.pid").read_text().split("\n")[0])


def database_processes(server: Server) -> list[int]:
    """Return the process ids of the embedded PostgreSQL of `server`, all of them."""
    return embedded.leftovers(server.data / "postgres" / "cluster")


def until_recorded(client: httpx2.Client, sent: dict[str, object], seconds: float = 60) -> float:
    """Send until it is acknowledged; every other answer must say that it is worth it. Returns the seconds it took."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        answer = client.post("/v1/events", json=sent)
        if answer.status_code in (200, 201):
            return time.monotonic() - began
        assert answer.status_code == 503, answer.text
        assert answer.headers["retry-after"].isdigit()
        time.sleep(0.1)
    pytest.fail(f"no recovery within {seconds} s: {answer.text}")


def test_database_that_stands_still(servers: Servers) -> None:
    """A database that hangs would hang every caller with it, or fail them without saying that a retry is safe."""
    server = servers.start()
    sent = [event() for _ in range(30)]
    with server.client(server.write_key) as client:
        assert client.post("/v1/events", json=sent[0]).status_code == 201
        stopped = database_processes(server)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(8) as threads:
                answers = list(threads.map(lambda one: client.post("/v1/events", json=one), sent[1:9]))
            assert time.monotonic() - began < 25
            assert {answer.status_code for answer in answers} == {503}
            assert all(answer.headers["retry-after"].isdigit() for answer in answers)
            assert client.get("/healthz").status_code == 200
            ready = client.get("/readyz")
            assert ready.status_code == 503
            assert [check["name"] for check in ready.json()["checks"] if not check["ok"]] != []
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        for one in sent:
            until_recorded(client, one)
        assert server.recorded() == len(sent)
        until_ready(client)


def until_ready(client: httpx2.Client, seconds: float = 60.0) -> None:
    """Wait until the server says that all is well: what it does in rounds says so after its next one."""
    deadline = time.monotonic() + seconds
    while (answer := client.get("/readyz")).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)


def _sent(found: list[dict[str, Any]]) -> list[str]:
    """Return the ids of the events that somebody sent, without what the server recorded of itself."""
    return [one["id"] for one in found if one["stream"] != "tallystick"]


def test_database_that_is_killed_comes_back(servers: Servers) -> None:
    """A killed PostgreSQL would stay away, or take acknowledged events with it."""
    server = servers.start()
    with server.client(server.write_key) as client:
        acknowledged = []
        for _ in range(2):
            for one in events(20):
                until_recorded(client, one)
                acknowledged.append(one["id"])
            os.kill(postmaster(server), signal.SIGKILL)
            time.sleep(0.05)
        last = event()
        until_recorded(client, last)
    with server.client() as reader:
        found = reader.get("/v1/feed", params={"limit": 1000}).json()["events"]
    assert _sent(found) == [*acknowledged, last["id"]]


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 200 MiB of its own; only root can make one."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-small-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200m,mode=711", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(
            "a file system of its own needs the right to mount one: " + mounted.stderr.decode().strip()
        )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def test_full_disk(small_disk: Path) -> None:
    """A full disk would lose acknowledged events, end in a stack trace, or need a human after space is free again."""
    server = start(small_disk / "data")
    filler = small_disk / "filler"
    try:
        with server.client(server.write_key) as client:
            first = events(50)
            assert client.post("/v1/events:batch", json=first).status_code == 200
            _fill(filler)
            acknowledged, refused = _until_refused(client)
            assert client.get("/healthz").status_code == 200
            filler.unlink()
            for one in refused:
                until_recorded(client, one)
        sent = (
            [one["id"] for one in first]
            + [one["id"] for one in acknowledged]
            + [one["id"] for one in refused]
        )
        with server.client() as reader:
            found = reader.get("/v1/feed", params={"limit": 1000}).json()["events"]
        assert sorted(_sent(found)) == sorted(sent)
    finally:
        server.stop()


def _fill(filler: Path) -> None:
    with filler.open("wb") as file:
        try:
            while True:
                file.write(bytes(MIB))
                file.flush()
        except OSError:
            return


def _until_refused(client: httpx2.Client) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Record events that do not compress until the disk is full; return those acknowledged and those refused."""
    acknowledged: list[dict[str, object]] = []
    for _ in range(400):
        one = event(metadata={"noise": os.urandom(60_000).hex()})
        answer = client.post("/v1/events", json=one)
        if answer.status_code == 201:
            acknowledged.append(one)
            continue
        assert answer.status_code == 503, answer.text
        assert answer.headers["retry-after"].isdigit()
        more = [event() for _ in range(3)]
        for another in more:
            assert client.post("/v1/events", json=another).status_code in (200, 201, 503)
        return acknowledged, [one, *more]
    pytest.fail("the disk was never full")


def test_memory_stays_bounded_under_abuse(servers: Servers, database: Database) -> None:
    """Many slow, huge or compressed requests together would fill the memory."""
    server = servers.start(
        database=database.logins.owner, environment={"TALLYSTICK_BODY_TIMEOUT_SECONDS": "3"}
    )
    with server.client(server.write_key) as client:
        assert client.post("/v1/events:batch", json=events(1000)).status_code == 200
        before = server.rss_bytes()
        slow = [_slow_upload(server) for _ in range(200)]
        peak = server.rss_bytes()
        statuses = asyncio.run(_bombs(server, 60))
        peak = max(peak, server.rss_bytes())
        assert statuses <= {413, 503}, statuses
        answers = []
        for line in slow:
            line.settimeout(20)
            answers.append(line.recv(4096)[:12])
            line.close()
        assert set(answers) <= {b"HTTP/1.1 408", b"HTTP/1.1 503"}, set(answers)
        assert b"HTTP/1.1 408" in answers
        peak = max(peak, server.rss_bytes())
        assert peak - before < 260 * MIB, f"memory grew by {(peak - before) // MIB} MiB"
        assert client.post("/v1/events", json=event()).status_code == 201
    assert server.check_whole_log() >= 1001
    assert server.recorded() == 1001


def _slow_upload(server: Server) -> socket.socket:
    """Announce 8 MiB, send one of them, and then nothing."""
    line = socket.create_connection(server.address, timeout=20)
    line.sendall(
        b"POST /v1/events:batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        + f"X-API-Key: {server.write_key}\r\nContent-Length: {8 * MIB}\r\n\r\n".encode()
    )
    line.setblocking(False)
    with suppress(BlockingIOError):
        line.send(b"[" + b" " * MIB)
    return line


async def _bombs(server: Server, number: int) -> set[int]:
    """Send so many gzip bombs at once and return the statuses."""
    import gzip

    bomb = gzip.compress(bytes(256 * MIB), 9)
    headers = {"X-API-Key": server.write_key, "Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with httpx2.AsyncClient(timeout=60, verify=False) as client:
        answers = await asyncio.gather(
            *(
                client.post(f"{server.url}/v1/events:batch", content=bomb, headers=headers)
                for _ in range(number)
            )
        )
    return {answer.status_code for answer in answers}


def test_readers_that_stop_reading(servers: Servers, database: Database) -> None:
    """Clients that ask for much and read nothing would hold memory and connections to the database."""
    server = servers.start(database=database.logins.owner)
    large = [event(metadata={"noise": "x" * 1000}) for _ in range(1000)]
    with server.client() as client:
        for _ in range(3):
            assert client.post("/v1/events:batch", json=large).status_code == 200
            large = [{**one, "id": event()["id"]} for one in large]
        before = server.rss_bytes()
        idle = [_ask_and_leave(server, "/v1/export") for _ in range(15)]
        idle += [_ask_and_leave(server, "/v1/feed", "Accept: text/event-stream") for _ in range(15)]
        time.sleep(2)
        assert server.rss_bytes() - before < 200 * MIB
        began = time.monotonic()
        assert client.get("/v1/events").status_code == 200
        assert client.post("/v1/events", json=event()).status_code == 201
        assert time.monotonic() - began < 8
        assert asyncio.run(_held(database)) == 0, (
            "a connection to the database is held by a reader that does not read"
        )
        for line in idle:
            line.close()


def _ask_and_leave(server: Server, path: str, *lines: str) -> socket.socket:
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(server.address)
    head = [f"GET {path} HTTP/1.1", "Host: x", f"X-API-Key: {server.admin_key}", *lines]
    line.sendall("\r\n".join(head).encode() + b"\r\n\r\n")
    return line


async def _held(database: Database) -> int:
    """Return how many connections of ours hold a transaction open without working."""
    import asyncpg

    connection = await asyncpg.connect(database.superuser.url)
    try:
        return await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tallystick%' "
            "AND state LIKE 'idle in transaction%' AND state_change < now() - interval '1 second'"
        )
    finally:
        await connection.close()


def test_stop_answers_what_was_accepted(servers: Servers, database: Database) -> None:
    """A server that is told to stop would drop events that it is just storing."""
    server = servers.start(database=database.logins.owner)
    sent = [event() for _ in range(200)]
    acknowledged: set[str] = set()

    def send(one: dict[str, object]) -> None:
        with httpx2.Client(
            base_url=server.url, headers={"X-API-Key": server.write_key}, verify=False
        ) as client:
            try:
                answer = client.post("/v1/events", json=one, timeout=20)
            except httpx2.TransportError:
                return
            if answer.status_code == 201:
                acknowledged.add(str(one["id"]))

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        running = [threads.submit(send, one) for one in sent]
        while len(acknowledged) < 20:
            time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        concurrent.futures.wait(running)
    assert server.process.wait(30) == 0, server.log()[-2000:]
    again = servers.start(database=database.logins.owner)
    with again.client() as reader:
        stored = {one["id"] for one in reader.get("/v1/feed", params={"limit": 1000}).json()["events"]}
    assert acknowledged <= stored
    assert again.check_whole_log() >= len(stored)
    assert json.loads((again.data / "server.json").read_text())["url"] == again.url
