"""The log in other products' words or as CSV, one event a line, for lakes, SIEMs and spreadsheets; in bounded memory.

Each line names its log, position and leaf hash, so that it can be verified too (for OCSF see `ocsf.tie`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from msgspec import json
from msgspec.structs import replace

from tallystick.event.render import render as render_event
from tallystick.formats import csv
from tallystick.ocsf import Version, View, render
from tallystick.query.model import Query, filters_of
from tallystick.services.contracts.langfuse import langfuse_row
from tallystick.services.export_rows import PAUSE_SECONDS_MAX, ExportRows
from tallystick.services.narrow import narrow
from tallystick.services.permissions import EXPORT
from tallystick.services.principal import Principal
from tallystick.services.sign import Signer
from tallystick.store import export as stored
from tallystick.store import logs
from tallystick.store.connect import Pool, transaction

_ENCODER = json.Encoder()


Shape = Callable[[dict[str, Any], bytes], dict[str, Any]]
Write = Callable[[dict[str, Any], bytes], bytes]
Count = Callable[[int], None]  # is told how many events each piece holds


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
        self, principal: Principal, query: Query, *, version: Version, view: View, count: Count | None = None
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

        return await self.lines(principal, query, shape, count)

    async def langfuse(
        self, principal: Principal, query: Query, *, count: Count | None = None
    ) -> AsyncIterator[bytes]:
        """Begin an export as rows of Langfuse's audit log; see `lines`."""
        log_name = self._signer.origin(principal.organization_id)
        return await self.lines(
            principal,
            query,
            lambda event, leaf_hash: langfuse_row(event, leaf_hash=leaf_hash, log_name=log_name),
            count,
        )

    async def csv(
        self, principal: Principal, query: Query, *, count: Count | None = None
    ) -> AsyncIterator[bytes]:
        """Begin an export as CSV with a line of headings; see `lines`."""
        return await self._begin(principal, query, csv.row, csv.header(), count)

    async def lines(
        self, principal: Principal, query: Query, shape: Shape, count: Count | None = None
    ) -> AsyncIterator[bytes]:
        """Begin an export of the events that match, in the order of positions, and return its lines as they come.

        The log's head is fixed now: events recorded later are not in it; the page of the query plays no part. An
        empty log gives no line. Raises Forbidden without the permission. The stream raises Tampered at a hole, so
        that no reader takes what came before for all there is.
        """

        def write(event: dict[str, Any], leaf_hash: bytes) -> bytes:
            return _ENCODER.encode(shape(event, leaf_hash)) + b"\n"

        return await self._begin(principal, query, write, b"", count)

    async def _begin(
        self, principal: Principal, query: Query, write: Write, first: bytes, count: Count | None
    ) -> AsyncIterator[bytes]:
        principal.require(EXPORT)
        wanted = narrow(principal, replace(filters_of(query), range=""))
        organization_id = principal.organization_id
        async with transaction(self._pool, reading=True, organization=organization_id) as connection:
            head = await logs.head(connection, organization_id)
            size = 0 if head is None else head.size
            start, end = await stored.span(connection, organization_id, wanted.since, wanted.until, size)
            selection = await stored.select(connection, organization_id, wanted, None)
        return self._lines(
            ExportRows(self._pool, selection, start, end, self._pause_seconds_max), write, first, count
        )

    async def _lines(
        self, rows: ExportRows, write: Write, first: bytes, count: Count | None
    ) -> AsyncIterator[bytes]:
        if first:
            yield first
        async with aclosing(rows.pieces()) as pieces:
            async for piece in pieces:
                lines = [line for row in piece if (line := _line(row, write))]
                if lines:
                    if count is not None:
                        count(len(lines))
                    yield b"".join(lines)


def _line(row: stored.Position, write: Write) -> bytes:
    if row.leaf is None or row.opening is None:
        return b""
    event = render_event(row.leaf, row.opening, row.position, with_changes=False)
    return write(event, row.leaf_hash)
