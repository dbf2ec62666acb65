"""Publishing: checkpoints and tiles of all logs as files that anyone can copy (c2sp.org/tlog-tiles, static layout).

    instance/checkpoint, instance/tile/…      the instance log, its entries included
    o/<organization id>/checkpoint, tile/…    an organization's log: hashes alone, which say nothing but how many there are

Tiles are written first and the checkpoint last, so that a reader never finds a checkpoint whose tiles are not there yet. A
tile that was published with other bytes, or a published checkpoint that this log does not continue, is an error for people.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

from tallystick.errors import Misconfigured, NotFound, Refused, Tampered
from tallystick.merkle.bundle import format_bundle
from tallystick.merkle.checkpoint import Checkpoint
from tallystick.merkle.proof import ProofError, verify_consistency
from tallystick.merkle.tile import TILE_HEIGHT, TileId, tiles_of_size
from tallystick.services import instance_tree
from tallystick.services.instance_log import InstanceLog
from tallystick.services.log import Log
from tallystick.services.outside_tasks import Task
from tallystick.services.sign import Signer
from tallystick.services.witnessing import Witnessing
from tallystick.store import logs
from tallystick.store.connect import EVERY, Pool, transaction

CHECKPOINT = "checkpoint"


class Target(Protocol):
    """A place for files, `/` between the parts of their names. May block; called from a thread."""

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, None when it is not there."""
        ...

    def write(self, path: str, content: bytes, *, immutable: bool) -> bool:
        """Write a file whole or not at all; return whether it was new.

        An immutable file that is there with the same bytes stays; raises Tampered when it has other bytes.
        """
        ...


class Folder:
    """A folder on this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, None when it is not there."""
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, path: str, content: bytes, *, immutable: bool) -> bool:
        """Write a file whole or not at all, on disk before this returns."""
        there = self.read(path)
        if there == content:
            return False
        if there is not None and immutable:
            raise other_bytes(path)
        target = self._root / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            half = target.with_name(f".{target.name}.{os.getpid()}.new")
            with half.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            half.replace(target)
        except OSError as error:
            raise Misconfigured(
                f"Cannot write {target}: {error.strerror}. What was published before is still there."
            ) from error
        return True


def other_bytes(path: str) -> Tampered:
    """Return the error for an immutable file that was published with other bytes."""
    return Tampered(
        f"{path} was published with other bytes than this log has now, and was left as it is. Either the log was rewritten or "
        "set back, or the copy was changed: compare both with 'tallystick verify' before anything else.",
        rule="published",
    )


def target_of(text: str, *, now: Callable[[], datetime], lock_days: int = 0) -> Target:
    """Return the target of a folder's path or an address `s3://bucket/prefix`; raises Misconfigured for anything else."""
    if text.startswith("s3://"):
        from tallystick.services.published_s3 import Bucket

        return Bucket.open(text, now=now, lock_days=lock_days)
    if "://" in text:
        raise Misconfigured(f"Cannot publish to {text[:80]!r}. Write a folder, or s3://bucket/prefix.")
    return Folder(Path(text))


@dataclass(frozen=True, slots=True)
class Published:
    """What one round of publishing did: logs looked at, those with a new checkpoint, and new files."""

    logs: int
    grown: int
    files: int

    def __str__(self) -> str:
        return f"{self.grown} of {self.logs} logs grew, {self.files} new files"


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A log as publishing sees it: its checkpoint, and how its tiles and proofs are read."""

    prefix: str
    note: str
    tile: Callable[[TileId], Awaitable[bytes]]
    prove: Callable[[int, int], Awaitable[list[bytes]]]
    entries: Callable[[int, int], Awaitable[list[bytes]]] | None = None


class Publishing:
    """Publishes the logs of one database; `reader` is a pool of any role that may read."""

    def __init__(
        self, reader: Pool, signer: Signer, log: Log, instance_log: InstanceLog, witnessing: Witnessing
    ) -> None:
        self._reader = reader
        self._signer = signer
        self._log = log
        self._instance_log = instance_log
        self._witnessing = witnessing

    def task(self, target: Target, where: str, every_seconds: float) -> Task:
        """Return publishing to `target`, called `where`, as something to be done every so often."""

        async def do() -> str:
            return f"{where}: {await self.publish(target)}"

        return Task("publish", "publishing", every_seconds, do)

    async def publish(self, target: Target) -> Published:
        """Publish what is new; raises Tampered when what is there contradicts this database, after all other logs are done."""
        grown = files = count = 0
        wrong: list[str] = []
        # The instance log first: the organizations' logs published after it reach every checkpoint that is in it.
        sources = [self._instance(), *(self._organization(one) for one in await self._organizations())]
        for waiting in sources:
            source = await waiting
            if source is None:
                continue
            count += 1
            try:
                new = await self._publish(source, target)
            except (Tampered, ProofError) as error:
                wrong.append(f"{source.prefix}: {error}")
            else:
                grown, files = grown + bool(new), files + new
        if wrong:
            raise Tampered(
                "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""),
                rule="published",
            )
        return Published(count, grown, files)

    async def _organizations(self) -> list[UUID]:
        return [one.organization_id for one in await logs.heads(self._reader)]

    async def _instance(self) -> _Source | None:
        try:
            note = await self._witnessing.to_publish()
        except NotFound:
            return None

        async def prove(old: int, new: int) -> list[bytes]:
            async with transaction(self._reader, reading=True, organization=EVERY) as connection:
                return await instance_tree.consistency_proof(connection, old, new)

        return _Source(
            prefix="instance/",
            note=note,
            tile=self._instance_log.tile,
            prove=prove,
            entries=self._instance_log.entries,
        )

    async def _organization(self, organization_id: UUID) -> _Source | None:
        try:
            note = await self._log.checkpoint(organization_id)
        except NotFound:
            return None

        async def tile(one: TileId) -> bytes:
            return await self._log.tile(organization_id, one.level, one.index, one.width)

        async def prove(old: int, new: int) -> list[bytes]:
            return (await self._log.consistency(organization_id, old, new)).hashes

        return _Source(prefix=f"o/{organization_id}/", note=note, tile=tile, prove=prove)

    async def _publish(self, source: _Source, target: Target) -> int:
        origin = self._origin(source)
        new = self._signer.read(origin, source.note).checkpoint
        stored = await asyncio.to_thread(target.read, source.prefix + CHECKPOINT)
        old = 0 if stored is None else (await self._continued(source, origin, stored, new)).size
        files = 0
        for tile in tiles_of_size(new.size):
            if (tile.index + 1) << (TILE_HEIGHT * (tile.level + 1)) <= old:
                continue  # full when it was published last
            files += await self._put(target, source.prefix + tile.path(), await source.tile(tile))
            if tile.level == 0 and source.entries is not None:
                bundle = format_bundle(await source.entries(tile.index, tile.width))
                files += await self._put(target, source.prefix + tile.entries_path(), bundle)
        if stored is None or source.note.encode() != stored:
            await asyncio.to_thread(
                target.write, source.prefix + CHECKPOINT, source.note.encode(), immutable=False
            )
        return files

    async def _put(self, target: Target, path: str, content: bytes) -> bool:
        return await asyncio.to_thread(target.write, path, content, immutable=True)

    def _origin(self, source: _Source) -> str:
        if source.prefix == "instance/":
            return self._signer.instance
        return self._signer.origin(UUID(source.prefix.split("/")[1]))

    async def _continued(self, source: _Source, origin: str, stored: bytes, new: Checkpoint) -> Checkpoint:
        """Return the checkpoint that is published, once it is shown that this log continues it."""
        try:
            old = self._signer.read(origin, stored.decode("utf-8", "replace")).checkpoint
        except (Refused, Tampered) as error:
            raise Tampered(
                f"the published checkpoint is not one that this server signed: {error}", rule="published"
            ) from error
        if old.size > new.size:
            raise Tampered(
                f"{old.size} entries are published, this log has {new.size}: the database was set back, or is another one. "
                "Nothing was published.",
                rule="published",
            )
        if old.size:
            verify_consistency(old.size, new.size, await source.prove(old.size, new.size), old.root, new.root)
        return old
