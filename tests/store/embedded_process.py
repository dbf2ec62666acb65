"""What tests of the embedded PostgreSQL ask of processes and of the server."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from tallystick.store.connect import Dsn, connect

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a server as somebody else")
on_linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc of Linux")


async def value_of(address: Dsn, statement: str) -> object:
    connection = await connect(address)
    found = await connection.fetchval(statement)
    await connection.close()
    return found


async def until(true: Callable[[], bool], seconds: float = 30) -> None:
    for _ in range(int(seconds / 0.02)):
        if true():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it did not happen in time")


def gone(pid: int) -> bool:
    """Tell whether a process has ended (a zombie that somebody else must reap counts as ended)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def in_child(work: Callable[[], Coroutine[object, object, None]], uid: int | None = None) -> int:
    """Run `work` in a forked process, as `uid` if given, and return its exit status."""

    def body() -> None:
        if uid is not None:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
        asyncio.run(work())

    child = multiprocessing.get_context("fork").Process(target=body)
    child.start()
    child.join(120)
    assert child.exitcode is not None
    return child.exitcode
