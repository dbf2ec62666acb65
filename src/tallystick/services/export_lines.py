"""The log as CSV or in other products' words, for lakes, SIEMs and spreadsheets; in bounded memory.

Each line names its log, position and leaf hash; `Export.proven` gives the proof to put beside such a file.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Literal

from msgspec.structs import replace

from tallystick.ocsf import Version, View
from tallystick.query.model import Query, filters_of
from tallystick.services.export_rows import PAUSE_SECONDS_MAX, ExportRows
from tallystick.services.narrow import narrow
from tallystick.services.permissions import EXPORT
from tallystick.services.principal import Principal
from tallystick.services.renderings import Writer, writer_of
from tallystick.services.sign import Signer
from tallystick.store import export as stored
from tallystick.store import logs
from tallystick.store.connect import Pool, transaction
from tallystick.verify.beside import EventRow
from tallystick.verify.layout import Rendering

Count = Callable[[int], None]  # is told how many events each piece holds


class LineExport:
    """Exports logs as text, one event a line; `reader` is a pool of any role that may read, `product_version` ours."""

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

    def rendering(
        self, format: Literal["csv", "ocsf", "langfuse-jsonl", "parquet"], version: str = "", view: str = ""
    ) -> Rendering:
        """Return what this release would write; `version` and `view` are OCSF's."""
        return Rendering(format, self._product_version, version, view)

    async def ocsf(
        self, principal: Principal, query: Query, *, version: Version, view: View, count: Count | None = None
    ) -> AsyncIterator[bytes]:
        """Begin an export as OCSF; see `lines`."""
        return await self.lines(principal, query, self.rendering("ocsf", version, view), count)

    async def lines(
        self, principal: Principal, query: Query, rendering: Rendering, count: Count | None = None
    ) -> AsyncIterator[bytes]:
        """Begin an export of the events that match, in the order of positions, and return its lines as they come.

        The log's head is fixed now: events recorded later are not in it; the page of the query plays no part. An
        empty log gives no event. Raises Forbidden without the permission. The stream raises Tampered at a hole, so
        that no reader takes what came before for all there is.
        """
        principal.require(EXPORT)
        wanted = narrow(principal, replace(filters_of(query), range=""))
        organization_id = principal.organization_id
        async with transaction(self._pool, reading=True, organization=organization_id) as connection:
            head = await logs.head(connection, organization_id)
            size = 0 if head is None else head.size
            start, end = await stored.span(connection, organization_id, wanted.since, wanted.until, size)
            selection = await stored.select(connection, organization_id, wanted)
        rows = ExportRows(self._pool, selection, start, end, self._pause_seconds_max)
        return written(rows, writer_of(rendering, self._signer.origin(organization_id)), count)


async def written(rows: ExportRows, writer: Writer, count: Count | None) -> AsyncGenerator[bytes]:
    """Yield the rows that are there in full as `writer` writes them; `count` is told of them."""
    if writer.head:
        yield writer.head
    async with aclosing(rows.pieces()) as pieces:
        async for piece in pieces:
            events = [
                EventRow(row.position, row.leaf, row.opening, row.leaf_hash)
                for row in piece
                if row.leaf is not None and row.opening is not None
            ]
            if events:
                if count is not None:
                    count(len(events))
                yield writer.write(events)
