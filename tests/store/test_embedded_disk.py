"""The embedded PostgreSQL on a disk that is full, and on one that fills up."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from postgres import own_server
from store.embedded_process import value_of
from tallystick.errors import AuditError, TryLater
from tallystick.store.connect import open_pool, transaction


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 MB, in memory; skips where mounting is not permitted."""
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", tmp_path], capture_output=True
    )
    if mount.returncode != 0:
        pytest.skip("mounting a small disk is not permitted here")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def fill(disk: Path) -> Path:
    """Fill `disk` to the last byte and return the file to delete again."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return ballast


async def test_a_start_on_a_full_disk_is_explained(small_disk: Path) -> None:
    """On a full disk the server would not start and nobody would know why, or half a cluster would stay behind."""
    ballast = fill(small_disk)
    with pytest.raises(AuditError, match="No space left on device"):
        async with own_server(small_disk):
            pass
    with ballast.open("ab") as file:
        file.truncate(180 << 20)  # enough for a beginning
    with pytest.raises(AuditError, match="No space left on device"):
        async with own_server(small_disk):
            pass
    ballast.unlink()
    async with own_server(small_disk) as (_, superuser):
        assert await value_of(superuser, "SELECT 1") == 1
    ballast = fill(small_disk)
    with pytest.raises(TryLater, match=r"No space left on device.*[Nn]othing acknowledged was lost"):
        async with own_server(small_disk):
            pass
    ballast.unlink()
    async with own_server(small_disk) as (_, superuser):
        assert await value_of(superuser, "SELECT 1") == 1


async def test_a_disk_that_fills_up_while_it_runs_loses_nothing(small_disk: Path) -> None:
    """A full disk would lose acknowledged rows, or the server would stay away after space was freed."""
    acknowledged = 0
    async with own_server(small_disk, settings={"min_wal_size": "32MB"}) as (_, superuser):
        pool = await open_pool(superuser, role="writer", size_max=1)
        async with transaction(pool) as connection:
            await connection.execute("CREATE TABLE t (x int, y text)")

        async def insert() -> None:
            nonlocal acknowledged
            async with transaction(pool) as connection:
                await connection.execute("INSERT INTO t SELECT $1, repeat('x', 500000)", acknowledged)
                await connection.execute(
                    "ALTER TABLE t ALTER y SET STORAGE EXTERNAL"
                ) if not acknowledged else None
            acknowledged += 1

        async def insert_for_ever() -> None:
            while True:
                await insert()

        await insert()
        ballast = fill(small_disk)
        with pytest.raises(TryLater):
            await asyncio.wait_for(insert_for_ever(), 60)
        ballast.unlink()
        for _ in range(200):
            with suppress(TryLater):
                await insert()
                break
            await asyncio.sleep(0.1)
        stored = await value_of(superuser, "SELECT count(DISTINCT x) FROM t")
        await pool.close()
    assert acknowledged > 1
    assert stored == acknowledged
