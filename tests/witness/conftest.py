"""Fixtures of the witness tests: an organization's log on a clock that tells the real time, which witnesses do too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from services.appending import Clock, LogUnderTest
from tallystick.store.connect import Pool


@pytest.fixture
def clock() -> Clock:
    """A clock that begins with the real time."""
    return Clock(datetime.now(UTC).replace(microsecond=0))


@pytest_asyncio.fixture
async def log(pool: Pool, tmp_path: Path, clock: Clock) -> AsyncIterator[LogUnderTest]:
    """An organization's log with nothing in it yet."""
    (tmp_path / "data").mkdir()
    under_test = LogUnderTest(pool, tmp_path / "data", clock)
    yield under_test
    await under_test.stop()
