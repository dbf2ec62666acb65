"""What a log shows of itself: checkpoints, tiles and proofs that strangers can check."""

from __future__ import annotations

from itertools import pairwise
from uuid import UUID

import pytest

from services.appending import LOG, Clock, LogUnderTest, events
from tallystick.errors import NotFound, Refused
from tallystick.merkle.checkpoint import Checkpoint, open_checkpoint
from tallystick.merkle.cosignature import split_cosignature
from tallystick.merkle.keys import VerifierKey
from tallystick.merkle.proof import verify_consistency, verify_inclusion
from tallystick.merkle.tile import TileId, tiles_of_size
from tallystick.merkle.tree import EMPTY_ROOT, root_of
from tallystick.services.heartbeat import Heartbeat
from tallystick.store import organizations
from tallystick.store.connect import EVERY, transaction

SIZE = 700


async def leaf_hashes(log: LogUnderTest) -> list[bytes]:
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        rows = await connection.fetch("SELECT leaf_hash FROM audit_logs ORDER BY position")
    return [row["leaf_hash"] for row in rows]


async def opened(log: LogUnderTest) -> Checkpoint:
    note = await log.log.checkpoint(LOG)
    return open_checkpoint(note, [log.verifier], origin=log.signer.origin(LOG)).checkpoint


async def test_no_checkpoint_before_the_first_event(log: LogUnderTest) -> None:
    """A log without anything in it must say so, not fail."""
    for call in (log.log.checkpoint(LOG), log.log.tile(LOG, 0, 0, 1), log.log.receipt(LOG, 0)):
        with pytest.raises(NotFound):
            await call


async def test_tiles_give_the_root(log: LogUnderTest) -> None:
    """A reader that fetches the tiles must come to the root of the checkpoint."""
    await log.append(events(SIZE))
    checkpoint = await opened(log)
    hashes = b"".join(
        [
            await log.log.tile(LOG, tile.level, tile.index, tile.width)
            for tile in tiles_of_size(SIZE)
            if not tile.level
        ]
    )
    leaves = [hashes[at : at + 32] for at in range(0, len(hashes), 32)]
    assert leaves == await leaf_hashes(log)
    assert (checkpoint.size, checkpoint.root) == (SIZE, root_of(leaves))
    top = await log.log.tile(LOG, 1, 0, 2)
    assert top == root_of(leaves[:256]) + root_of(leaves[256:512])


async def test_narrower_tiles_of_a_grown_log(log: LogUnderTest) -> None:
    """A reader that still holds an older checkpoint asks for tiles as they were: they must still be there."""
    await log.append(events(SIZE))
    full = await log.log.tile(LOG, 0, 1)
    assert await log.log.tile(LOG, 0, 1, 17) == full[: 17 * 32]


@pytest.mark.parametrize(
    "tile", [TileId(0, 2, 189), TileId(0, 3, 1), TileId(1, 0, 3), TileId(2, 0, 1), TileId(0, 0, 0)]
)
async def test_tiles_beyond_the_log(log: LogUnderTest, tile: TileId) -> None:
    """A tile of hashes that do not exist must be absent, not empty or padded."""
    await log.append(events(SIZE))
    with pytest.raises(NotFound):
        await log.log.tile(LOG, tile.level, tile.index, tile.width)


async def test_inclusion_at_every_size(log: LogUnderTest) -> None:
    """An inclusion proof against any checkpoint someone kept must verify."""
    await log.append(events(SIZE))
    leaves = await leaf_hashes(log)
    for size in (1, 2, 255, 256, 257, 511, 699, SIZE):
        for position in {0, size // 2, size - 1}:
            found = await log.log.inclusion(LOG, position, size)
            verify_inclusion(position, size, leaves[position], found.hashes, root_of(leaves[:size]))
    assert (await log.log.inclusion(LOG, 5)).size == SIZE


async def test_consistency_of_every_pair(log: LogUnderTest) -> None:
    """A kept checkpoint must be provable as a prefix of today's log."""
    await log.append(events(SIZE))
    leaves = await leaf_hashes(log)
    sizes = (1, 3, 255, 256, 300, 512, SIZE)
    for old in sizes:
        for new in (size for size in sizes if size >= old):
            found = await log.log.consistency(LOG, old, new)
            verify_consistency(old, new, found.hashes, root_of(leaves[:old]), root_of(leaves[:new]))


async def test_sizes_the_log_has_not(log: LogUnderTest) -> None:
    """Proofs about events that do not exist must be refused."""
    await log.append(events(3))
    for call in (
        log.log.inclusion(LOG, 3),
        log.log.inclusion(LOG, 0, 4),
        log.log.inclusion(LOG, -1),
        log.log.consistency(LOG, 0, 4),
        log.log.consistency(LOG, 3, 2),
    ):
        with pytest.raises(Refused):
            await call


async def test_keys_are_published(log: LogUnderTest) -> None:
    """A verifier needs both keys as text, and must be able to read the time with the second."""
    await log.append(events(1))
    log_key, clock = (VerifierKey.parse(text) for text in log.log.verifier_keys(LOG))
    note = await log.log.checkpoint(LOG)
    checked = open_checkpoint(note, [log_key], witnesses=[clock])
    assert len(checked.cosigned_by) == 1


async def make_organization(log: LogUnderTest, id: UUID) -> None:
    made = organizations.Organization(id=id, display_name="x", config={})
    async with transaction(log.pool, organization=id) as connection:
        await organizations.insert(connection, made)


def signed_second(log: LogUnderTest, note: str) -> int:
    checked = open_checkpoint(note, [log.verifier], witnesses=[log.signer.clock()])
    timed = split_cosignature(checked.cosigned_by[0].signature)
    assert timed is not None
    return timed[0]


async def test_quiet_hours_are_signed(log: LogUnderTest, clock: Clock) -> None:
    """Without a fresh checkpoint a quiet hour and an hour whose events were cut off look the same."""
    await log.append(events(5))
    await make_organization(log, LOG)
    heartbeat = Heartbeat(log.pool, log.appender, log.signer, now=clock)
    seconds = []
    for _ in range(6):
        clock.move(seconds=50)
        assert await heartbeat.beat() == 1
        assert await heartbeat.beat() == 0
        seconds.append(signed_second(log, await log.log.checkpoint(LOG)))
    assert [later - earlier for earlier, later in pairwise(seconds)] == [50] * 5
    async with transaction(log.pool, reading=True, organization=EVERY) as connection:
        kept = await connection.fetch("SELECT size, signed_at FROM log_checkpoints ORDER BY signed_at")
    assert [row["size"] for row in kept] == [5] * len(kept)
    assert len(kept) >= 3
    await log.append(events(2))
    await log.check(7)


async def test_empty_log_has_a_heart(log: LogUnderTest, clock: Clock) -> None:
    """An organization in whose log nothing has happened yet must be able to prove just that."""
    await make_organization(log, LOG)
    heartbeat = Heartbeat(log.pool, log.appender, log.signer, now=clock)
    assert await heartbeat.beat() == 1
    checkpoint = await opened(log)
    assert (checkpoint.size, checkpoint.root) == (0, EMPTY_ROOT)
    await log.append(events(2), log.new_appender())
    await log.check(2)


async def test_one_broken_log_does_not_stop_the_heart(log: LogUnderTest, clock: Clock) -> None:
    """A log that was tampered with must not keep the others from being signed."""
    for number in range(40):
        await make_organization(log, UUID(int=number))
    await log.appender.append(UUID(int=3), events(1), source="test")
    async with transaction(log.pool, organization=EVERY) as connection:
        await connection.execute("UPDATE log_head SET size = 7")
    clock.move(seconds=50)
    heartbeat = Heartbeat(log.pool, log.appender, log.signer, now=clock)
    assert await heartbeat.beat() == 39
    assert list(heartbeat.failures) == [UUID(int=3)]
