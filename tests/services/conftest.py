"""Fixtures of the services' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from postgres import Pools
from services.appending import Clock, LogUnderTest
from services.keeping import Office, office_of
from tallystick.store.connect import Pool


@pytest.fixture
def clock() -> Clock:
    """A clock that the test moves."""
    return Clock()


@pytest_asyncio.fixture
async def log(pool: Pool, tmp_path: Path, clock: Clock) -> AsyncIterator[LogUnderTest]:
    """An organization's log with nothing in it yet; everything about it is checked once more at the end."""
    under_test = LogUnderTest(pool, tmp_path, clock)
    yield under_test
    await under_test.stop()


@pytest_asyncio.fixture
async def office(log: LogUnderTest, pools: Pools, clock: Clock) -> Office:
    """A log and all that keeps it."""
    return await office_of(log, pools, clock)
