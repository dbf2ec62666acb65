"""The rows of an export, a few at a time in the order of positions, with none left out.

However slow its reader, an export holds a bounded number of bytes, and no connection while it waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from tallystick.errors import Tampered, TryLater
from tallystick.store import export as stored
from tallystick.store.connect import Pool

PIECE_ROWS = 64  # rows that go on together: a few milliseconds of rendering before other tasks get a turn
ATTEMPTS_MAX = 5  # at rows that the database does not give; then the export is broken off
PAUSE_SECONDS_MAX = 5.0


@dataclass(frozen=True)
class ExportRows:
    """The rows of one export: those of `selection` at positions from `start` on below `end`."""

    pool: Pool
    selection: stored.Selection
    start: int
    end: int
    pause_seconds_max: float = PAUSE_SECONDS_MAX

    async def pieces(self) -> AsyncGenerator[list[stored.Position]]:
        """Yield up to 64 rows at a time, in order, every position once.

        The database reads the next rows while the caller renders these. One that is away for a moment does not end
        an export of an hour. Raises Tampered at a hole, so that no reader takes what came before for all there is,
        and TryLater when the database stays away.
        """
        position, following = self.start, None
        try:
            rows = await self._chunk(position, stored.CHUNK_ROWS_FIRST) if position < self.end else []
            while position < self.end:
                _check_dense(rows, position)
                position += len(rows)
                if position < self.end:
                    following = asyncio.create_task(self._chunk(position, stored.rows_that_fit(rows)))
                rows.reverse()
                while rows:  # what was handed on is not held here too
                    piece = rows[: -PIECE_ROWS - 1 : -1]
                    del rows[-PIECE_ROWS:]
                    yield piece
                    await asyncio.sleep(0)
                rows = await following if following is not None else []
                following = None
        finally:
            if following is not None:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def _chunk(self, first: int, rows_max: int) -> list[stored.Position]:
        for _ in range(ATTEMPTS_MAX - 1):
            try:
                return await stored.chunk(self.pool, self.selection, first, self.end, rows_max)
            except TryLater as error:
                await asyncio.sleep(min(error.retry_after_seconds, self.pause_seconds_max))
        return await stored.chunk(self.pool, self.selection, first, self.end, rows_max)


def _check_dense(rows: list[stored.Position], position: int) -> None:
    """Raise Tampered unless `rows` begin at `position` and leave none out."""
    if rows and rows[-1].position == position + len(rows) - 1 and rows[0].position == position:
        return
    present = {row.position for row in rows}
    while position in present:
        position += 1
    raise Tampered(
        f"Position {position} is missing from the log, though it counts beyond it: the export was broken off. Run: "
        "tallystick doctor",
        rule="hole",
    )
