"""The tree of a stored log: leaf hashes put into the order of their positions, tiles and roots computed from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple

from tallystick.merkle.append import Tails, grow
from tallystick.merkle.tile import TILE_WIDTH
from tallystick.merkle.tree import HASH_BYTES, Frontier
from tallystick.verify.history import History, Milestone
from tallystick.verify.positions import Positions
from tallystick.verify.report import Report

CHUNK_ROWS: Final = 4096
WAITING_MAX: Final = 500_000  # rows that came before their turn, about 100 MB
DIGEST_BYTES: Final = 16

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Place(NamedTuple):
    """What of a row its neighbours matter for."""

    leaf_hash: bytes
    received_at: datetime | None  # None of an event that was removed


def tile_digest(hashes: bytes) -> bytes:
    """Return 16 bytes that stand for a tile while both sides of a comparison are collected."""
    return sha256(hashes).digest()[:DIGEST_BYTES]


class LogTree:
    """Takes rows in any order, grows the tree in order, and notes holes, repeats and times that go back.

    `tiles` holds the digest of each full tile that the rows make; `months` the first position of each month.
    After a hole the tree cannot be continued: `broken` is the position of the first one, None while all is well.
    Events at positions in `removed` have no row: their hashes come from `tile_hashes`, the full tiles of level 0.
    """

    def __init__(
        self,
        report: Report,
        milestones: Iterable[Milestone],
        wanted: Iterable[int],
        removed: Positions | None = None,
        tile_hashes: Mapping[int, bytes] | None = None,
    ) -> None:
        self.history = History(milestones=milestones, wanted=wanted)
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.months: dict[datetime, int] = {}
        self.size = 0
        self.last_received_at = EPOCH
        self.broken: int | None = None
        self._report = report
        self._frontier, self._tails = Frontier(), Tails()
        self._chunk: list[bytes] = []
        self._waiting: dict[int, Place] = {}
        self._removed, self._tile_hashes = removed or Positions(), tile_hashes or {}
        self._pass_removed()

    def add(self, position: int, place: Place) -> None:
        """Take one row."""
        if position < self.size or position in self._waiting:
            self._report.violate(
                "repeated", f"position {position}", "the position stands more than once in the log"
            )
        elif position > self.size:
            self._waiting[position] = place
            if len(self._waiting) > WAITING_MAX:
                self._skip_hole()
        else:
            self._take(place)
            self._pass_removed()
            while self._waiting and (next_one := self._waiting.pop(self.size, None)):
                self._take(next_one)
                self._pass_removed()

    def finish(self) -> Frontier:
        """Take what still waits, behind its holes, and return the frontier of the rows before the first hole."""
        while self._waiting:
            self._skip_hole()
        if self._chunk:
            self._grow()
        return self._frontier

    def _skip_hole(self) -> None:
        end = min(self._waiting)
        self._report.violate(
            "hole", f"position {self.size}", f"{end - self.size} events are missing before position {end}"
        )
        self._grow()
        self.broken = self.size if self.broken is None else self.broken
        self.size = end
        while next_one := self._waiting.pop(self.size, None):
            self._take(next_one)
            self._pass_removed()

    def _pass_removed(self) -> None:
        """Take the hashes of events that were removed from here on."""
        if not self._removed or self.size not in self._removed:
            return
        ((_, end),) = self._removed.within(self.size, 1 << 62).ranges[:1]
        while self.size < end:
            index, at = divmod(self.size, TILE_WIDTH)
            leaf_hash = self._tile_hashes.get(index, b"")[at * HASH_BYTES : (at + 1) * HASH_BYTES]
            if len(leaf_hash) != HASH_BYTES:
                return  # a hole like any other: nothing says what was there
            self._take(Place(leaf_hash, None))

    def _take(self, place: Place) -> None:
        if place.received_at is not None:
            self._date(place.received_at)
        self.size += 1
        if self.broken is None:
            self._chunk.append(place.leaf_hash)
            if len(self._chunk) >= CHUNK_ROWS:
                self._grow()

    def _date(self, received_at: datetime) -> None:
        if received_at < self.last_received_at:
            self._report.violate(
                "back_dated", f"position {self.size}", "it was received before the event in front of it"
            )
        self.last_received_at = received_at
        month = received_at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        self.months.setdefault(month, self.size)

    def _grow(self) -> None:
        chunk, self._chunk = self._chunk, []
        self.history.add(chunk)
        growth = grow(self._frontier, chunk)
        tiles, self._tails = growth.tiles(self._tails)
        self._frontier = growth.after
        for tile in tiles:
            self.tiles[tile.level, tile.index] = tile_digest(tile.hashes)
