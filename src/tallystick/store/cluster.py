"""The folder of an embedded PostgreSQL: which programs, whose process, where its socket, how it is made.

    <data>/postgres/            ours: lock, log, passwords, socket-folder
    <data>/postgres/cluster/    the server's: what initdb makes, owned by the uid the server runs as

PostgreSQL refuses to run as root. Started as root, we give it a uid of its own. That uid may be unable to
enter the folders above (a checkout below /root): the cluster is then handed over as an open directory,
`/proc/self/fd/N`, which needs no permission on its parents, and the programs are copied to a place that
everyone can enter. The data stays where the user put it.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from tallystick.errors import AuditError, Misconfigured
from tallystick.store.programs import can_enter, copy_programs, major_version, programs_of_wheel

PORT = 5432  # only a part of the socket's name; the server never listens on TCP
SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un.sun_path on Linux, without its final NUL (unix(7))
SUPERUSER = "postgres"
ROLES = ("tallystick_owner", "tallystick_writer", "tallystick_reader", "tallystick_keeper")
CLEAN_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class Identity(TypedDict):
    """Whose process a child shall be, as subprocess wants it."""

    user: int | None
    group: int | None
    extra_groups: Sequence[int] | None


@dataclass(frozen=True)
class Server:
    """Everything needed to start the server of one folder, decided once.

    `folder` is `<data>/postgres`, `uid` and `gid` whose process the server is, `programs` the folder of its
    programs, `sockets` the folder of its socket, `major` its version.
    """

    folder: Path
    programs: Path
    major: int
    uid: int
    gid: int
    sockets: Path

    @property
    def cluster(self) -> Path:
        """The folder that initdb makes and the server owns."""
        return self.folder / "cluster"

    @property
    def log(self) -> Path:
        """The file that the server's messages go to."""
        return self.folder / "log"


def settle(
    folder: Path,
    *,
    programs: Path | None,
    user: str | None,
    runtime_folder: Path | None,
    say: Callable[[str], None],
) -> Server:
    """Make `folder` (`<data>/postgres`) and decide who runs the server in it, from where, on which socket.

    `user` names the account that the server gets when we are root (default: `tallystick` if there is one,
    else `nobody`); a folder that exists keeps its owner. `runtime_folder` is XDG_RUNTIME_DIR or None.
    Raises Misconfigured when no such server can be started, saying what to change.
    """
    make_folder(folder, 0o711 if os.geteuid() == 0 else 0o700)
    programs = programs or programs_of_wheel()
    major = major_version(programs)
    check_version(folder / "cluster", major)
    uid, gid = server_identity(folder / "cluster", user)
    if not can_enter(programs, uid, gid):
        programs = copy_programs(programs, uid, gid, say)
    sockets = socket_folder(folder, uid, gid, runtime_folder)
    return Server(folder, programs, major, uid, gid, sockets)


def make_folder(folder: Path, mode: int) -> None:
    """Make `folder` with `mode`, or raise Misconfigured when the disk or a permission does not allow it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(mode)
    except OSError as error:
        raise Misconfigured(
            f"TALLYSTICK_DATA: cannot use the folder {folder}: {error.strerror}. "
            "Name a folder that you may write to, on a disk with free space."
        ) from error


def check_version(cluster: Path, major: int) -> None:
    """Raise Misconfigured when `cluster` was made by another major version of PostgreSQL than `major`."""
    try:
        found = (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return
    except PermissionError as error:
        raise Misconfigured(
            f"The folder {cluster} belongs to uid {cluster.stat().st_uid} and cannot be read by uid "
            f"{os.geteuid()}. Start Tallystick as that user or as root, or name another folder in TALLYSTICK_DATA."
        ) from error
    if found != str(major):
        raise Misconfigured(
            f"The folder {cluster} holds data of PostgreSQL {found}, but this is PostgreSQL {major}. Nothing was "
            f"changed. Set TALLYSTICK_POSTGRES_BIN to the programs of PostgreSQL {found}, or move the data with "
            "pg_dump and pg_restore (or pg_upgrade) into a new folder."
        )


def server_identity(cluster: Path, user: str | None) -> tuple[int, int]:
    """Return (uid, gid) for the server: ours, or when we are root that of the folder's owner or of `user`."""
    ours = os.geteuid()
    if cluster.exists():
        found = cluster.stat()
        if found.st_uid == 0:
            raise Misconfigured(
                f"The folder {cluster} belongs to root, and PostgreSQL refuses to run as root. Give it to the "
                "account that shall run the database, for example: chown -R nobody " + str(cluster)
            )
        if ours not in (0, found.st_uid):
            raise Misconfigured(
                f"The folder {cluster} belongs to uid {found.st_uid}, you are uid {ours}. Start Tallystick as that "
                "user or as root, or name another folder in TALLYSTICK_DATA."
            )
        return found.st_uid, found.st_gid
    if ours != 0:
        return ours, os.getegid()
    return account(user)


def account(user: str | None) -> tuple[int, int]:
    """Return (uid, gid) of the account that runs the server when we are root, or raise Misconfigured."""
    for name in [user] if user else ["tallystick", "nobody"]:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        if found.pw_uid != 0:
            return found.pw_uid, found.pw_gid
    raise Misconfigured(
        f"TALLYSTICK_POSTGRES_USER: there is no unprivileged account {user or 'nobody'!r} on this machine, and "
        "PostgreSQL refuses to run as root. Name an existing account, or start Tallystick as an ordinary user."
    )


def socket_folder(folder: Path, uid: int, gid: int, runtime_folder: Path | None) -> Path:
    """Return a folder (mode 0700, the server's) for the socket, the recorded one while it still serves.

    It lies in the data folder when the path is short enough for a socket and the server can enter it, else
    below /run (as root), below XDG_RUNTIME_DIR, or in a private folder in the system's temporary folder.
    """
    record = folder / "socket-folder"
    if record.exists():
        found = Path(record.read_text().strip())
        if _is_private(found, uid) and fits_socket(found):
            return found
    chosen = _choose_socket_folder(folder, uid, gid, runtime_folder)
    chosen.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(chosen, uid, gid)
    write_whole(record, f"{chosen}\n".encode(), 0o600)
    return chosen


def _choose_socket_folder(folder: Path, uid: int, gid: int, runtime_folder: Path | None) -> Path:
    inside = folder.resolve() / "socket"
    if fits_socket(inside) and can_enter(folder, uid, gid):
        inside.mkdir(exist_ok=True)
        return inside
    candidates = [Path("/run")] if os.geteuid() == 0 else [runtime_folder] if runtime_folder else []
    for parent in candidates:
        if os.access(parent, os.W_OK) and can_enter(parent, uid, gid):
            return Path(tempfile.mkdtemp(dir=parent, prefix="tallystick-"))
    return Path(tempfile.mkdtemp(dir="/tmp", prefix="tallystick-"))


def _is_private(folder: Path, uid: int) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and stat.S_IMODE(found.st_mode) == 0o700


def fits_socket(folder: Path) -> bool:
    """Tell whether a socket in `folder` has a path short enough for the operating system."""
    return len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_BYTES_MAX


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write `content` to `path` so that after a crash it is there whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    os.replace(name, path)


def passwords(folder: Path, new_password: Callable[[], str]) -> Mapping[str, str]:
    """Return the password of the superuser and of each role, made once and kept in a file only we can read."""
    path = folder / "passwords"
    if not path.exists():
        if (folder / "cluster").exists():
            raise Misconfigured(
                f"The file {path} with the database's passwords is gone. Put it back from your backup; "
                f"without it the data in {folder / 'cluster'} cannot be opened. Nothing was changed."
            )
        made = {name: new_password() for name in (SUPERUSER, *ROLES)}
        write_whole(path, json.dumps(made).encode(), 0o600)
    try:
        return dict(json.loads(path.read_bytes()))
    except ValueError as error:
        raise Misconfigured(f"The file {path} is damaged. Put it back from your backup.") from error


@contextmanager
def handed_over(server: Server, path: Path) -> Iterator[tuple[str, list[int]]]:
    """Give a name of `path` that the server's user can open, and the descriptors a child needs for it."""
    with ExitStack() as stack:
        if can_enter(path.parent, server.uid, server.gid):
            yield str(path), []
            return
        handle = os.open(path, os.O_RDONLY)
        stack.callback(os.close, handle)
        yield f"/proc/self/fd/{handle}", [handle]


def identity_of_child(server: Server) -> Identity:
    """Return the arguments of Popen that make a child run as the server's user, none needed when that is us."""
    if server.uid == os.geteuid():
        return Identity(user=None, group=None, extra_groups=None)
    return Identity(user=server.uid, group=server.gid, extra_groups=())


def make_cluster(server: Server, superuser_password: str) -> None:
    """Run initdb unless the cluster exists; a crash half way leaves nothing that looks like a cluster.

    Raises Misconfigured with initdb's own words when it fails, for instance on a full disk.
    """
    if server.cluster.exists():
        return
    half = server.folder / "cluster.new"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(mode=0o700)
    secret = server.folder / "cluster.password"
    try:
        write_whole(secret, superuser_password.encode(), 0o600)
        if os.geteuid() == 0:
            os.chown(half, server.uid, server.gid)
            os.chown(secret, server.uid, server.gid)
        _initdb(server, half, secret)
        half.rename(server.cluster)
    except OSError as error:
        raise AuditError(f"The database could not be made in {server.folder}: {error.strerror}.") from error
    finally:
        secret.unlink(missing_ok=True)


def _initdb(server: Server, half: Path, secret: Path) -> None:
    locale = (
        ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        if server.major >= 17
        else ["--locale=C.UTF-8"]  # the builtin provider came with PostgreSQL 17
    )
    with handed_over(server, half) as (folder, first), handed_over(server, secret) as (password, second):
        done = subprocess.run(
            [
                *(server.programs / "initdb", "--pgdata", folder, "--username", SUPERUSER),
                *(
                    "--pwfile",
                    password,
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--data-checksums",
                    *locale,
                ),
            ],
            cwd="/",
            env=CLEAN_ENVIRONMENT,
            pass_fds=first + second,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **identity_of_child(server),
        )
    if done.returncode != 0:
        raise Misconfigured(
            f"The database could not be made in {server.folder}: {done.stderr.strip()[-500:]}. "
            "Free space or name another folder in TALLYSTICK_DATA, then start again."
        )
