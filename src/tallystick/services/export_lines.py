"""The log in other products' words, one event a line, for lakes and SIEMs; streamed in bounded memory.

Each line names its log, position and leaf hash, so that it can be verified too (for OCSF see `ocsf.tie`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from msgspec import json
from msgspec.structs import replace

from tallystick.errors import Tampered, TryLater
from tallystick.event.render import render as render_event
from tallystick.ocsf import Version, View, render
from tallystick.query.model import Query, filters_of
from tallystick.services.access import EXPORT, Principal
from tallystick.services.contracts.langfuse import langfuse_row
from tallystick.services.sign import Signer
from tallystick.store import export as stored
from tallystick.store import logs
from tallystick.store.connect import Pool, transaction

_YIELD_EVERY = 64  # events rendered before other tasks get a turn: two or three milliseconds
ATTEMPTS_MAX = 5  # at rows that the database does not give; then the export is broken off
PAUSE_SECONDS_MAX = 5.0
_ENCODER = json.Encoder()


Shape = Callable[[dict[str, Any], bytes], dict[str, Any]]


class LineExport:
    """Exports logs as OCSF or in Langfuse's shape; `reader` is a pool of any role that may read, `product_version` ours."""

    def __init__(
        self,
        reader: Pool,
        signer: Signer,
        *,
        product_version: str,
        pause_seconds_max: float = PAUSE_SECONDS_MAX,
    ) -> None:
        self._pause_seconds_max = pause_seconds_max
        self._pool = reader
        self._signer = signer
        self._product_version = product_version

    async def ocsf(
        self, principal: Principal, query: Query, *, version: Version, view: View
    ) -> AsyncIterator[bytes]:
        """Begin an export as OCSF; see `lines`."""
        log_name = self._signer.origin(principal.organization_id)

        def shape(event: dict[str, Any], leaf_hash: bytes) -> dict[str, Any]:
            return render(
                event,
                version=version,
                view=view,
                leaf_hash=leaf_hash,
                log_name=log_name,
                product_version=self._product_version,
            )

        return await self.lines(principal, query, shape)

    async def langfuse(self, principal: Principal, query: Query) -> AsyncIterator[bytes]:
        """Begin an export as rows of Langfuse's audit log; see `lines`."""
        log_name = self._signer.origin(principal.organization_id)
        return await self.lines(
            principal,
            query,
            lambda event, leaf_hash: langfuse_row(event, leaf_hash=leaf_hash, log_name=log_name),
        )

    async def lines(self, principal: Principal, query: Query, shape: Shape) -> AsyncIterator[bytes]:
        """Begin an export of the events that match, in the order of positions, and return its lines as they come.

        The log's head is fixed now: events recorded later are not in it; the page of the query plays no part. An
        empty log gives no line. Raises Forbidden without the permission. The stream raises Tampered at a hole, so
        that no reader takes what came before for all there is.
        """
        principal.require(EXPORT)
        wanted = replace(filters_of(query), range="")
        organization_id = principal.organization_id
        async with transaction(self._pool, reading=True) as connection:
            head = await logs.head(connection, organization_id)
            size = 0 if head is None else head.size
            start, end = await stored.span(connection, organization_id, wanted.since, wanted.until, size)
            selection = await stored.select(connection, organization_id, wanted, principal.workspace)
        return self._lines(selection, start, end, shape)

    async def _lines(
        self, selection: stored.Selection, position: int, end: int, shape: Shape
    ) -> AsyncIterator[bytes]:
        following: asyncio.Task[list[stored.Position]] | None = None
        try:
            while position < end:
                rows = await (following or self._chunk(selection, position, end))
                _check_dense(rows, position)
                position += len(rows)
                # The database reads the next rows while these are rendered.
                following = (
                    asyncio.create_task(self._chunk(selection, position, end)) if position < end else None
                )
                async for lines in _shaped(rows, shape):
                    yield lines
        finally:
            if following is not None:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def _chunk(self, selection: stored.Selection, position: int, end: int) -> list[stored.Position]:
        """Read the next rows; a database that is away for a moment does not end a pull of an hour."""
        for _ in range(ATTEMPTS_MAX - 1):
            try:
                return await stored.chunk(self._pool, selection, position, end)
            except TryLater as error:
                await asyncio.sleep(min(error.retry_after_seconds, self._pause_seconds_max))
        return await stored.chunk(self._pool, selection, position, end)


async def _shaped(rows: list[stored.Position], shape: Shape) -> AsyncIterator[bytes]:
    lines = bytearray()
    for count, row in enumerate(rows, 1):
        if row.leaf is not None and row.opening is not None:
            event = render_event(row.leaf, row.opening, row.position, with_changes=False)
            lines += _ENCODER.encode(shape(event, row.leaf_hash))
            lines += b"\n"
        if count % _YIELD_EVERY == 0:
            if lines:
                yield bytes(lines)
                lines.clear()
            await asyncio.sleep(0)
    if lines:
        yield bytes(lines)


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
