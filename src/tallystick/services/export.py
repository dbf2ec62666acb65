"""Exports of the log that prove themselves, streamed in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from msgspec.structs import asdict, replace

from tallystick.errors import NotFound, TryLater
from tallystick.event.moment import instant_text
from tallystick.event.unseal import withhold
from tallystick.formats import parquet
from tallystick.formats.jsonl import ExportRow, JsonlWriter
from tallystick.merkle.note import encode_base64
from tallystick.merkle.range_proof import RangeProof, range_nodes
from tallystick.merkle.tile import reader_over, tiles_holding
from tallystick.query.model import Query, filters_of
from tallystick.query.parse import format
from tallystick.services.export_lines import Count, written
from tallystick.services.export_rows import ExportRows
from tallystick.services.log import inclusion_proof
from tallystick.services.log_state import read_tiles
from tallystick.services.narrow import narrow
from tallystick.services.permissions import EXPORT
from tallystick.services.principal import Principal
from tallystick.services.renderings import writer_of
from tallystick.services.sign import Signer
from tallystick.store import export as stored
from tallystick.store import logs
from tallystick.store.connect import Connection, Pool, transaction
from tallystick.verify.layout import Header, ProofHeader, Rendering

RECORDS_AT_ONCE = 16


class Proven(NamedTuple):
    """A file and the proof beside it, which is read after the file; None of one that proves itself."""

    file: AsyncIterator[bytes]
    proof: AsyncIterator[bytes] | None


class _Begun(NamedTuple):
    """An export whose range is fixed; `tells_all` tells whether its reader sees the whole log."""

    header: Header
    selection: stored.Selection
    tells_all: bool


class Export:
    """Exports organizations' logs; `reader` is a pool of any role that may read, `now` the clock in UTC."""

    def __init__(self, reader: Pool, signer: Signer, *, now: Callable[[], datetime]) -> None:
        self._pool = reader
        self._signer = signer
        self._now = now

    async def jsonl(
        self,
        principal: Principal,
        query: Query,
        *,
        count: Count | None = None,
        withholding: bool = False,
    ) -> AsyncIterator[bytes]:
        """Begin a JSONL export of the events that match and return its bytes, to be sent as they come.

        The log's head is fixed now: events recorded later are not in it. The range is every position that a time
        range in `query` reaches, else the whole log; the page of the query plays no part. Who sees
        a part of the log gets that part in full and the rest as hashes; `withholding` treats everybody so where records
        account for what is gone. `count` is told of the events as they come. Raises Forbidden without the
        permission, NotFound for a log without any checkpoint. The stream raises Tampered at a hole and then lacks
        its last line, so that no reader takes it for complete.
        """
        begun = await self._begin(principal, query, withholding)
        return self._lines(begun, JsonlWriter(begun.header), count)

    async def proven(
        self,
        principal: Principal,
        query: Query,
        rendering: Rendering,
        *,
        count: Count | None = None,
        withholding: bool = False,
    ) -> Proven:
        """Begin an export as another rendering, with its proof. See `jsonl`.

        Raises Misconfigured for Parquet without pyarrow, TooLarge when it could have to hold more hashes than it may.
        """
        principal.require(EXPORT)
        if rendering.format == "parquet":
            parquet.require()
        begun = await self._begin(principal, query, withholding)
        header = begun.header
        said = {name: value for name, value in asdict(header).items() if name != "format"}
        proof_header = ProofHeader(**said, rendering=rendering)
        proof = begun._replace(header=proof_header)
        if rendering.format == "parquet":
            if header.filter and header.end - header.start > parquet.BARE_MAX:
                raise parquet.too_many()
            return Proven(self._lines(proof, parquet.ParquetWriter(proof_header), count), None)
        rows = ExportRows(self._pool, begun.selection, header.start, header.end)
        file = written(rows, writer_of(rendering, header.origin), count)
        return Proven(file, self._lines(proof, JsonlWriter(proof_header)))

    async def range(self, organization_id: UUID, first: int, end: int) -> AsyncGenerator[bytes]:
        """Yield the JSONL export of positions [first, end), all of them in full, for the server's own archives."""
        async with transaction(self._pool, reading=True, organization=organization_id) as connection:
            header = await self._header(connection, organization_id, Query(), (first, end))
            selection = await stored.select(connection, organization_id, Query())
        begun = _Begun(header, selection, True)
        async with aclosing(self._lines(begun, JsonlWriter(header))) as lines:
            async for piece in lines:
                yield piece

    async def _begin(self, principal: Principal, query: Query, withholding: bool) -> _Begun:
        principal.require(EXPORT)
        wanted = narrow(principal, replace(filters_of(query), range=""))
        async with transaction(
            self._pool, reading=True, organization=principal.organization_id
        ) as connection:
            header = await self._header(connection, principal.organization_id, wanted)
            selection = await stored.select(connection, principal.organization_id, wanted)
        return _Begun(header, selection, principal.sees_all and not withholding)

    async def _header(
        self, connection: Connection, organization_id: UUID, query: Query, span: tuple[int, int] | None = None
    ) -> Header:
        head = await logs.head(connection, organization_id)
        if head is None or not head.note:
            raise NotFound(
                "This organization's log has no checkpoint yet: nothing was recorded, nothing can be exported."
            )
        start, end = span or await stored.span(
            connection, organization_id, query.since, query.until, head.size
        )
        proof = await range_proof(connection, organization_id, start, end, head.size)
        origin = self._signer.origin(organization_id)
        return Header(
            origin=origin,
            organization=str(organization_id),
            filter=format(query),
            start=start,
            end=end,
            size=head.size,
            created_at=instant_text(self._now()),
            keys=(self._signer.verifier(origin).format(), self._signer.clock().format()),
            checkpoint=head.note,
            left=tuple(map(encode_base64, proof.left)),
            right=tuple(map(encode_base64, proof.right)),
        )

    async def _lines(
        self, begun: _Begun, writer: JsonlWriter | parquet.ParquetWriter, count: Count | None = None
    ) -> AsyncGenerator[bytes]:
        header, selection, tells_all = begun
        yield writer.begin()
        rows = ExportRows(self._pool, selection, header.start, header.end)
        async with aclosing(rows.pieces()) as pieces:
            async for piece in pieces:
                if count is not None:
                    count(sum(row.leaf is not None for row in piece))
                lines = await _written(writer, [ExportRow(*row) for row in piece])
                if lines:
                    yield lines
        if writer.has_gaps and await stored.removed_since(
            self._pool, selection.organization_id, header.start, header.end, header.size
        ):
            raise TryLater(
                "Events were removed or erased while this export was written, so it was broken off. Begin it again."
            )
        if writer.has_gaps and (header.filter or (header.start, header.end) != (0, header.size)):
            async with aclosing(self._records(header, selection.organization_id, tells_all)) as records:
                async for row, proof in records:
                    yield writer.record(row, proof)
        yield writer.end()

    async def _records(
        self, header: Header, organization_id: UUID, tells_all: bool
    ) -> AsyncGenerator[tuple[ExportRow, list[bytes]]]:
        """Yield the records that account for what is gone of the range, each with its inclusion proof.

        Of who does not see the whole log, everything is withheld but what verifiers compute with: who removed what and
        why may concern what is not shown.
        """
        places = await stored.records_within(
            self._pool, organization_id, header.start, header.end, header.size
        )
        for at in range(0, len(places), RECORDS_AT_ONCE):
            for row in await stored.rows_at(self._pool, organization_id, places[at : at + RECORDS_AT_ONCE]):
                assert row.opening is not None
                assert row.seed is not None
                if not tells_all:
                    opening, seed = withhold(row.opening, row.seed, but=frozenset({"metadata"}))
                    row = row._replace(opening=opening, seed=seed)
                async with transaction(self._pool, reading=True, organization=organization_id) as connection:
                    proof = await inclusion_proof(connection, organization_id, row.position, header.size)
                yield ExportRow(*row), proof


async def _written(writer: JsonlWriter | parquet.ParquetWriter, rows: list[ExportRow]) -> bytes:
    """Have rows written, in a thread where that may take a tenth of a second at once."""
    if isinstance(writer, parquet.ParquetWriter):
        return await asyncio.to_thread(writer.rows, rows)
    return writer.rows(rows)


async def range_proof(
    connection: Connection, organization_id: UUID, start: int, end: int, size: int
) -> RangeProof:
    """Return the O(log n) nodes beside positions [start, end) of a log of `size`, read from tiles and rows."""
    left, right = range_nodes(start, end, size)
    groups = [[node] for node in (*left, *right)]
    read = reader_over(size, await read_tiles(connection, organization_id, tiles_holding(groups, size)))
    return RangeProof(start, end, size, tuple(read(left)), tuple(read(right)))
