"""The embedded PostgreSQL: it is made as designed, keeps what it is given, and comes back when it is killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from postgres import own_server
from store.embedded_process import gone, on_linux, until, value_of
from tallystick.errors import Misconfigured, TryLater
from tallystick.store import embedded, server_log
from tallystick.store.connect import connect, open_pool, transaction


async def test_data_outlives_a_restart(data: Path) -> None:
    """What was stored before a stop would be gone after the start."""
    async with own_server(data) as (server, superuser):
        connection = await connect(superuser)
        await connection.execute("CREATE TABLE t AS SELECT 42 AS x")
        await connection.close()
        first = server.pid
    assert first is not None
    assert gone(first)
    async with own_server(data) as (_, superuser):
        assert await value_of(superuser, "SELECT x FROM t") == 42


async def test_it_is_made_as_designed(tmp_path: Path) -> None:
    """The server would listen on the network, sort by the machine's locale or miss damaged pages."""
    async with own_server(tmp_path) as (server, superuser):
        wanted = {
            "listen_addresses": "",
            "data_checksums": "on",
            "server_encoding": "UTF8",
            "fsync": "on",
            "full_page_writes": "on",
            "synchronous_commit": "on",
            "password_encryption": "scram-sha-256",
            "unix_socket_permissions": "0700",
            "jit": "off",
        }
        found = {name: await value_of(superuser, f"SHOW {name}") for name in wanted}
        locale = await value_of(
            superuser, "SELECT datlocprovider::text || datlocale FROM pg_database LIMIT 1"
        )
        assert server.pid is not None
        assert os.stat(f"/proc/{server.pid}").st_uid != 0
    assert found == wanted
    assert locale == "bC.UTF-8"
    hba = (tmp_path / "postgres" / "cluster" / "pg_hba.conf").read_text()
    methods = {line.split()[-1] for line in hba.splitlines() if line and not line.startswith("#")}
    assert methods == {"scram-sha-256"}


async def test_a_killed_server_comes_back_with_everything_acknowledged(data: Path) -> None:
    """An acknowledged row would be lost when the server is killed, or the server would stay away."""
    restarts: list[int] = []
    acknowledged: list[int] = []
    async with own_server(data) as (server, superuser):

        async def note_restart() -> None:
            restarts.append(server.pid or 0)
            raise RuntimeError("a listener's trouble must not end the watch")

        server.on_restart = note_restart
        pool = await open_pool(superuser, role="writer", size_max=4)
        async with transaction(pool) as connection:
            await connection.execute("CREATE TABLE t (x int PRIMARY KEY)")

        async def insert(first: int) -> None:
            for number in range(first, 1_000_000, 4):
                while True:
                    try:
                        async with transaction(pool) as connection:
                            await connection.execute(
                                "INSERT INTO t VALUES ($1) ON CONFLICT DO NOTHING", number
                            )
                        break
                    except TryLater:
                        await asyncio.sleep(0.02)
                acknowledged.append(number)

        writers = [asyncio.create_task(insert(first)) for first in range(4)]
        for kill in range(3):
            before = len(acknowledged)
            await until(lambda before=before: len(acknowledged) > before + 30)
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            await until(lambda kill=kill: len(restarts) == kill + 1)
        before = len(acknowledged)
        await until(lambda: len(acknowledged) > before + 30)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        async with transaction(pool) as connection:
            stored = {row["x"] for row in await connection.fetch("SELECT x FROM t")}
        await pool.close()
    assert len(set(restarts)) == 3
    assert set(acknowledged) <= stored


@on_linux
async def test_backends_that_go_on_after_the_kill_do_not_keep_it_away(data: Path) -> None:
    """A busy backend of a killed server holds its shared memory; the server would stay away until it ends."""
    async with own_server(data) as (server, superuser):
        connection = await connect(superuser)
        busy = await connection.fetchval("SELECT pg_backend_pid()")
        # A loop that never waits does not notice that its postmaster is gone.
        endless = "DO $$ DECLARE i bigint := 0; BEGIN LOOP i := i + 1; END LOOP; END $$"
        task = asyncio.create_task(connection.execute(endless))
        await asyncio.sleep(0.2)
        before = server.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        await asyncio.sleep(0.3)
        assert not gone(busy)
        await until(lambda: server.pid not in (None, before) and gone(busy))
        await until(lambda: (data / "postgres/cluster/postmaster.pid").exists())
        connection.terminate()
        await asyncio.gather(task, return_exceptions=True)
        for _ in range(100):
            with suppress(TryLater):
                assert await value_of(superuser, "SELECT 1") == 1
                break
            await asyncio.sleep(0.05)


@on_linux
async def test_a_stale_pid_file_that_names_an_innocent_process_is_no_obstacle(data: Path) -> None:
    """After a crash of the machine the old pid belongs to somebody else, and the server would refuse to start."""
    async with own_server(data):
        pass
    pid_file = data / "postgres" / "cluster" / "postmaster.pid"
    owner = pid_file.parent.stat()
    innocent = subprocess.Popen(
        ["sleep", "60"], **({"user": owner.st_uid} if os.geteuid() == 0 else {}), cwd="/"
    )
    try:
        pid_file.write_text(f"{innocent.pid}\n{pid_file.parent}\n1\n5432\n\n\n  1 2\nready   \n")
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        async with own_server(data) as (_, superuser):
            assert await value_of(superuser, "SELECT 1") == 1
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


async def test_a_second_start_on_the_same_folder_is_refused_with_the_holder(data: Path) -> None:
    """Two servers would write to the same files, or the operator would not learn who is in the way."""
    async with own_server(data) as (first, superuser):
        with pytest.raises(Misconfigured, match=rf"in use by another Tallystick \(process {os.getpid()}\)"):
            async with own_server(data):
                pass
        assert first.pid is not None
        assert await value_of(superuser, "SELECT 1") == 1


async def test_another_process_finds_the_running_server(data: Path) -> None:
    """The doctor and the command line could not look into a running installation."""
    with pytest.raises(TryLater, match="tallystick serve"):
        embedded.running(data)
    async with own_server(data) as (server, superuser):
        assert embedded.running(data) == superuser
        assert embedded.running_logins(data, "x") == server.logins("x")
    with pytest.raises(TryLater, match="tallystick serve"):
        embedded.running(data)


async def test_data_of_another_version_is_refused_untouched(data: Path) -> None:
    """PostgreSQL's own message would not say what to do, or the data would be damaged."""
    async with own_server(data):
        pass
    (data / "postgres" / "cluster" / "PG_VERSION").write_text("16\n")
    with pytest.raises(Misconfigured, match="holds data of PostgreSQL 16, but this is PostgreSQL 18"):
        async with own_server(data):
            pass
    (data / "postgres" / "cluster" / "PG_VERSION").write_text("18\n")
    async with own_server(data):
        pass


async def test_a_crash_while_the_cluster_is_made_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    """Half a cluster would be taken for a whole one, for ever."""
    half = tmp_path / "postgres" / "cluster.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    async with own_server(tmp_path) as (_, superuser):
        assert await value_of(superuser, "SELECT 1") == 1
    assert not half.exists()


async def test_a_path_too_long_for_a_socket_is_no_obstacle(tmp_path: Path) -> None:
    """Folders of build machines are long; a socket's path may have 107 bytes."""
    data = tmp_path / ("x" * 60) / ("y" * 60)
    async with own_server(data) as (_, first):
        assert await value_of(first, "SELECT 1") == 1
    record = data / "postgres" / "socket-folder"
    elsewhere = Path(record.read_text().strip())
    assert data not in elsewhere.parents
    async with own_server(data) as (_, second):
        assert second == first
    shutil.rmtree(elsewhere)  # as after a restart of the machine
    async with own_server(data) as (_, third):
        assert await value_of(third, "SELECT 1") == 1
    shutil.rmtree(Path(record.read_text().strip()), ignore_errors=True)


async def test_a_lost_password_file_is_explained(data: Path) -> None:
    """A new password would be made that the server does not know."""
    async with own_server(data):
        pass
    (data / "postgres" / "passwords").unlink()
    with pytest.raises(Misconfigured, match=r"passwords.*Put it back from your backup"):
        async with own_server(data):
            pass


async def test_no_secret_and_no_row_reaches_log_or_command_line(data: Path) -> None:
    """A password, or a person's data in a message of a broken constraint, would end in a file."""
    async with own_server(data) as (server, superuser):
        assert server.pid is not None
        listing = subprocess.run(["ps", "-ef"], capture_output=True, text=True, check=True).stdout
        connection = await connect(superuser)
        await connection.execute("CREATE TABLE t (email text PRIMARY KEY)")
        for statement in (
            "INSERT INTO t VALUES ('mallory@example.com'), ('mallory@example.com')",
            "CREATE ROLE x PASSWORD 'hunter2'; SELECT 1/0",
        ):
            with suppress(Exception):
                await connection.execute(statement)
        await connection.close()
    log = (data / "postgres" / "log").read_text()
    assert "duplicate key" in log
    for secret in (superuser.password, "mallory", "hunter2"):
        assert secret not in log + listing
    for name in ("log", "passwords", "lock", "socket-folder"):
        assert (data / "postgres" / name).stat().st_mode & 0o077 == 0, name
    assert (data / "postgres" / "cluster").stat().st_mode & 0o077 == 0


async def test_an_operators_settings_hold_but_not_against_durability(data: Path) -> None:
    """A line in postgresql.conf would be ignored, or would switch the durability off."""
    async with own_server(data):
        pass
    with (data / "postgres" / "cluster" / "postgresql.conf").open("a") as file:
        file.write("work_mem = '5MB'\nfsync = off\nsynchronous_commit = off\nlisten_addresses = '*'\n")
    async with own_server(data) as (_, superuser):
        assert await value_of(superuser, "SHOW work_mem") == "5MB"
        assert await value_of(superuser, "SHOW fsync") == "on"
        assert await value_of(superuser, "SHOW synchronous_commit") == "on"
        assert await value_of(superuser, "SHOW listen_addresses") == ""


@pytest.mark.parametrize(
    ("line", "words"), [("work_mem = 'much'", "work_mem"), ("wrok_mem = '1MB'", "wrok_mem")]
)
async def test_a_wrong_line_of_the_operator_is_explained(data: Path, line: str, words: str) -> None:
    """The server would just not start, and the reason would be in some file."""
    async with own_server(data):
        pass
    with (data / "postgres" / "cluster" / "postgresql.conf").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(
        Misconfigured, match=f"PostgreSQL did not start: a setting in postgresql.conf.*{words}"
    ):
        async with own_server(data):
            pass


async def test_the_log_has_a_limit(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that complains would fill the disk with its log."""
    monkeypatch.setattr(server_log, "LOG_BYTES_MAX", 2000)
    log = data / "postgres" / "log"
    async with own_server(data) as (_, superuser):
        for _ in range(3):
            connection = await connect(superuser)
            for _ in range(20):
                with suppress(Exception):
                    await connection.execute("SELECT 1/0")
            await connection.close()
            await asyncio.sleep(0.25)
        assert log.stat().st_size < 3000
        assert (data / "postgres" / "log.1").stat().st_size > 1000
