"""The tree of a stored log: leaf hashes put into the order of their positions, tiles and roots computed from them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple

from tallystick.merkle.append import Tails, grow
from tallystick.merkle.tree import Frontier
from tallystick.verify.history import History, Milestone
from tallystick.verify.report import Report

CHUNK_ROWS: Final = 4096
WAITING_MAX: Final = 500_000  # rows that came before their turn, about 100 MB
DIGEST_BYTES: Final = 16

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Place(NamedTuple):
    """What of a row its neighbours matter for."""

    leaf_hash: bytes
    received_at: datetime


def tile_digest(hashes: bytes) -> bytes:
    """Return 16 bytes that stand for a tile while both sides of a comparison are collected."""
    return sha256(hashes).digest()[:DIGEST_BYTES]


class LogTree:
    """Takes rows in any order, grows the tree in order, and notes holes, repeats and times that go back.

    `tiles` holds the digest of each full tile that the rows make; `months` the first position of each month.
    After a hole the tree cannot be continued: `broken` is the position of the first one, None while all is well.
    """

    def __init__(self, report: Report, milestones: Iterable[Milestone], wanted: Iterable[int]) -> None:
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
            while self._waiting and (next_one := self._waiting.pop(self.size, None)):
                self._take(next_one)

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

    def _take(self, place: Place) -> None:
        if place.received_at < self.last_received_at:
            self._report.violate(
                "back_dated", f"position {self.size}", "it was received before the event in front of it"
            )
        self.last_received_at = place.received_at
        month = place.received_at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        self.months.setdefault(month, self.size)
        self.size += 1
        if self.broken is None:
            self._chunk.append(place.leaf_hash)
            if len(self._chunk) >= CHUNK_ROWS:
                self._grow()

    def _grow(self) -> None:
        chunk, self._chunk = self._chunk, []
        self.history.add(chunk)
        growth = grow(self._frontier, chunk)
        tiles, self._tails = growth.tiles(self._tails)
        self._frontier = growth.after
        for tile in tiles:
            self.tiles[tile.level, tile.index] = tile_digest(tile.hashes)
