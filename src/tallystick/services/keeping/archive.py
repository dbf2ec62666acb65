"""A copy before it goes: each removal's range of the log as a JSONL export with its proof, in a folder, checked once written."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO, Final, cast
from uuid import UUID

from tallystick.errors import TryLater
from tallystick.services.export import Export
from tallystick.services.sign import Signer
from tallystick.store import keeping
from tallystick.store.connect import Pool, transaction
from tallystick.verify.export import verify_export
from tallystick.verify.known import Keys
from tallystick.verify.records import ArchiveRecord

PIECE_BYTES: Final = 1 << 18


class Archives:
    """Writes archives of organizations that want them (`config.retention_archive`), below `folder`."""

    def __init__(self, reader: Pool, export: Export, signer: Signer, folder: Path) -> None:
        self._reader = reader
        self._export = export
        self._signer = signer
        self._folder = folder

    async def __call__(self, organization_id: UUID, first: int, end: int) -> ArchiveRecord | None:
        """Write and verify the archive of positions [first, end), None where none is wanted.

        Raises TryLater when it cannot be written or does not verify: then nothing may be removed.
        """
        async with transaction(self._reader, reading=True, organization=organization_id) as connection:
            rows = await keeping.fetch(connection, "archive_wanted", organization=organization_id)
        if not rows or not rows[0]["on"]:
            return None
        name = f"{organization_id}/{first:012d}-{end:012d}.jsonl"
        path = self._folder / name
        try:
            digest, size = await self._write(organization_id, first, end, path)
            await asyncio.to_thread(self._check, organization_id, path)
        except OSError as error:
            raise TryLater(
                f"The archive {path} cannot be written ({error.strerror}). Nothing was removed.",
                retry_after_seconds=60,
            ) from error
        return ArchiveRecord(file=name, sha256=digest, bytes=size)

    async def _write(self, organization_id: UUID, first: int, end: int, path: Path) -> tuple[str, int]:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        digest, size = hashlib.sha256(), 0
        partial = path.with_suffix(".part")
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            async with aclosing(self._export.range(organization_id, first, end)) as pieces:
                async for piece in pieces:
                    digest.update(piece)
                    size += len(piece)
                    file.write(piece)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return digest.hexdigest(), size

    def _check(self, organization_id: UUID, path: Path) -> None:
        keys = (self._signer.verifier(self._signer.origin(organization_id)), self._signer.clock())
        with path.open("rb") as file:
            report = verify_export(_pieces(file), keys=cast(Keys, keys))
        if report.verdict != "proven":
            raise TryLater(
                f"The archive {path} does not verify. Nothing was removed.", retry_after_seconds=60
            )


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece
