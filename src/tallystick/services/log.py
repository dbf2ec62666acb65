"""The log as it shows itself: checkpoints, tiles, proofs and receipts, all made from what is stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tallystick.errors import NotFound, Refused
from tallystick.merkle.note import encode_base64
from tallystick.merkle.proof import fold_groups, inclusion_nodes
from tallystick.merkle.tile import TILE_WIDTH, TileId, reader_over, tile_width, tiles_holding
from tallystick.merkle.tlog_proof import TlogProof
from tallystick.services.log_state import consistency_proof, read_tiles
from tallystick.services.sign import Signer
from tallystick.store import logs
from tallystick.store.connect import Connection, Pool, transaction

GROWTH_POINTS = 120


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That the event at `position` is in the log of `size` events: hashes from leaf to root, and a checkpoint.

    `checkpoint` is the newest one; the proof leads to its root when `size` is its size.
    """

    position: int
    size: int
    hashes: list[bytes]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """That the log of `old` events is a prefix of that of `new`, and the newest checkpoint."""

    old: int
    new: int
    hashes: list[bytes]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a log stands: its newest checkpoint, when that was signed, and how it grew, as (size, moment)."""

    checkpoint: str
    origin: str
    size: int
    root: str
    signed_at: datetime | None
    growth: list[tuple[int, datetime]]


class Log:
    """Reads what proves an organization's log; `reader` is a pool of any role that may read."""

    def __init__(self, reader: Pool, signer: Signer) -> None:
        self._pool = reader
        self._signer = signer

    async def checkpoint(self, organization_id: UUID) -> str:
        """Return the newest signed checkpoint as a note; raises NotFound before the first one."""
        async with transaction(self._pool, reading=True, organization=organization_id) as connection:
            return (await self._head(connection, organization_id)).note

    async def standing(self, organization_id: UUID) -> Standing:
        """Return where a log stands, by its newest checkpoint and the retained ones; raises NotFound before the first."""
        async with transaction(self._pool, reading=True, organization=organization_id) as connection:
            found = await self._head(connection, organization_id)
        signed = self._signer.read(self._signer.origin(organization_id), found.note)
        points = await logs.growth(self._pool, organization_id, GROWTH_POINTS)
        if found.note_at is not None:
            points.append((signed.checkpoint.size, found.note_at))
        return Standing(
            checkpoint=found.note, origin=signed.checkpoint.origin, size=signed.checkpoint.size,
            root=encode_base64(signed.checkpoint.root), signed_at=found.note_at, growth=points,
        )  # fmt: skip

    def verifier_keys(self, organization_id: UUID) -> tuple[str, str]:
        """Return the texts of the two public keys: of the log's checkpoints, and of the times beside them."""
        return (
            self._signer.verifier(self._signer.origin(organization_id)).format(),
            self._signer.clock().format(),
        )

    async def tile(self, organization_id: UUID, level: int, index: int, width: int = TILE_WIDTH) -> bytes:
        """Return a tile of `width` hashes of 32 bytes (c2sp.org/tlog-tiles); raises NotFound beyond the log's end."""
        async with transaction(self._pool, reading=True, organization=organization_id) as connection:
            head = await self._head(connection, organization_id)
            if not 0 < width <= tile_width(level, index, head.size):
                raise NotFound(
                    f"A log of {head.size} events has no tile {index} of level {level}, {width} wide."
                )
            ((_, found),) = await read_tiles(connection, organization_id, [TileId(level, index, width)])
        return found

    async def inclusion(
        self, organization_id: UUID, position: int, size: int | None = None
    ) -> InclusionProof:
        """Prove that the event at `position` is in the log of `size` events, by default that of the newest checkpoint.

        Raises Refused when the log has not that many events, NotFound before the first checkpoint.
        """
        async with transaction(self._pool, reading=True, organization=organization_id) as connection:
            head = await self._head(connection, organization_id)
            wanted = _size_within(head.size, size)
            hashes = await inclusion_proof(connection, organization_id, position, wanted)
        return InclusionProof(position, wanted, hashes, head.note)

    async def consistency(self, organization_id: UUID, old: int, new: int | None = None) -> ConsistencyProof:
        """Prove that the log of `old` events is a prefix of that of `new`, by default the newest checkpoint's."""
        async with transaction(self._pool, reading=True, organization=organization_id) as connection:
            head = await self._head(connection, organization_id)
            wanted = _size_within(head.size, new)
            hashes = await consistency_proof(connection, organization_id, old, wanted)
        return ConsistencyProof(old, wanted, hashes, head.note)

    async def receipt(self, organization_id: UUID, position: int) -> str:
        """Return the receipt (c2sp.org/tlog-proof) of the event at `position` under the newest checkpoint."""
        found = await self.inclusion(organization_id, position)
        return TlogProof(position, tuple(found.hashes), found.checkpoint).format()

    async def _head(self, connection: Connection, organization_id: UUID) -> logs.Head:
        head = await logs.head(connection, organization_id)
        if head is None or not head.note:
            raise NotFound("This organization's log has no checkpoint yet: nothing was recorded.")
        return head


async def inclusion_proof(
    connection: Connection, organization_id: UUID, position: int, size: int
) -> list[bytes]:
    """Return the hashes from the leaf at `position` to the root of the log of `size` events."""
    groups = inclusion_nodes(position, size)
    tiles = await read_tiles(connection, organization_id, tiles_holding(groups, size))
    return fold_groups(groups, reader_over(size, tiles))


def _size_within(size: int, wanted: int | None) -> int:
    if wanted is None:
        return size
    if not 0 <= wanted <= size:
        raise Refused(f"The log has {size} events, not {wanted}.", path="/size", rule="out_of_range")
    return wanted
