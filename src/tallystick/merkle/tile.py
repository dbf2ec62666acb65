"""C2SP tlog-tiles: where a node lies, what a tile is called, and reading node hashes out of tiles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from tallystick.errors import Refused, Tampered
from tallystick.merkle.proof import Node, NodeGroups, ReadHashes
from tallystick.merkle.tree import HASH_BYTES, SIZE_MAX, parents, split_hashes

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
TILE_LEVEL_MAX: Final = 63
ENTRIES: Final = "entries"

_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, slots=True, order=True)
class TileId:
    """A tile's place: `index`-th tile of tile level `level`, `width` hashes wide, 256 when full."""

    level: int
    index: int
    width: int = TILE_WIDTH

    def path(self) -> str:
        """Return the C2SP path, such as `tile/0/x001/234.p/17`."""
        return tile_path(str(self.level), self.index, self.width)

    def entries_path(self) -> str:
        """Return the path of the entries whose hashes a level 0 tile holds, such as `tile/entries/000`."""
        return tile_path(ENTRIES, self.index, self.width)

    @classmethod
    def parse(cls, path: str) -> Self:
        """Read what `path` wrote; raises Refused for any other text, entries paths included."""
        level, index, width = parse_tile_path(path)
        if level == ENTRIES:
            raise Refused(f"{path[:80]!r} names entries, not a tile of hashes", rule="tile_path")
        return cls(int(level), index, width)


def tile_path(level: str, index: int, width: int = TILE_WIDTH) -> str:
    """Return the C2SP tlog-tiles path of tile `index` of `level` (a number or "entries")."""
    last, rest = f"{index % 1000:03}", index // 1000
    while rest:
        last, rest = f"x{rest % 1000:03}/{last}", rest // 1000
    return f"tile/{level}/{last}" + ("" if width == TILE_WIDTH else f".p/{width}")


def parse_tile_path(path: str) -> tuple[str, int, int]:
    """Return (level or "entries", index, width) of a C2SP tlog-tiles path.

    Raises Refused for any text that `tile_path` would not write: one tile has one name.
    """
    match = _PATH.fullmatch(path) if len(path) <= 100 else None
    if match:
        level, index = match["level"], int(re.sub("[x/]", "", match["index"]))
        width = int(match["width"] or TILE_WIDTH)
        in_range = level == ENTRIES or int(level) <= TILE_LEVEL_MAX
        if in_range and index <= SIZE_MAX and tile_path(level, index, width) == path and width <= TILE_WIDTH:
            return level, index, width
    raise Refused(f"{path[:80]!r} is not a path of a tile (c2sp.org/tlog-tiles)", rule="tile_path")


def tile_width(level: int, index: int, size: int) -> int:
    """Return how many hashes tile `index` of tile level `level` holds in a log of `size`: 0 to 256."""
    return max(0, min(TILE_WIDTH, (size >> (TILE_HEIGHT * level)) - TILE_WIDTH * index))


def tiles_of_size(size: int) -> list[TileId]:
    """Return every tile of a log of `size` leaves, full and partial, level by level."""
    found: list[TileId] = []
    level = 0
    while nodes := size >> (TILE_HEIGHT * level):
        for index in range(-(-nodes // TILE_WIDTH)):
            found.append(TileId(level, index, tile_width(level, index, size)))
        level += 1
    return found


def tile_of(node: Node, size: int) -> TileId:
    """Return the tile that gives the hash of the complete `node` in a log of `size` leaves.

    Raises Refused when the log has no such complete node.
    """
    if (node.index + 1) << node.level > size or node.index < 0:
        raise Refused(
            f"a log of {size} leaves has no complete node {node.index} at level {node.level}",
            rule="out_of_range",
        )
    level, height = divmod(node.level, TILE_HEIGHT)
    index = node.index >> (TILE_HEIGHT - height)
    return TileId(level, index, tile_width(level, index, size))


def tiles_holding(groups: NodeGroups, size: int) -> list[TileId]:
    """Return the tiles to fetch, each once, for the node groups of a proof in a log of `size` leaves."""
    return sorted({tile_of(node, size) for group in groups for node in group})


def check_tile(tile: TileId, stored: bytes) -> bytes:
    """Return `stored` when it is exactly as wide as `tile` says; raises Tampered otherwise."""
    if len(stored) != tile.width * HASH_BYTES:
        raise Tampered(
            f"{tile.path()} has {len(stored)} bytes, not {tile.width * HASH_BYTES}", rule="tile_width"
        )
    return stored


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over a power of two of `hashes`."""
    while len(hashes) > 1:
        hashes = parents(hashes)
    return hashes[0]


class TileHashReader:
    """Serves node hashes of a log of `size` leaves out of tiles: pass it as `read` to the proof functions.

    `read_tile` returns the bytes of a tile: a full one whole, a partial one cut to exactly the width
    asked for. Each tile is read once for each reader. Tiles are not trusted: a proof made from edited
    tiles does not verify, and bytes too many or too few are refused at once (Tampered).
    """

    def __init__(self, size: int, read_tile: Callable[[TileId], bytes]) -> None:
        self.size = size
        self._read_tile = read_tile
        self._tiles: dict[TileId, bytes] = {}

    def __call__(self, nodes: Sequence[Node]) -> list[bytes]:
        """Return the hash of each node; raises Refused for a node outside the log, Tampered for a bad tile."""
        return [self._node_hash(node) for node in nodes]

    def _node_hash(self, node: Node) -> bytes:
        tile = tile_of(node, self.size)
        stored = self._tiles.get(tile)
        if stored is None:
            stored = self._tiles[tile] = check_tile(tile, self._read_tile(tile))
        height = node.level % TILE_HEIGHT
        first = (node.index << height) % TILE_WIDTH
        return subtree_root(split_hashes(stored[first * HASH_BYTES : (first + (1 << height)) * HASH_BYTES]))


def reader_over(size: int, tiles: Iterable[tuple[TileId, bytes]]) -> ReadHashes:
    """Return a reader over tiles fetched beforehand (see `tiles_holding`), for callers that fetch asynchronously."""
    return TileHashReader(size, dict(tiles).__getitem__)
