"""A real PostgreSQL for the tests: one cluster for each test process, one template database with the schema,
and a fresh copy of it for each test.

The cluster runs without fsync, since a test never outlives the machine; tests of durability start their own
server. TEST_POSTGRES_BIN names another folder of programs, so that the suites can run on an older version; with
TALLYSTICK_TEST_POOLER=1 the pools, and the servers of server.py, reach it through PgBouncer in transaction mode.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psycopg
import pytest
import pytest_asyncio

from pooler import POOLED, behind
from tallystick.errors import Misconfigured
from tallystick.store import cluster, embedded, migrate, server_log
from tallystick.store.connect import Dsn, Logins, Pool, Role, open_pool

TEMPLATE = "template_tallystick"
UNSAFE_BUT_FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "autovacuum": "off",
    "shared_buffers": "64MB",
}


@dataclass(frozen=True)
class Cluster:
    """The test process's PostgreSQL: where its superuser and each role sign in, and a session to make databases."""

    server: cluster.Server
    superuser: Dsn
    admin: psycopg.Connection

    def logins(self, database: str) -> Logins:
        """Return where each role signs in to `database`."""
        sockets = self.server.sockets
        owner, writer, reader, keeper = (
            embedded.dsn_of(sockets, role, self.passwords[role], database) for role in cluster.ROLES
        )
        return Logins(owner=owner, writer=writer, reader=reader, keeper=keeper)

    @property
    def passwords(self) -> dict[str, str]:
        """The password of each role."""
        return dict(cluster.passwords(self.server.folder, lambda: secrets.token_hex(8)))


@dataclass(frozen=True)
class Database:
    """A database of one test's own: where each role, and the superuser, sign in."""

    name: str
    logins: Logins
    superuser: Dsn


@dataclass(frozen=True)
class Pools:
    """One pool for each role on one test's database."""

    owner: Pool
    writer: Pool
    reader: Pool
    keeper: Pool


@pytest.fixture(scope="session")
def postgres_programs() -> Path:
    """The folder of PostgreSQL's programs that the tests run on."""
    named = os.environ.get("TEST_POSTGRES_BIN")
    return Path(named) if named else cluster.programs_of_wheel()


@pytest.fixture(scope="session")
def postgres_cluster(postgres_programs: Path) -> Iterator[Cluster]:
    """One running PostgreSQL with the four roles, for this test process."""
    folder = roomy_folder()
    server = cluster.settle(
        folder / "postgres", programs=postgres_programs, user=None, runtime_folder=None, say=print
    )
    lock = embedded.take_lock(server.folder)
    known = cluster.passwords(server.folder, lambda: secrets.token_hex(8))
    cluster.make_cluster(server, known[cluster.SUPERUSER])
    process = embedded.spawn(server, {**embedded.DEFAULTS, **embedded.HELD, **UNSAFE_BUT_FAST})
    try:
        wait_until_ready(server, process)
        superuser = embedded.dsn_of(server.sockets, cluster.SUPERUSER, known[cluster.SUPERUSER])
        with psycopg.connect(superuser.url, autocommit=True) as admin:
            found = Cluster(server, superuser, admin)
            asyncio.run(migrate.make_database(superuser, found.logins(TEMPLATE)))
            yield found
    finally:
        embedded.send(process.pid, signal.SIGQUIT)  # nothing here is worth a checkpoint
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def roomy_folder() -> Path:
    """Make a folder in memory where there is room (a copy of the template takes 13 ms there, 110 on a disk).

    Folders of test processes that were killed are removed on the way.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2 << 30
    parent = memory if roomy else Path(tempfile.gettempdir())
    for stale in parent.glob("tallystick-test-*"):
        if (stale / "postgres" / "lock").exists() and stale.stat().st_uid == os.geteuid():
            try:
                os.close(embedded.take_lock(stale / "postgres"))
                shutil.rmtree(stale, ignore_errors=True)
            except Misconfigured:
                continue
    folder = Path(tempfile.mkdtemp(prefix="tallystick-test-", dir=parent))
    folder.chmod(0o711)
    return folder


def wait_until_ready(server: cluster.Server, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server accepts connections; fails with its log when it ends instead."""
    for _ in range(3000):
        if embedded.is_ready(server, process.pid):
            return
        assert process.poll() is None, server_log.log_since(server, 0)
        time.sleep(0.01)
    pytest.fail("PostgreSQL did not start within 30 s")


@pytest.fixture(scope="session")
def made_cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped cluster, as `<data>/postgres`, to be copied: five times quicker than making one."""
    folder = tmp_path_factory.mktemp("made") / "postgres"
    server = cluster.settle(folder, programs=None, user=None, runtime_folder=None, say=print)
    known = cluster.passwords(folder, lambda: secrets.token_hex(16))
    cluster.make_cluster(server, known[cluster.SUPERUSER])
    shutil.rmtree(server.sockets)
    (folder / "socket-folder").unlink()
    return folder


@pytest.fixture
def data(tmp_path: Path, made_cluster: Path) -> Path:
    """A data folder of this test's own with a cluster in it that was never started."""
    subprocess.run(["cp", "-a", made_cluster, tmp_path / "postgres"], check=True)
    return tmp_path


@asynccontextmanager
async def own_server(
    data: Path,
    *,
    programs: Path | None = None,
    settings: Mapping[str, str] | None = None,
    say: Callable[[str], None] = print,
) -> AsyncIterator[tuple[embedded.EmbeddedPostgres, Dsn]]:
    """Run an embedded PostgreSQL of the caller's own on `data`, as safe as in production unless `settings` says else."""
    server = embedded.EmbeddedPostgres(
        data, new_password=lambda: secrets.token_hex(16), say=say, programs=programs, settings=settings
    )
    superuser = await server.start()
    try:
        yield server, superuser
    finally:
        await server.stop()


async def ready_logins(server: embedded.EmbeddedPostgres, superuser: Dsn) -> Logins:
    """Make roles, database and schema on a server of the caller's own, and return where each role signs in."""
    logins = server.logins(migrate.DATABASE)
    await migrate.make_database(superuser, logins)
    await migrate.migrate(logins.owner, migrate.read_plan(), say=print)
    return logins


@pytest.fixture(scope="session")
def template_database(postgres_cluster: Cluster) -> str:
    """The name of a database that holds the whole schema, made once and copied for each test."""
    asyncio.run(migrate.migrate(postgres_cluster.logins(TEMPLATE).owner, migrate.read_plan(), say=print))
    return TEMPLATE


_numbers = itertools.count(1)


def fresh_database(found: Cluster, template: str) -> Iterator[Database]:
    """Yield a copy of `template`, dropped afterwards together with whoever is still connected."""
    name = f"test_{next(_numbers)}"
    owner = found.logins(name).owner.user
    found.admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {owner} STRATEGY FILE_COPY")
    try:
        yield Database(name, found.logins(name), found.superuser.with_database(name))
    finally:
        found.admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(postgres_cluster: Cluster, template_database: str) -> Iterator[Database]:
    """A database of this test's own with the schema applied and no row in it."""
    yield from fresh_database(postgres_cluster, template_database)


@pytest.fixture
def empty_database(postgres_cluster: Cluster) -> Iterator[Database]:
    """A database of this test's own without any table."""
    yield from fresh_database(postgres_cluster, "template0")


@pytest_asyncio.fixture
async def pools(database: Database) -> AsyncIterator[Pools]:
    """A pool for each role on this test's database."""
    logins = {role: getattr(database.logins, role) for role in ("owner", "writer", "reader", "keeper")}
    made = Pools(
        **{
            role: await open_pool(
                behind(login) if POOLED else login, role=cast(Role, role), pooler=POOLED, size_min=0
            )
            for role, login in logins.items()
        }
    )
    yield made
    for pool in (made.owner, made.writer, made.reader, made.keeper):
        await pool.close()


@pytest.fixture
def pool(pools: Pools) -> Pool:
    """The writer's pool on this test's database."""
    return pools.writer
