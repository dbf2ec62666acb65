"""The instance log: the organizations' signed checkpoints as leaves of one small log, which outsiders can watch.

A leaf is a checkpoint with the signatures of its log's own keys and without the clock's, so that a quiet log that is
signed once a minute adds nothing. Appending happens in a task of its own, never while an event is recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tallystick.errors import AuditError, NotFound, Tampered
from tallystick.merkle.append import FullTile, grow
from tallystick.merkle.keys import VerifierKey
from tallystick.merkle.note import Note, parse_note
from tallystick.merkle.tile import TILE_WIDTH, TileId, tile_width
from tallystick.merkle.tlog_proof import TlogProof
from tallystick.merkle.tree import SIZE_MAX, Frontier, leaf_hash
from tallystick.services import instance_tree as tree
from tallystick.services.sign import Mark, Signer
from tallystick.store import instance_log as stored
from tallystick.store.connect import EVERY, Connection, Pool, transaction

GROWTH_SECONDS_MIN = 10.0
QUIET_SECONDS_MAX = 60.0
LEAVES_AT_ONCE = 1000
ROUND_SECONDS = 2.0
_SIGN_AGAIN_SECONDS = QUIET_SECONDS_MAX - 3 * ROUND_SECONDS
INSTANCE = UUID(int=0)


@dataclass(frozen=True, slots=True)
class InstanceStanding:
    """Where the instance log stands: its origin, size, last signed checkpoint and when that was signed."""

    origin: str
    size: int
    checkpoint: str
    signed_at: datetime


def leaf_of(note: str, origin: str) -> bytes:
    """Return the leaf for an organization's checkpoint: its text and the signatures of the keys named `origin`."""
    parsed = parse_note(note)
    return Note(parsed.text, tuple(one for one in parsed.signatures if one.name == origin)).format().encode()


class InstanceLog:
    """Appends to the instance log and reads what proves it.

    `failures` tells by organization what was wrong with its checkpoint in the last round; `INSTANCE` stands for the
    instance log itself. What is wrong with one does not keep the others out.
    """

    def __init__(self, writer: Pool, reader: Pool, signer: Signer, *, now: Callable[[], datetime]) -> None:
        self.failures: dict[UUID, AuditError] = {}
        self._writer = writer
        self._reader = reader
        self._signer = signer
        self._now = now

    @property
    def origin(self) -> str:
        """The instance log's origin: the name of the instance."""
        return self._signer.instance

    def verifier(self) -> VerifierKey:
        """Return the public key that checks its checkpoints."""
        return self._signer.verifier(self.origin)

    def verifier_keys(self) -> tuple[str, str]:
        """Return the texts of two public keys: of its checkpoints, and of the times beside all checkpoints."""
        return self.verifier().format(), self._signer.clock().format()

    def size_of(self, note: str) -> int:
        """Return the size of one of its own checkpoints; raises Tampered unless this signer signed it."""
        return self._signer.read(self.origin, note).checkpoint.size

    async def round(self) -> int:
        """Append what changed, if ten seconds passed since the last time; return how many leaves were added.

        Raises what the signer or the database has against it: nothing was appended then.
        """
        failures: dict[UUID, AuditError] = {}
        at = self._now()
        if not await self._is_due(at):
            self.failures = failures
            return 0
        async with transaction(self._writer, organization=EVERY) as connection:
            head = await stored.lock_head(connection)
            leaves: list[stored.NewLeaf] = []
            if (at - head.grown_at).total_seconds() >= GROWTH_SECONDS_MIN:
                leaves = self._leaves(await stored.changed(connection, LEAVES_AT_ONCE), failures)
            if not leaves and (at - head.note_at).total_seconds() < _SIGN_AGAIN_SECONDS:
                self.failures = failures
                return 0
            old, new = await self._append(connection, head, leaves, at)
        self._signer.confirm(self.origin, new, follows=old)
        self.failures = failures
        return len(leaves)

    async def _is_due(self, at: datetime) -> bool:
        """Tell, without locking anything, whether there may be something to append or to sign: mostly there is not."""
        async with transaction(self._reader, reading=True, organization=EVERY) as connection:
            head = await stored.head(connection)
            if head is None or (at - head.note_at).total_seconds() >= _SIGN_AGAIN_SECONDS:
                return True
            grows = (at - head.grown_at).total_seconds() >= GROWTH_SECONDS_MIN
            return grows and bool(await stored.changed(connection, 1))

    def _leaves(
        self, changed: Sequence[stored.ChangedLog], failures: dict[UUID, AuditError]
    ) -> list[stored.NewLeaf]:
        found: list[stored.NewLeaf] = []
        for one in changed:
            try:
                leaf = self._leaf(one)
            except AuditError as error:
                failures[one.organization_id] = error
            else:
                if leaf != one.leaf:
                    found.append(stored.NewLeaf(one.organization_id, one.size, leaf_hash(leaf), leaf))
        return found

    def _leaf(self, one: stored.ChangedLog) -> bytes:
        origin = self._signer.origin(one.organization_id)
        size = self._signer.read(origin, one.note).checkpoint.size
        if size != one.size or size < (one.leaf_size or 0):
            raise Tampered(
                f"the checkpoint of {origin} is of {size} events, its head says {one.size} and the instance log "
                f"holds one of {one.leaf_size or 0}: the head was set back",
                rule="rollback",
            )
        return leaf_of(one.note, origin)

    async def _append(
        self, connection: Connection, head: stored.InstanceHead, leaves: list[stored.NewLeaf], at: datetime
    ) -> tuple[Mark, Mark]:
        frontier = await self._checked(connection, head)
        old = Mark(frontier.size, frontier.root())
        new, tiles = frontier, list[FullTile]()
        if leaves:
            growth = grow(frontier, [one.leaf_hash for one in leaves])
            tiles, _ = growth.tiles(await tree.read_tails(connection, frontier))
            new = growth.after
        mark = Mark(new.size, new.root())
        note = self._signer.sign(self.origin, mark, extends=old, at=at)
        grown_at = at if leaves else head.grown_at
        moved = stored.InstanceHead(new.size, b"".join(new.nodes), note, at, grown_at)
        await stored.append(connection, head, moved, leaves, tiles)
        return old, mark

    async def _checked(self, connection: Connection, head: stored.InstanceHead) -> Frontier:
        """Return the log's right edge, once the note beside it and the signer's memory agree with it."""
        frontier = Frontier.from_bytes(head.size.to_bytes(8, "big") + head.frontier)
        found = Mark(frontier.size, frontier.root())
        if head.note:
            signed = self._signer.read(self.origin, head.note).checkpoint
            if (signed.size, signed.root) != found:
                raise Tampered(
                    "the head of the instance log is not what was signed: it was edited", rule="head"
                )

        async def prove(old: Mark) -> list[bytes]:
            return await tree.consistency_proof(connection, old.size, found.size)

        await self._signer.adopt(self.origin, found, prove)
        return frontier

    async def standing(self) -> InstanceStanding | None:
        """Return where the instance log stands, None before its first append."""
        async with transaction(self._reader, reading=True, organization=EVERY) as connection:
            head = await stored.head(connection)
        if head is None or not head.note:
            return None
        return InstanceStanding(self.origin, head.size, head.note, head.note_at)

    async def checkpoint(self) -> str:
        """Return the newest signed checkpoint as a note; raises NotFound before the first one."""
        found = await self.standing()
        if found is None:
            raise NotFound(
                "The instance log has no checkpoint yet. The first one comes within seconds of the start."
            )
        return found.checkpoint

    async def tile(self, tile: TileId) -> bytes:
        """Return a tile of hashes (c2sp.org/tlog-tiles); raises NotFound beyond the log's end."""
        async with transaction(self._reader, reading=True, organization=EVERY) as connection:
            await self._within(connection, tile)
            ((_, found),) = await tree.read_tiles(connection, [tile])
        return found

    async def entries(self, index: int, width: int) -> list[bytes]:
        """Return the leaves of a bundle of `width` entries; raises NotFound beyond the log's end."""
        async with transaction(self._reader, reading=True, organization=EVERY) as connection:
            await self._within(connection, TileId(0, index, width))
            first = index * TILE_WIDTH
            return await stored.leaves(connection, first, first + width)

    async def _within(self, connection: Connection, tile: TileId) -> None:
        head = await stored.head(connection)
        if not 0 < tile.width <= tile_width(tile.level, tile.index, head.size if head else 0):
            raise NotFound("The instance log has no such tile.")

    async def anchor(
        self, organization_id: UUID, *, size: int = SIZE_MAX, checkpoint: str | None = None
    ) -> str:
        """Return the proof that an organization's checkpoint is in the instance log, that checkpoint included.

        It is the newest of at most `size` events under `checkpoint`, a signed note of the instance log, by default the
        newest. The text is a tlog-proof@v1 whose extra bytes are the leaf. Raises NotFound when there is none.
        """
        note = checkpoint or await self.checkpoint()
        within = self._signer.read(self.origin, note).checkpoint.size
        async with transaction(self._reader, reading=True, organization=EVERY) as connection:
            leaf = await stored.newest_leaf(connection, organization_id, within, size)
            if leaf is None:
                raise NotFound("No checkpoint of this organization is in the instance log yet.")
            proof = await tree.inclusion_proof(connection, leaf.position, within)
        return TlogProof(leaf.position, tuple(proof), note, leaf.leaf).format()

    async def run(self, round_seconds: float = ROUND_SECONDS) -> None:
        """Append round by round until cancelled; what goes wrong stands in `failures` until a round goes well."""
        while True:
            try:
                await self.round()
            except AuditError as error:
                self.failures = {INSTANCE: error}
            await asyncio.sleep(round_seconds)
