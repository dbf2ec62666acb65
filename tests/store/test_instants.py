"""Instants travel to the database and back as they are, the first and the last one too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tallystick.store.connect import EVERY, Pool, transaction
from tallystick.store.months import FOREVER, NEVER

FIRST = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (FIRST, "0001-01-01 00:00:00+00"),
        (LAST, "9999-12-31 23:59:59.999999+00"),
        (NEVER, "-infinity"),
        (FOREVER, "infinity"),
        (datetime(2026, 11, 21, 12, 0, 0, 1, tzinfo=UTC), "2026-11-21 12:00:00.000001+00"),
        (datetime(2026, 11, 21, 15, tzinfo=timezone(timedelta(hours=3))), "2026-11-21 12:00:00+00"),
        (datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "1999-12-31 23:59:59.999999+00"),
    ],
)
async def test_an_instant_is_itself(pool: Pool, instant: datetime, text: str) -> None:
    """The driver writes the first and last instant as infinity: a page that ends there would begin there again."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        await connection.execute("SET LOCAL timezone = 'UTC'")
        assert await connection.fetchval("SELECT $1::timestamptz::text", instant) == text
        assert await connection.fetchval("SELECT $1::timestamptz", instant) == instant
        assert await connection.fetchval("SELECT $1::timestamptz[]", [instant, instant]) == [instant, instant]


async def test_no_instant_at_all(pool: Pool) -> None:
    """An absent time stays absent."""
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        assert await connection.fetchval("SELECT $1::timestamptz", None) is None
