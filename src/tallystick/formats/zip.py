"""Puts streams into one ZIP archive that is sent while it is made; nothing of it is held."""

from __future__ import annotations

import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final, cast

LEVEL: Final = 1  # text of events is a sixth of its size at the first level, and not much less at the ninth
# The same files make the same archive: no clock here, and the days before 1980 do not exist in a ZIP.
_NO_TIME: Final = (1980, 1, 1, 0, 0, 0)


class _Sent:
    """Where a ZipFile writes: what came since the last look."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        joined, self._pieces = b"".join(self._pieces), []
        return joined


async def zipped(members: Sequence[tuple[str, AsyncIterator[bytes]]]) -> AsyncGenerator[bytes]:
    """Yield an archive of these files, one after the other as they come; a file of any size is taken.

    What a stream raises breaks the archive off, before its directory: no reader takes it for complete.
    """
    sent = _Sent()
    archive = zipfile.ZipFile(cast(Any, sent), "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL)
    try:
        for name, stream in members:
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
            with archive.open(entry, "w", force_zip64=True) as member:
                async with aclosing(cast(AsyncGenerator[bytes], stream)):
                    async for piece in stream:
                        member.write(piece)
                        if made := sent.take():
                            yield made
    finally:
        archive.close()  # writes the directory; after a failure nobody is sent it
    yield sent.take()
