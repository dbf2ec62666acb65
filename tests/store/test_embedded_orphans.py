"""The embedded PostgreSQL never outlives its owner, and the next start finishes what a crash left."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import secrets
import signal
from pathlib import Path

import pytest

from postgres import own_server
from store.embedded_process import gone, on_linux, until, value_of
from tallystick.store import embedded
from tallystick.store.connect import connect
from tallystick.store.embedded import EmbeddedPostgres


@on_linux
async def test_it_dies_with_us(data: Path) -> None:
    """After kill -9 of our process the database would run on without an owner."""
    report = data / "pid"

    async def work() -> None:
        server = EmbeddedPostgres(data, new_password=lambda: secrets.token_hex(8), say=print)
        await server.start()
        report.write_text(str(server.pid))
        await asyncio.sleep(600)

    child = multiprocessing.get_context("fork").Process(target=lambda: asyncio.run(work()))
    child.start()
    await until(lambda: report.exists() and report.read_text() != "")
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join(10)
    await until(lambda: gone(int(report.read_text())))  # it stops by itself, with a checkpoint


@on_linux
async def test_a_server_without_an_owner_is_stopped_by_the_next_start(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing tells the server of our death, it would run on and block every later start."""
    monkeypatch.setattr(embedded, "_die_with", lambda _: None)
    report = data / "pid"

    async def work() -> None:
        server = EmbeddedPostgres(data, new_password=lambda: secrets.token_hex(8), say=print)
        await server.start()
        report.write_text(str(server.pid))
        await asyncio.sleep(600)

    child = multiprocessing.get_context("fork").Process(target=lambda: asyncio.run(work()))
    child.start()
    await until(lambda: report.exists() and report.read_text() != "")
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join(10)
    await asyncio.sleep(0.2)
    assert not gone(int(report.read_text()))
    async with own_server(data) as (server, superuser):
        assert await value_of(superuser, "SELECT 1") == 1
        assert server.pid != int(report.read_text())
        assert gone(int(report.read_text()))


async def test_it_waits_for_a_long_replay_and_says_so(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start after a crash under load would be given up while the server still replays."""
    monkeypatch.setattr(embedded, "PROGRESS_SECONDS", 0.001)
    monkeypatch.setattr(embedded, "POLL_SECONDS", 0.002)
    async with own_server(data) as (server, superuser):
        connection = await connect(superuser)
        await connection.execute(
            "CREATE TABLE t AS SELECT g, repeat('x', 100) FROM generate_series(1, 200000) g"
        )
        await connection.close()
        server._watcher.cancel()  # type: ignore[union-attr]
        os.kill(server.pid or 0, signal.SIGKILL)
        await asyncio.sleep(0.1)
    said: list[str] = []
    async with own_server(data, say=said.append) as (_, superuser):
        assert await value_of(superuser, "SELECT count(*) FROM t") == 200000
    assert any("is still starting" in sentence for sentence in said)
