"""A backup: one file that holds the database, the keys and the signer's memory, and says what it holds.

    manifest.json    what follows, with the hash of each; where every log stands
    database.dump    pg_dump's custom format
    keys/*           the instance's secrets: whoever has the backup can sign as this server
    signer/*.state   how far each log was signed when the backup began
    instance         the name in every origin

A plain tar, so that it can be looked into without us.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, BinaryIO, Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from tallystick.errors import Misconfigured, Refused

DATABASE = "database.dump"
MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 64 << 20
PIECE_BYTES = 1 << 20
_SAFE_NAME = re.compile(
    r"keys/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,100}|signer/[0-9a-f]{32}\.state|instance|database\.dump"
)
_NEEDED = ("keys/signing.key", "instance", DATABASE)


class Member(Struct, frozen=True, kw_only=True):
    """One file of a backup."""

    name: str
    size_bytes: int
    sha256: str


class LogEnd(Struct, frozen=True, kw_only=True):
    """Where one log stands in a backup: its size, and the note that signs it."""

    organization_id: UUID
    size: int
    checkpoint: str


class Manifest(Struct, frozen=True, kw_only=True):
    """What a backup says of itself."""

    format: Literal["tallystick backup 1"] = "tallystick backup 1"
    product_version: str
    instance: str
    made_at: datetime
    logs: list[LogEnd]
    members: list[Member]

    @property
    def events(self) -> int:
        """How many events it holds, of all organizations."""
        return sum(one.size for one in self.logs)


def refuse_to_replace(to: Path) -> None:
    """Raise Refused when there is a file `to`: it may be the only backup of something."""
    if to.exists():
        raise Refused(f"There is a file {to} already. Nothing was replaced; choose another name.")


def read_small_files(data: Path) -> dict[str, bytes]:
    """Return the files of a data folder that belong to a backup, by name; read them *before* the database is dumped.

    A signer's memory from before the dump never claims more than the dump holds, so that the restored server starts.
    """
    paths = [
        *sorted((data / "keys").glob("*.key")),
        *sorted((data / "signer").glob("*.state")),
        data / "instance",
    ]
    return {path.relative_to(data).as_posix(): _read_settled(path) for path in paths}


def _read_settled(path: Path) -> bytes:
    # A server that shares the folder replaces a state under this lock.
    with path.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        return stream.read()


def write_backup(
    to: Path,
    small: Mapping[str, bytes],
    database: Path,
    *,
    logs: Sequence[LogEnd],
    product_version: str,
    made_at: datetime,
) -> Manifest:
    """Write a backup, whole or not at all, readable by its owner alone; an existing file is never replaced.

    Args:
        to: where it goes.
        small: what `read_small_files` gave.
        database: the dump; `logs` is where every log stands in it.
        product_version: of the code that made it.
        made_at: when the dump began.

    Raises:
        Refused: there is a file of this name.
    """
    members = [_describe(name, io.BytesIO(content)) for name, content in small.items()]
    with database.open("rb") as stream:
        members.append(_describe(DATABASE, stream))
    manifest = Manifest(
        product_version=product_version,
        instance=small["instance"].decode().strip(),
        made_at=made_at,
        logs=list(logs),
        members=members,
    )
    half = to.with_name(f".{to.name}.{os.getpid()}.half")
    try:
        with _private(half) as out, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
            _add(archive, MANIFEST, io.BytesIO(msgspec.json.format(msgspec.json.encode(manifest))), made_at)
            for name, content in small.items():
                _add(archive, name, io.BytesIO(content), made_at)
            with database.open("rb") as stream:
                _add(archive, DATABASE, stream, made_at)
        os.link(half, to)  # refuses to overwrite, unlike a rename
    except FileExistsError:
        refuse_to_replace(to)
        raise
    finally:
        half.unlink(missing_ok=True)
    return manifest


@contextmanager
def _private(path: Path) -> Iterator[IO[bytes]]:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as out:
        yield out
        out.flush()
        os.fsync(out.fileno())


def _describe(name: str, stream: BinaryIO) -> Member:
    digest, size = hashlib.sha256(), 0
    while piece := stream.read(PIECE_BYTES):
        digest.update(piece)
        size += len(piece)
    return Member(name=name, size_bytes=size, sha256=digest.hexdigest())


def _add(archive: tarfile.TarFile, name: str, stream: IO[bytes], at: datetime) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = stream.seek(0, os.SEEK_END)
    entry.mode, entry.mtime = 0o600, int(at.timestamp())
    stream.seek(0)
    archive.addfile(entry, stream)


def read_manifest(backup: Path) -> Manifest:
    """Return what a backup says of itself, without reading the rest.

    Raises Refused when it is not a backup, or of a later format.
    """
    with _opened(backup) as archive:
        return _manifest(archive, backup)


def unpack(backup: Path, data: Path) -> Manifest:
    """Write a backup's files below `data`, each checked against its hash, the dump as `database.dump`.

    Raises:
        Refused: it is not a backup, or not whole; what was written so far stays, for the caller to remove.
    """
    with _opened(backup) as archive:
        manifest = _manifest(archive, backup)
        due = {member.name: member for member in manifest.members}
        for entry in archive:
            if entry.offset == 0:
                continue  # the manifest itself
            member = due.pop(entry.name, None)
            if member is None or not entry.isreg() or entry.size != member.size_bytes:
                raise _not_whole(backup, f"{entry.name[:100]!r} is not what its manifest says")
            source = archive.extractfile(entry)
            assert source is not None
            if _write(data / member.name, source) != member.sha256:
                raise _not_whole(backup, f"{member.name} was changed")
        if due:
            raise _not_whole(backup, f"{min(due)} is missing")
    return manifest


def _write(path: Path, source: IO[bytes]) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with _private(path) as out:
        while piece := source.read(PIECE_BYTES):
            digest.update(piece)
            out.write(piece)
    return digest.hexdigest()


@contextmanager
def _opened(backup: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(backup, mode="r:") as archive:
            yield archive
    except (tarfile.TarError, EOFError) as error:
        raise _not_whole(backup, str(error)) from error
    except OSError as error:
        raise Misconfigured(f"{backup} cannot be read: {error.strerror or error}.") from error


def _manifest(archive: tarfile.TarFile, backup: Path) -> Manifest:
    first = archive.next()
    if first is None or first.name != MANIFEST or not first.isreg() or first.size > MANIFEST_BYTES_MAX:
        raise Refused(f"{backup} is not a backup of Tallystick: it does not begin with {MANIFEST}.")
    source = archive.extractfile(first)
    assert source is not None
    try:
        found = msgspec.json.decode(source.read(), type=Manifest)
    except msgspec.DecodeError as error:
        raise Refused(f"{backup} is not a backup that this version can read: {error}.") from error
    names = [member.name for member in found.members]
    strange = [name for name in names if not _SAFE_NAME.fullmatch(name)]
    missing = [name for name in _NEEDED if name not in names]
    if strange or missing or len(set(names)) < len(names):
        raise _not_whole(
            backup, "its manifest names files that no backup has, or lacks some that every backup has"
        )
    return found


def _not_whole(backup: Path, why: str) -> Refused:
    return Refused(
        f"{backup} is not whole: {why}. Take another copy of the backup. The file itself was not touched."
    )
