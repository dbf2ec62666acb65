"""A running server for the tests: the real program in a process of its own, asked over real HTTP.

`server` is one for the whole run, on a database of the tests' own cluster; `servers` starts further ones, also
several on one database, and stops them when the test ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx2
import pytest

from oracle import check_whole_log
from pooler import POOLED, behind
from postgres import Cluster, Database, fresh_database
from tallystick.event.limits import BATCH_EVENTS_MAX
from tallystick.merkle.keys import VerifierKey
from tallystick.services.sign import Signer
from tallystick.store.connect import Dsn, open_pool

PROGRAM: tuple[str, ...] = (str(Path(sys.executable).with_name("tallystick")),)
READY_SECONDS = 60.0
REQUEST_SECONDS = 30.0


@dataclass
class Server:
    """One server process, where it answers, and the keys that open it.

    `database` is the owner's address of the external database, None when the server runs its own.
    """

    process: subprocess.Popen[bytes]
    url: str
    organization_id: UUID
    admin_key: str
    write_key: str
    data: Path
    database: Dsn | None = None
    _clients: list[httpx2.Client] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for tests that speak to the socket itself."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def client(self, key: str | None = "", **more: Any) -> httpx2.Client:
        """Return a client that sends `key` (the admin's when not given, none at all for None)."""
        headers = {} if key is None else {"Authorization": f"Bearer {key or self.admin_key}"}
        # Reading the certificates of the world takes longer than most requests here.
        made = httpx2.Client(
            base_url=self.url, headers=headers, timeout=REQUEST_SECONDS, verify=False, **more
        )
        self._clients.append(made)
        return made

    def key(self, *permissions: str, workspace: str | None = None) -> str:
        """Make a key of the first organization with `permissions` and return its secret."""
        wish = {"name": "a key of the tests", "permissions": permissions, "workspace": workspace}
        with self.client() as client:
            made = client.post("/v1/keys", json=wish)
        assert made.status_code == 201, made.text
        return made.json()["key"]

    def say(self, request: bytes, *, seconds: float = 10.0) -> bytes:
        """Send bytes as they are over a connection of its own and return all that comes until it is closed."""
        with socket.create_connection(self.address, timeout=seconds) as line:
            answer = b""
            try:
                line.sendall(request)
                while piece := line.recv(65536):
                    answer += piece
            except (ConnectionError, TimeoutError):
                pass  # whoever is refused early may find the connection reset; what had come counts
            return answer

    @property
    def verifier(self) -> VerifierKey:
        """The public key of the first organization's log, from the data folder and not from the server."""
        instance = (self.data / "instance").read_text().strip()
        signer = Signer.open(self.data, instance=instance, random=_never)
        return signer.verifier(signer.origin(self.organization_id))

    def check_whole_log(self) -> int:
        """Have the oracle check everything about the first organization's log and return its size."""
        assert self.database is not None, "the oracle reads an external database"
        return asyncio.run(_check(self.database, self.organization_id, self.verifier))

    def size(self) -> int:
        """Return how many events the log holds, as its checkpoint says; 0 before the first."""
        with self.client() as client:
            answer = client.get("/v1/log/checkpoint")
        return 0 if answer.status_code == 404 else int(answer.text.split("\n")[1])

    def recorded(self) -> int:
        """Return how many events producers recorded: those about the use of the server itself are not counted."""
        with self.client() as client:
            return int(
                client.get("/v1/events:count", params={"q": "-stream:tallystick", "exact": "true"}).json()[
                    "count"
                ]
            )

    def rss_bytes(self) -> int:
        """Return the memory of the server's own process, PostgreSQL's not counted."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def kill(self) -> None:
        """Kill it as a power cut would, and wait until it is gone."""
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> int:
        """Ask it to stop and return its exit code."""
        for client in self._clients:
            client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def log(self) -> str:
        """Return what it wrote to standard output and standard error."""
        return (self.data / "server.log").read_text(errors="replace")


async def _check(database: Dsn, organization_id: UUID, verifier: VerifierKey) -> int:
    pool = await open_pool(database, role="owner", size_min=0)
    try:
        return await check_whole_log(pool, organization_id, verifier)
    finally:
        await pool.close()


def _never(size: int) -> bytes:
    raise AssertionError("the data folder has no key yet, so no server has run on it")


def start(
    data: Path,
    *,
    database: Dsn | None = None,
    environment: Mapping[str, str] | None = None,
    program: Sequence[str] = PROGRAM,
    port: int = 0,
) -> Server:
    """Start a server on `data` and wait until it is ready; fails with its words when it ends instead."""
    ready = data / f"ready-{secrets.token_hex(4)}.json"
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    clean |= {"TALLYSTICK_LOG_FORMAT": "json", **(environment or {})}
    if database is not None:
        # The cluster of the tests runs without fsync, which a server refuses unless told that it may.
        reached = database
        if POOLED and "TALLYSTICK_DATABASE_POOLER" not in (environment or {}):
            reached = behind(database)
            clean |= {"TALLYSTICK_DATABASE_POOLER": "transaction"}
        clean |= {"TALLYSTICK_DATABASE_URL": reached.url, "TALLYSTICK_ALLOW_UNSAFE_DATABASE": "true"}
        clean |= environment or {}
    data.mkdir(parents=True, exist_ok=True)
    with (data / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [*program, "serve", "--data", str(data), "--port", str(port), "--ready-file", str(ready)],
            env=clean,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        found = _wait_until_ready(process, ready, data)
    except BaseException:
        process.kill()
        process.wait(30)
        raise
    return Server(
        process=process,
        url=found["url"],
        organization_id=UUID(found["organization_id"]),
        admin_key=found["admin_key"],
        write_key=found["write_key"],
        data=data,
        database=database,
    )


def _wait_until_ready(process: subprocess.Popen[bytes], ready: Path, data: Path) -> dict[str, Any]:
    deadline = time.monotonic() + READY_SECONDS
    while not ready.exists():
        words = (data / "server.log").read_text(errors="replace")
        assert process.poll() is None, f"the server ended with {process.returncode}: {words[-4000:]}"
        assert time.monotonic() < deadline, (
            f"the server was not ready within {READY_SECONDS} s: {words[-4000:]}"
        )
        time.sleep(0.02)
    found = json.loads(ready.read_text())
    ready.unlink()
    return found


@dataclass
class Servers:
    """Starts servers for one test and stops what still runs when it ends."""

    folder: Path
    running: list[Server] = field(default_factory=list)

    def start(self, name: str = "data", **more: Any) -> Server:
        """Start a server on the data folder `name` of this test; see `start`."""
        made = start(self.folder / name, **more)
        self.running.append(made)
        return made

    def stop(self) -> None:
        """Stop every server."""
        for server in self.running:
            server.stop()


def server_folder() -> Path:
    """Make a folder that the unprivileged account of an embedded PostgreSQL can reach."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-server-"))
    folder.chmod(0o711)
    return folder


@pytest.fixture(scope="session")
def server_database(postgres_cluster: Cluster, template_database: str) -> Iterator[Database]:
    """The database of the run's `server`."""
    yield from fresh_database(postgres_cluster, template_database)


@pytest.fixture(scope="session")
def server(server_database: Database) -> Iterator[Server]:
    """One running server for the whole run; a test may add to its log and expects others to."""
    folder = server_folder()
    running = start(
        folder / "data",
        database=server_database.logins.owner,
        environment={"TALLYSTICK_BODY_TIMEOUT_SECONDS": "2"},
    )
    try:
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Starts servers of the test's own."""
    folder = server_folder()
    made = Servers(folder)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def event(**fields: Any) -> dict[str, Any]:
    """Return an event as a producer sends it, with an id of its own; `fields` replace or add, None removes."""
    made: dict[str, Any] = {
        "id": str(uuid4()),
        "action": "api_key.create",
        "actor": {"type": "user", "id": "usr_1", "name": "Ada Lovelace", "email": "ada@example.com"},
        "targets": [{"type": "api_key", "id": "key_9", "name": "ci"}],
        "context": {"ip": "192.0.2.10", "request_id": "req_1"},
        "after": {"scopes": ["read"]},
        **fields,
    }
    return {name: value for name, value in made.items() if value is not None}


def events(number: int, **fields: Any) -> list[dict[str, Any]]:
    """Return so many events, each with an id of its own."""
    assert number <= 2 * BATCH_EVENTS_MAX
    return [event(**fields) for _ in range(number)]
