"""Where one log stands, in memory: all that the next append needs, checked whenever it is read from the database.

Values only; a new one replaces the old one after its commit is certain, so rolling back is forgetting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

from tallystick.errors import Tampered
from tallystick.merkle.append import Tails, tail_ranges
from tallystick.merkle.proof import consistency_nodes, fold_groups
from tallystick.merkle.tile import TILE_WIDTH, TileId, reader_over, subtree_root, tiles_holding
from tallystick.merkle.tree import HASH_BYTES, Frontier, split_hashes
from tallystick.services.sign import Mark, Signer
from tallystick.store import logs
from tallystick.store.append import Place, Start
from tallystick.store.connect import Connection

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LogState:
    """A log after its last append: its tree's right edge, its last stamp, note, and when a note was last retained."""

    frontier: Frontier
    tails: Tails
    received_at: datetime
    note: str
    kept_at: datetime
    subject_epoch: int

    @property
    def place(self) -> Place:
        """The log's place as the database must have it for the next append."""
        return Place(self.frontier.size, b"".join(self.frontier.nodes), self.note, self.subject_epoch)

    def mark(self) -> Mark:
        """The log's size and root."""
        return Mark(self.frontier.size, self.frontier.root())

    def is_at(self, start: Start) -> bool:
        """Tell whether the database has the log exactly here; not so after another server's append, or an edit."""
        return start.place == self.place and start.last_received_at == self.received_at


async def load_state(connection: Connection, organization_id: UUID, start: Start, signer: Signer) -> LogState:
    """Read a log whose lock is held, and check it before anything is built on it.

    The frontier must give the root of the last note, which must be signed by us; the rows and tiles at the right
    edge must give the frontier; no row may lie beyond; and the signer must not have signed anything else.
    Raises Tampered otherwise.
    """
    origin = signer.origin(organization_id)
    frontier = _frontier(start.place, origin)
    _check_note(start.place.note, frontier, origin, signer)
    if await logs.has_rows_beyond(connection, organization_id, frontier.size):
        raise Tampered(f"the log {origin} has rows beyond its end at {frontier.size}: its head was set back")
    found = Mark(frontier.size, frontier.root())
    tails = await _read_tails(connection, organization_id, frontier)

    async def prove(old: Mark) -> list[bytes]:
        return await consistency_proof(connection, organization_id, old.size, found.size)

    await signer.adopt(origin, found, prove)
    kept_at = await logs.kept_at(connection, organization_id)
    return LogState(
        frontier, tails, start.last_received_at, start.place.note, kept_at or EPOCH, start.place.subject_epoch
    )


def _frontier(place: Place, origin: str) -> Frontier:
    if len(place.frontier) % HASH_BYTES:
        raise Tampered(f"the frontier of {origin} is not a number of whole hashes", rule="frontier")
    return Frontier(place.size, split_hashes(place.frontier))


def _check_note(note: str, frontier: Frontier, origin: str, signer: Signer) -> None:
    if not note and not frontier.size:
        return
    signed = signer.read(origin, note).checkpoint
    if (signed.size, signed.root) != (frontier.size, frontier.root()):
        raise Tampered(
            f"the head of {origin} is at {frontier.size} events, but the checkpoint beside it was signed for "
            f"{signed.size} events and another root: the head was edited",
            rule="head",
        )


async def _read_tails(connection: Connection, organization_id: UUID, frontier: Frontier) -> Tails:
    found = {
        level: await _hashes(connection, organization_id, level, first, end)
        for level, (first, end) in enumerate(tail_ranges(frontier.size))
    }
    return Tails.read(frontier, lambda level, first, end: found[level])


async def _hashes(
    connection: Connection, organization_id: UUID, level: int, first: int, end: int
) -> list[bytes]:
    # Hashes of an incomplete tile: the rows' own at level 0, above it the roots of the full tiles below.
    if level == 0:
        return await logs.leaf_hashes(connection, organization_id, first, end)
    places = [(level - 1, index) for index in range(first, end)]
    tiles = await logs.full_tiles(connection, organization_id, places)
    return [_root_of_tile(_present(tiles, *place)) for place in places]


def _root_of_tile(hashes: bytes) -> bytes:
    """Return the root of a full tile. Two servers on one log read its edge at every turn: 250 tiles are 60,000 hashes."""
    digest = sha256(hashes).digest()
    root = _ROOTS.get(digest)
    if root is None:
        if len(_ROOTS) >= _ROOTS_MAX:
            _ROOTS.clear()
        root = _ROOTS[digest] = subtree_root(split_hashes(hashes))
    return root


_ROOTS: dict[bytes, bytes] = {}  # by SHA-256 of the tile's bytes, so that an edited tile is another one
_ROOTS_MAX = 20_000


def _present(tiles: dict[tuple[int, int], bytes], level: int, index: int) -> bytes:
    try:
        return tiles[level, index]
    except KeyError:
        raise Tampered(f"{TileId(level, index).path()} is missing from the database", rule="tile") from None


async def read_tiles(
    connection: Connection, organization_id: UUID, tiles: Sequence[TileId]
) -> list[tuple[TileId, bytes]]:
    """Return the bytes of tiles: full ones as stored or cut, others made from the rows or tiles below them.

    Raises Tampered when something they are made of is missing. They are not checked otherwise: a proof made
    from edited tiles does not verify.
    """
    stored = await logs.full_tiles(connection, organization_id, [(tile.level, tile.index) for tile in tiles])
    found: list[tuple[TileId, bytes]] = []
    for tile in tiles:
        first = tile.index * TILE_WIDTH
        if tile.width == TILE_WIDTH or (tile.level, tile.index) in stored:
            found.append((tile, _present(stored, tile.level, tile.index)[: tile.width * HASH_BYTES]))
        else:
            hashes = await _hashes(connection, organization_id, tile.level, first, first + tile.width)
            found.append((tile, b"".join(hashes)))
    return found


async def consistency_proof(connection: Connection, organization_id: UUID, old: int, new: int) -> list[bytes]:
    """Return the proof that the log of `old` events is a prefix of that of `new`, read from tiles and rows."""
    groups = consistency_nodes(old, new)
    tiles = await read_tiles(connection, organization_id, tiles_holding(groups, new))
    return fold_groups(groups, reader_over(new, tiles))
