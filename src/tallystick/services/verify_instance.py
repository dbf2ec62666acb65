"""Verifying the instance log in a live database: its entries, its tiles, its head, and what its entries say of the other logs."""

from __future__ import annotations

from tallystick.errors import AuditError
from tallystick.merkle.checkpoint import Checkpoint, parse_checkpoint
from tallystick.merkle.note import parse_note
from tallystick.merkle.tile import TILE_WIDTH, TileId, subtree_root, tile_width
from tallystick.merkle.tree import Frontier, leaf_hash
from tallystick.store import instance_log as stored
from tallystick.store.connect import EVERY, Connection, Pool, transaction
from tallystick.verify.known import Kept
from tallystick.verify.report import Report
from tallystick.verify.trust import Keys, Trust, open_signed, trust


class InstanceCheck:
    """Checks the instance log of one database; `newest` are the last states its entries hold of each log, as kept texts."""

    def __init__(self, reader: Pool, keys: Keys) -> None:
        self.report = Report(subject="instance log")
        self._pool = reader
        self._trusted = trust(keys)
        self._last: dict[str, Checkpoint] = {}
        self._roots: list[bytes] = []

    @property
    def newest(self) -> list[Kept]:
        """Return what the entries say last of each organization's log."""
        return [Kept(f"the instance log on {origin}", one.text()) for origin, one in self._last.items()]

    async def run(self) -> Report:
        """Check everything; appends may go on meanwhile."""
        async with transaction(self._pool, reading=True, organization=EVERY) as connection:
            head = await stored.head(connection)
        if head is None or not head.note:
            self.report.not_proven.append("anything: it has no checkpoint yet")
            return self.report
        try:
            signed = open_signed(head.note, self._trusted).checkpoint
            frontier = await self._read(signed.size)
        except AuditError as error:
            self.report.violate(error.rule, "instance_log_head", str(error))
            return self.report
        self._conclude(head, signed, frontier)
        return self.report

    async def _read(self, size: int) -> Frontier:
        frontier = Frontier()
        for index in range(-(-size // TILE_WIDTH)):
            first, width = index * TILE_WIDTH, tile_width(0, index, size)
            async with transaction(self._pool, reading=True, organization=EVERY) as connection:
                leaves = await stored.leaves(connection, first, first + width)
                hashes = await stored.leaf_hashes(connection, first, first + width)
                computed = [leaf_hash(leaf) for leaf in leaves]
                if computed != hashes:
                    self.report.violate(
                        "leaf", f"entries from {first}", "a stored hash is not that of its entry"
                    )
                if width == TILE_WIDTH:
                    await self._tile(connection, 0, index, computed)
            for at, leaf in enumerate(leaves):
                self._leaf(first + at, leaf)
            frontier = frontier.extend(computed)
        await self._upper()
        return frontier

    async def _tile(self, connection: Connection, level: int, index: int, hashes: list[bytes]) -> None:
        found = await stored.full_tiles(connection, [(level, index)])
        if found.get((level, index)) != b"".join(hashes):
            where = TileId(level, index).path()
            self.report.violate("tile", where, "it is missing, or not of the entries below it")
        if level == 0:
            self._roots.append(subtree_root(hashes))

    async def _upper(self) -> None:
        level, nodes = 1, self._roots
        while len(nodes) >= TILE_WIDTH:
            above: list[bytes] = []
            for index in range(len(nodes) // TILE_WIDTH):
                hashes = nodes[index * TILE_WIDTH : (index + 1) * TILE_WIDTH]
                async with transaction(self._pool, reading=True) as connection:
                    await self._tile(connection, level, index, hashes)
                above.append(subtree_root(hashes))
            level, nodes = level + 1, above

    def _leaf(self, position: int, leaf: bytes) -> None:
        where = f"entry {position}"
        try:
            origin = parse_checkpoint(parse_note(leaf).text).origin
            # An entry has no time beside it, so the clock is not asked for.
            found = open_signed(leaf.decode(), Trust(self._trusted.logs, (), True), origin=origin).checkpoint
        except (AuditError, UnicodeDecodeError) as error:
            self.report.violate("entry", where, f"it is no checkpoint of this instance: {error}")
            return
        before = self._last.get(origin)
        if before and (found.size < before.size or (found.size == before.size and found.root != before.root)):
            self.report.violate("rollback", where, f"{origin} went from {before.size} to {found.size} events")
        self._last[origin] = found

    def _conclude(self, head: stored.InstanceHead, signed: Checkpoint, frontier: Frontier) -> None:
        self.report.facts["entries"] = signed.size
        if frontier.root() != signed.root:
            self.report.violate("root", "instance_log_head", "its entries do not lead to the signed root")
        elif (head.size, head.frontier) != (frontier.size, b"".join(frontier.nodes)):
            self.report.violate(
                "head", "instance_log_head", "its size or right edge is not that of its entries"
            )
        else:
            self.report.proven.append(
                f"{signed.size} entries, complete and in order under its signed checkpoint"
            )
