"""Poolers in transaction mode for the tests: a strict one of our own, and PgBouncer where it is installed.

Ours hands every transaction, and every statement outside one, to another server connection in turn, so that
whatever was left in a session is missed at once. Like PgBouncer it refuses settings at the start of a connection.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg

from tallystick.store import cluster
from tallystick.store.connect import Dsn

PERMITTED_AT_START = {"user", "database", "client_encoding"}
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Pooler:
    """A pooler in transaction mode: clients on a socket in `folder`, `size` connections to `server`."""

    def __init__(self, server: Dsn, folder: Path, size: int) -> None:
        self._server, self._folder, self._size = server, folder, size
        self._free: asyncio.Queue[Streams] = asyncio.Queue()
        self._greeting = b""
        self._sessions: list[psycopg.Connection] = []
        self._clients: set[asyncio.Task[None]] = set()
        self.transactions = 0

    async def open(self) -> Dsn:
        """Sign in to the server `size` times, listen, and return the address for clients."""
        for _ in range(self._size):
            session = psycopg.connect(self._server.url, autocommit=True)
            self._sessions.append(session)
            # From here on libpq, which did the signing in, only holds the socket open.
            self._free.put_nowait(
                await asyncio.open_connection(sock=socket.socket(fileno=os.dup(session.fileno())))
            )
            for name in (
                "server_version",
                "server_encoding",
                "client_encoding",
                "integer_datetimes",
                "TimeZone",
            ):
                value = session.info.parameter_status(name) or ""
                self._greeting += message(b"S", f"{name}\0{value}\0".encode())
        path = self._folder / f".s.PGSQL.{cluster.PORT}"
        self._listener = await asyncio.start_unix_server(self._accept, path)
        return Dsn.of(
            host=str(self._folder),
            port=cluster.PORT,
            user=self._server.user,
            password="",
            database=self._server.database,
        )

    async def close(self) -> None:
        """Drop all clients and sign out."""
        self._listener.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        for session in self._sessions:
            session.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!I", await reader.readexactly(4))
        words = (await reader.readexactly(length - 4))[4:].split(b"\0")
        refused = {word.decode() for word in words[:-2:2]} - PERMITTED_AT_START
        if refused:
            text = f"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: {sorted(refused)[0]}\0\0"
            writer.write(message(b"E", text.encode()))
            return
        writer.write(message(b"R", struct.pack("!I", 0)) + self._greeting + message(b"Z", b"I"))
        asked = asyncio.ensure_future(read_message(reader))
        try:
            while (await asyncio.shield(asked))[:1] != b"X":
                server = await self._free.get()
                self.transactions += 1
                asked = await one_transaction(asked, (reader, writer), server)
                self._free.put_nowait(server)
        finally:
            asked.cancel()


async def one_transaction(
    asked: asyncio.Future[bytes], client: Streams, server: Streams
) -> asyncio.Future[bytes]:
    """Carry messages both ways until the server is idle, and return the client's next message to come."""
    answered = asyncio.ensure_future(read_message(server[0]))
    waiting = 0
    while True:
        await asyncio.wait({asked, answered}, return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            sent = asked.result()
            server[1].write(sent)
            waiting += sent[:1] in (b"Q", b"S")
            asked = asyncio.ensure_future(read_message(client[0]))
        if answered.done():
            answer = answered.result()
            client[1].write(answer)
            waiting -= answer[:1] == b"Z"
            if not waiting and answer[:1] == b"Z" and answer[5:] == b"I":
                return asked
            answered = asyncio.ensure_future(read_message(server[0]))


def message(kind: bytes, body: bytes) -> bytes:
    """Frame `body` as a message of PostgreSQL's protocol."""
    return kind + struct.pack("!I", len(body) + 4) + body


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """Read one whole message."""
    head = await reader.readexactly(5)
    return head + await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)


@asynccontextmanager
async def own_pooler(server: Dsn, size: int = 3) -> AsyncIterator[Dsn]:
    """Run our strict pooler before `server` and give the address for clients."""
    with tempfile.TemporaryDirectory(prefix="tallystick-pooler-") as folder:
        pooler = Pooler(server, Path(folder), size)
        try:
            yield await pooler.open()
        finally:
            await pooler.close()


def pgbouncer() -> str | None:
    """Return the path of PgBouncer, or None where it is not installed."""
    return (
        os.environ.get("TEST_PGBOUNCER") or shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    )


POOLED = os.environ.get("TALLYSTICK_TEST_POOLER", "") not in ("", "0")
"""Whether the run's pools and servers reach their databases through PgBouncer in transaction mode."""

_standing: dict[tuple[str, str], Path] = {}


def behind(server: Dsn) -> Dsn:
    """Return the address of the same database for the same login through a PgBouncer that stands until the run ends."""
    (sockets,) = parse_qs(urlsplit(server.url).query)["host"]
    place = (sockets, server.user)
    if place not in _standing:
        folder = Path(tempfile.mkdtemp(prefix="tallystick-pgbouncer-"))
        process = _spawn(server, Path(sockets), folder, size=4, database="*")
        atexit.register(_end, process, folder)
        deadline = time.monotonic() + 60
        while not (folder / f".s.PGSQL.{cluster.PORT}").exists():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "PgBouncer did not start"
            time.sleep(0.01)
        _standing[place] = folder
    return Dsn.of(
        host=str(_standing[place]), port=cluster.PORT, user=server.user, password="", database=server.database
    )


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    process.terminate()
    process.wait(30)
    shutil.rmtree(folder, ignore_errors=True)


def _spawn(server: Dsn, sockets: Path, folder: Path, *, size: int, database: str) -> subprocess.Popen[bytes]:
    program = pgbouncer()
    assert program is not None, "PgBouncer is not installed here"
    place = f"host={sockets} port={cluster.PORT} user={server.user} password={server.password}"
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{database} = {place}\n[pgbouncer]\npool_mode = transaction\nauth_type = any\n"
        f"unix_socket_dir = {folder}\nlisten_port = {cluster.PORT}\ndefault_pool_size = {size}\n"
        f"max_client_conn = 1000\nserver_idle_timeout = 10\nlogfile = {folder}/log\npidfile = {folder}/pid\n"
    )
    owner = sockets.stat()
    for path in (folder, folder / "pgbouncer.ini"):
        os.chown(path, owner.st_uid, owner.st_gid)
    return subprocess.Popen(
        [program, "-q", folder / "pgbouncer.ini"],
        stdout=sys.stderr,
        **({"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}),
    )


@asynccontextmanager
async def real_pgbouncer(server: Dsn, sockets: Path, size: int = 3) -> AsyncIterator[Dsn]:
    """Run PgBouncer in transaction mode before `server`, whose socket lies in `sockets`."""
    with tempfile.TemporaryDirectory(prefix="tallystick-pgbouncer-") as name:
        folder = Path(name)
        process = _spawn(server, sockets, folder, size=size, database=server.database)
        try:
            deadline = time.monotonic() + 60
            while not (folder / f".s.PGSQL.{cluster.PORT}").exists():
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, "PgBouncer did not start"
                await asyncio.sleep(0.01)
            yield Dsn.of(
                host=name, port=cluster.PORT, user=server.user, password="", database=server.database
            )
        finally:
            process.terminate()
            process.wait(30)
