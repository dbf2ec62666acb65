"""PostgreSQL as our own child process: started, watched, restarted and stopped with us.

The promise: while `EmbeddedPostgres` runs there is exactly one server on its folder; when that server dies it
comes back by itself; when we die, in whatever way, it stops too. Durability settings are given on the command
line, where no file in the data folder can weaken them.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from tallystick.errors import AuditError, Misconfigured, TryLater
from tallystick.store import cluster
from tallystick.store.cluster import Server
from tallystick.store.connect import Dsn, Logins
from tallystick.store.programs import best_wal_compression
from tallystick.store.server_log import explain, last_line, log_since, of_the_system, rotate_log

# What an operator may tune in <data>/postgres/cluster/postgresql.conf; sized for two cores and 2 GB of memory.
DEFAULTS: Mapping[str, str] = {
    "shared_buffers": "128MB",
    "max_connections": "100",
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "wal_buffers": "16MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",
    "jit": "off",  # plans here are short; compiling them costs more than running them
    "max_parallel_workers_per_gather": "0",  # one reader must not take both cores
    "autovacuum_naptime": "15s",  # log_head is one row updated at every append
    "autovacuum_vacuum_cost_limit": "1000",
    "autovacuum_vacuum_insert_scale_factor": "0.1",
    "log_autovacuum_min_duration": "-1",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# What holds whatever a file says. Messages are terse and without statements: details of an error quote rows.
HELD: Mapping[str, str] = {
    "listen_addresses": "",
    "port": str(cluster.PORT),
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_statement": "none",
    "log_line_prefix": "%m [%p] ",
    "cluster_name": "tallystick",
}
INCLUDE = "include 'tallystick.conf'"
POLL_SECONDS = 0.02
PROGRESS_SECONDS = 5.0
LEFTOVER_SECONDS = 0.3
STOP_SECONDS = 60.0
RESTART_SECONDS_MAX = 5.0
PR_SET_PDEATHSIG = 1

STILL_IN_USE = ("pre-existing shared memory block", "is another postmaster", "lock file")


class EmbeddedPostgres:
    """The PostgreSQL of one data folder, ours alone.

    `data` is the data folder, `programs` a folder with postgres and initdb (None = the wheel's), `user` the
    account of the server when we are root, `runtime_folder` XDG_RUNTIME_DIR or None, `settings` changes
    DEFAULTS (and, in tests, HELD). `say` gets sentences for the operator, `new_password` makes secrets,
    `on_restart` is awaited after the server came back from an unexpected death.
    """

    def __init__(
        self,
        data: Path,
        *,
        new_password: Callable[[], str],
        say: Callable[[str], None],
        programs: Path | None = None,
        user: str | None = None,
        runtime_folder: Path | None = None,
        settings: Mapping[str, str] | None = None,
        on_restart: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._folder = data.absolute() / "postgres"
        self._new_password = new_password
        self._say = say
        self._programs, self._user, self._runtime_folder = programs, user, runtime_folder
        self._settings = {**DEFAULTS, **HELD, **(settings or {})}
        self.on_restart = on_restart
        self._lock: int | None = None
        self._server: Server | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._dsn: Dsn | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the server, None while it is not running."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    async def start(self) -> Dsn:
        """Make the cluster if it is not there, start the server, and return where its superuser signs in.

        Waits without a limit while the server replays its log, saying so. Raises Misconfigured when the folder is
        in use by another process, made by another version or not ours, TryLater when the disk is full.
        """
        try:
            self._server = await asyncio.to_thread(self._prepare)
            secret = cluster.passwords(self._folder, self._new_password)[cluster.SUPERUSER]
            await asyncio.to_thread(cluster.make_cluster, self._server, secret)
            await self._launch(self._server)
        except OSError as error:
            await self.stop()
            raise of_the_system(error, self._folder) from error
        except BaseException:
            await self.stop()
            raise
        self._dsn = dsn_of(self._server.sockets, cluster.SUPERUSER, secret)
        self._watcher = asyncio.create_task(self._watch(self._server), name="embedded-postgres")
        return self._dsn

    def logins(self, database: str) -> Logins:
        """Return where each role signs in to `database`; store/migrate.py makes roles and database."""
        return _logins(self._folder, database)

    async def stop(self) -> None:
        """Stop the server with SIGINT (clients are dropped, everything is written), reap it, free the folder."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            self._watcher = None
        if self._process is not None:
            await self._end(self._process)
            self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _prepare(self) -> Server:
        cluster.make_folder(self._folder, 0o711 if os.geteuid() == 0 else 0o700)
        self._lock = take_lock(self._folder)
        return cluster.settle(
            self._folder,
            programs=self._programs,
            user=self._user,
            runtime_folder=self._runtime_folder,
            say=self._say,
        )

    async def _launch(self, server: Server) -> None:
        """Start the server and wait until it accepts connections; one more try while leftovers are in the way."""
        for attempt in range(10):
            await self._clear_leftovers(server)
            rotate_log(server)
            log_start = server.log.stat().st_size if server.log.exists() else 0
            # From the loop's own thread: PR_SET_PDEATHSIG fires when the *thread* that forked ends.
            self._process = spawn(server, self._settings)
            if await self._becomes_ready(server, self._process, log_start):
                return
            words = log_since(server, log_start)
            if attempt == 9 or not any(mark in words for mark in STILL_IN_USE):
                raise explain(words, server)
            await asyncio.sleep(0.2 * (attempt + 1))

    async def _becomes_ready(self, server: Server, process: subprocess.Popen[bytes], log_start: int) -> bool:
        loop = asyncio.get_running_loop()
        say_next = loop.time() + PROGRESS_SECONDS
        while process.poll() is None:
            if is_ready(server, process.pid):
                return True
            if loop.time() >= say_next:
                said = last_line(log_since(server, log_start))
                self._say(f"PostgreSQL is still starting, it replays its log after an unclean stop: {said}")
                say_next = loop.time() + PROGRESS_SECONDS
            await asyncio.sleep(POLL_SECONDS)
        return False

    async def _watch(self, server: Server) -> None:
        delay = 0.1
        while True:
            process = self._process
            status = process.poll() if process is not None else None
            if status is None and process is not None:
                await asyncio.sleep(5 * POLL_SECONDS)
                rotate_log(server)
                continue
            self._say(
                f"PostgreSQL ended unexpectedly ({status}); starting it again. Nothing acknowledged is lost."
            )
            try:
                await self._launch(server)
            except (
                Exception
            ) as error:  # whatever it is, giving up would leave the installation without a database
                said = error if isinstance(error, AuditError) else f"PostgreSQL did not start ({error!r})."
                self._say(f"{said} Next try in {delay:.1f} s.")
                await asyncio.sleep(delay)
                delay = min(delay * 2, RESTART_SECONDS_MAX)
                continue
            delay = 0.1
            self._say("PostgreSQL is back.")
            await self._tell_of_restart()

    async def _tell_of_restart(self) -> None:
        try:
            if self.on_restart is not None:
                await self.on_restart()
        except Exception as error:  # a listener's trouble must not end the watch over the server
            self._say(f"After the restart of PostgreSQL something failed ({type(error).__name__}).")

    async def _clear_leftovers(self, server: Server) -> None:
        """Wait for processes of an earlier server on this folder to end, ask, then insist.

        We hold the folder's lock, so whatever still runs there has no owner. A stale postmaster.pid that names
        some innocent process is removed; PostgreSQL's own check of the shared memory stays in force.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while left := leftovers(server.cluster):
            waited = loop.time() - begun
            postmaster = pid_in_file(server)
            if postmaster in left:
                send(postmaster, signal.SIGINT if waited < STOP_SECONDS else signal.SIGQUIT)
                if waited > 1:
                    self._say(f"Waiting for an earlier PostgreSQL (process {postmaster}) to stop.")
            elif waited > LEFTOVER_SECONDS:
                for pid in left:
                    send(pid, signal.SIGKILL if waited > 2 * LEFTOVER_SECONDS else signal.SIGQUIT)
            await asyncio.sleep(POLL_SECONDS if waited < 1 else 0.5)
        if sys.platform == "linux" and pid_in_file(server) is not None:
            (server.cluster / "postmaster.pid").unlink(missing_ok=True)

    async def _end(self, process: subprocess.Popen[bytes]) -> None:
        steps = ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
        for number, seconds in steps:
            process.send_signal(number)  # does nothing once the process has ended
            for _ in range(int(seconds / POLL_SECONDS)):
                if process.poll() is not None:
                    return
                await asyncio.sleep(POLL_SECONDS)


def running(data: Path) -> Dsn:
    """Return where the superuser signs in to the server that another process runs on `data`.

    Raises TryLater when no server runs there.
    """
    server_folder = data.absolute() / "postgres"
    return dsn_of(
        _running_sockets(server_folder), cluster.SUPERUSER, _passwords(server_folder)[cluster.SUPERUSER]
    )


def running_logins(data: Path, database: str) -> Logins:
    """Return where each role signs in to `database` of the server that another process runs on `data`.

    Raises TryLater when no server runs there.
    """
    server_folder = data.absolute() / "postgres"
    _running_sockets(server_folder)
    return _logins(server_folder, database)


def _logins(folder: Path, database: str) -> Logins:
    sockets = Path((folder / "socket-folder").read_text().strip())
    secrets = _passwords(folder)
    owner, writer, reader, keeper = (dsn_of(sockets, role, secrets[role], database) for role in cluster.ROLES)
    return Logins(owner=owner, writer=writer, reader=reader, keeper=keeper)


def _passwords(folder: Path) -> Mapping[str, str]:
    def never() -> str:
        raise Misconfigured(f"The file {folder / 'passwords'} with the database's passwords is gone.")

    return cluster.passwords(folder, never)


def _running_sockets(folder: Path) -> Path:
    try:
        sockets = Path((folder / "socket-folder").read_text().strip())
        if (sockets / f".s.PGSQL.{cluster.PORT}").is_socket():
            return sockets
    except PermissionError as error:
        raise Misconfigured(
            f"The folder {folder} is not yours. Run this as the user who runs the server."
        ) from error
    except OSError:
        pass
    raise TryLater(f"No Tallystick serves the data folder {folder.parent}. Start it with: tallystick serve")


def dsn_of(sockets: Path, user: str, password: str, database: str = "postgres") -> Dsn:
    """Return the address of `database` on the server whose socket lies in `sockets`."""
    return Dsn.of(host=str(sockets), port=cluster.PORT, user=user, password=password, database=database)


def take_lock(folder: Path) -> int:
    """Return the descriptor that holds `folder` for this process; the kernel frees it when we die.

    Raises Misconfigured with the other process's id when the folder is taken.
    """
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise Misconfigured(
            f"The data folder {folder.parent} is in use by another Tallystick (process {holder}). Stop that one, or "
            "name another folder in TALLYSTICK_DATA. Two servers share one log through TALLYSTICK_DATABASE_URL."
        ) from error
    with suppress(OSError):  # on a full disk the lock still holds, it only cannot say by whom
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def spawn(server: Server, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the server's process with `settings`, as its own user, bound to die with this thread."""
    options = [part for name, value in settings.items() if name in HELD for part in ("-c", f"{name}={value}")]
    tunable = {name: value for name, value in settings.items() if name not in HELD}
    write_defaults(server, {"wal_compression": best_wal_compression(server.programs), **tunable})
    log = os.open(server.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        with cluster.handed_over(server, server.cluster) as (folder, handles):
            return subprocess.Popen(
                [
                    *(server.programs / "postgres", "-D", folder, *options),
                    *("-c", f"unix_socket_directories={server.sockets}"),
                ],
                cwd="/",
                env=cluster.CLEAN_ENVIRONMENT,
                pass_fds=handles,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal is ours to handle, in order
                preexec_fn=_die_with(os.getpid()),
                **cluster.identity_of_child(server),
            )
    finally:
        os.close(log)


def write_defaults(server: Server, settings: Mapping[str, str]) -> None:
    """Write our settings to a file that postgresql.conf includes first, so that an operator's lines win."""
    head = "# Written anew at every start. Put your own settings at the end of postgresql.conf.\n"
    lines = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
    _give(server, server.cluster / "tallystick.conf", head + lines)
    main = server.cluster / "postgresql.conf"
    if INCLUDE not in main.read_text():
        _give(
            server,
            main,
            f"{INCLUDE}\n# Your own settings below; those that keep data safe are fixed elsewhere.\n",
        )


def _give(server: Server, path: Path, text: str) -> None:
    cluster.write_whole(path, text.encode(), 0o600)
    if os.geteuid() == 0:
        os.chown(path, server.uid, server.gid)


def _die_with(parent: int) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    # Resolved here: after fork() only plain calls are safe.
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def die_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return die_with_parent


def is_ready(server: Server, pid: int) -> bool:
    """Tell whether the server with process id `pid` accepts connections, as pg_ctl does: by its pid file."""
    try:
        lines = (server.cluster / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def pid_in_file(server: Server) -> int | None:
    """Return the process id in postmaster.pid, None when there is no such file or no number in it."""
    try:
        return int((server.cluster / "postmaster.pid").read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None


def leftovers(folder: Path) -> list[int]:
    """Return the ids of all `postgres` processes whose working folder is the cluster `folder` (Linux only)."""
    try:
        home = folder.stat()
    except OSError:
        return []
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            there = (entry / "cwd").stat()
            is_postgres = (entry / "comm").read_text().strip() == "postgres"
        except OSError:
            continue
        if is_postgres and (there.st_dev, there.st_ino) == (home.st_dev, home.st_ino):
            found.append(int(entry.name))
    return found


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
