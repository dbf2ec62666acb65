"""One export written into its file, and its proof beside it, with its progress told as it goes."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Final

from tallystick.errors import AuditError
from tallystick.services.export import Proven
from tallystick.services.export_lines import Count
from tallystick.store import exports as rows
from tallystick.store.connect import Pool
from tallystick.store.exports import Taken
from tallystick.verify.layout import PROOF_ENDING

PROGRESS_SECONDS: Final = 1.0
Begin = Callable[[Count], Awaitable[Proven]]
_FRESH = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def proof_of(path: Path) -> Path:
    """Return where the proof of an export's file lies."""
    return path.with_name(path.name + PROOF_ENDING)


def remove(path: Path) -> None:
    """Remove an export's file and its proof."""
    path.unlink(missing_ok=True)
    proof_of(path).unlink(missing_ok=True)


class Writing:
    """One export on its way into its file at `path`; `seen` is the sign of life by which it is this server's."""

    def __init__(
        self, writer: Pool, taken: Taken, path: Path, *, seen: datetime, now: Callable[[], datetime]
    ) -> None:
        self._writer, self._taken, self._path, self._seen, self._now = writer, taken, path, seen, now
        self._events = self._bytes = 0
        self._hash = hashlib.sha256()

    async def write(self, begin: Begin, checkpoint: str | None) -> None:
        """Write the file; raises what the stream raises, after the export was marked as failed."""
        try:
            streams = await begin(self._count)
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            written = await self._copy(streams.file, self._path, checkpoint, self._note)
            if written and streams.proof is not None:
                written = await self._copy(
                    streams.proof, proof_of(self._path), checkpoint, lambda piece: None
                )
            if not written:
                remove(self._path)
                return
        except AuditError as error:
            await self._finish("failed", str(error))
            raise
        except OSError as error:
            await self._finish("failed", f"The file could not be written: {error.strerror}.")
            raise
        if not await self._finish("done", None):
            remove(self._path)

    async def _copy(
        self,
        stream: AsyncIterator[bytes],
        path: Path,
        checkpoint: str | None,
        note: Callable[[bytes], None],
    ) -> bool:
        """Write a stream into a file, telling how far it is; False when the export is not ours any more."""
        told = asyncio.get_running_loop().time()
        with os.fdopen(os.open(path, _FRESH, 0o600), "wb") as file:
            async with aclosing(stream):  # pyright: ignore[reportArgumentType]
                async for piece in stream:
                    await asyncio.to_thread(file.write, piece)
                    note(piece)
                    if asyncio.get_running_loop().time() - told > PROGRESS_SECONDS:
                        told = asyncio.get_running_loop().time()
                        if not await self._tell(checkpoint):
                            return False
        return await self._tell(checkpoint)

    def _note(self, piece: bytes) -> None:
        self._hash.update(piece)
        self._bytes += len(piece)

    async def _tell(self, checkpoint: str | None) -> bool:
        seen = self._now()
        still = await rows.change(
            self._writer, "progress", self._taken.organization_id, self._taken.id, self._events, self._bytes,
            seen, checkpoint, self._seen,
        )  # fmt: skip
        self._seen = seen
        return still

    def _count(self, events: int) -> None:
        self._events += events

    async def _finish(self, state: str, failure: str | None) -> bool:
        return await rows.change(
            self._writer, "finish", self._taken.organization_id, self._taken.id, state, self._events, self._bytes,
            self._hash.digest(), self._now(), failure, self._seen,
        )  # fmt: skip
