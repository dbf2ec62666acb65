"""Our own COPY encoder must write exactly what the driver would have written."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from postgres import Pools
from tallystick.store.append import array_literal
from tallystick.store.connect import transaction
from tallystick.store.copy_format import COPY_COLUMNS, Row, copy_rows

AT = datetime(2026, 11, 21, 12, 34, 56, 789_012, tzinfo=UTC)
LOG = UUID(int=5)
TEXTS = ["", "a", "Grüße", "日本語 🎉", 'a "b" \\ {c},', "line\nbreak\ttab", "x" * 70_000, "NULL"]


def row(text: str, at: datetime, more: tuple[str, ...]) -> Row:
    raw = text.encode()
    return (
        *(
            at,
            uuid4(),
            UUID(int=2**128 - 1),
            "user",
            text,
            "read",
            "success",
            "platform",
            text,
            "project",
            text,
            more,
        ),
        *(text, text, b"h" * 32, raw, raw, b"{}"),
    )  # type: ignore[return-value]


ROWS = [
    *(row(text, AT, ()) for text in TEXTS),
    row("times", datetime(1, 1, 1, tzinfo=UTC), ("a", "b")),
    row("times", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), tuple(TEXTS)),
    row("times", datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), ("", "")),
]


async def test_same_rows_as_the_driver(pools: Pools) -> None:
    """A value encoded wrongly here would be wrong in every column that searches look at."""
    async with transaction(pools.owner) as connection:
        await connection.execute(
            f"CREATE TEMP TABLE ours AS SELECT {', '.join(COPY_COLUMNS)} FROM audit_logs; "
            "CREATE TEMP TABLE theirs AS TABLE ours"
        )
        source = memoryview(copy_rows(LOG, AT, 7, ROWS))
        await connection.copy_to_table("ours", columns=COPY_COLUMNS, source=source, format="binary")
        records = [(LOG, AT, position, *one) for position, one in enumerate(ROWS, 7)]
        await connection.copy_records_to_table("theirs", columns=COPY_COLUMNS, records=records)
        ours = await connection.fetch("SELECT * FROM ours ORDER BY position")
        theirs = await connection.fetch("SELECT * FROM theirs ORDER BY position")
    assert ours == theirs
    assert [tuple(one)[:3] for one in ours] == [(LOG, AT, position) for position in range(7, 7 + len(ROWS))]


async def test_more_words_than_are_remembered(pools: Pools) -> None:
    """An endless stream of new words must not fill the memory, nor lose one."""
    rows = [row(f"word {number}", AT, ()) for number in range(9_000)]
    for start in range(0, 9_000, 3_000):
        copied = copy_rows(LOG, AT, 0, rows[start : start + 3_000])
        assert copied.count(b"word ") >= 3_000


@pytest.mark.parametrize("texts", [(), ("a",), tuple(TEXTS)])
async def test_array_literals(pools: Pools, texts: tuple[str, ...]) -> None:
    """Targets with quotes, commas, braces or backslashes must come back as they were."""
    async with transaction(pools.reader, reading=True) as connection:
        assert await connection.fetchval("SELECT $1::text::text[]", array_literal(texts)) == list(texts)
