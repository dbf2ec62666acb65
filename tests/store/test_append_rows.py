"""What travels to the database as an array of audit_row must come back from audit_logs as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID, uuid4

import pytest

from postgres import Pools
from tallystick.store.append import Append, Place, begin_append, ensure_month, write
from tallystick.store.audit_row import ROW_COLUMNS, Row
from tallystick.store.connect import EVERY, transaction
from tallystick.store.trigrams import array_of, pieces_of_label

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
        *(text, text, sha256(b"\0" + raw).digest(), raw, raw, b"{}"),
    )  # type: ignore[return-value]


ROWS = [
    *(row(text, AT, ()) for text in TEXTS if len(text) < 1000),
    row("times", datetime(1, 1, 1, tzinfo=UTC), ("a", "b")),
    row("times", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), tuple(TEXTS)),
    row("times", datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), ("", "")),
]


def append_of(rows: list[Row]) -> Append:
    return Append(
        organization_id=LOG,
        before=Place(0, b"", "", 0),
        received_at=AT,
        rows=rows,
        size=len(rows),
        frontier=b"",
        note="",
        signed_at=AT,
        keep_note=False,
        month=None,
        tiles=[],
        terms={},
        hours={},
        subjects=[],
        labels=[],
    )


async def test_rows_come_back(pools: Pools) -> None:
    """A value encoded wrongly would be wrong in every column that searches look at."""
    await ensure_month(pools.writer, AT)
    async with transaction(pools.writer, organization=EVERY) as connection:
        await begin_append(connection, LOG, [], [])
        await write(connection, append_of(ROWS))
        found = await connection.fetch(
            f"SELECT organization_id, received_at, position, {', '.join(ROW_COLUMNS)} FROM audit_logs ORDER BY position"
        )
    more = ROW_COLUMNS.index("more_targets") + 3
    expected = [(LOG, AT, position, *one) for position, one in enumerate(ROWS)]
    assert [(*tuple(one)[:more], tuple(one[more]), *tuple(one)[more + 1 :]) for one in found] == expected


@pytest.mark.parametrize("texts", [(), ("a",), tuple(TEXTS)])
async def test_pieces_come_back_as_they_were(pools: Pools, texts: tuple[str, ...]) -> None:
    """A label whose pieces are stored otherwise than they are looked for is never found again."""
    numbers = [number for text in texts for number in pieces_of_label(LOG, text)]
    async with transaction(pools.reader, reading=True, organization=EVERY) as connection:
        assert await connection.fetchval("SELECT $1::text::int[]", array_of(numbers)) == numbers
