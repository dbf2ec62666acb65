"""Fixtures of the services' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.appending import Clock, LogUnderTest
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
