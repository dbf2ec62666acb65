"""Turning round in a list of events: the page before this one is found again, exactly."""

from __future__ import annotations

from msgspec.structs import replace

from services.appending import NOON, LogUnderTest
from services.test_read import KEY, fill, someone
from tallystick.query import parse
from tallystick.services.read import Read, turned
from tallystick.store.connect import Pool


async def test_the_page_before_is_the_page_that_was_left(log: LogUnderTest, pool: Pool) -> None:
    """Whoever pages back would meet other events than those that stood there."""
    read = Read(pool, cursor_key=KEY, now=lambda: NOON)
    await fill(log, 20)
    someone_ = someone()
    query = parse([("limit", "6"), ("range", "7d")], now=NOON)
    first = await read.search(someone_, query)
    second = await read.search(someone_, replace(query, cursor=first.next_cursor))
    await fill(log, 5)
    back = replace(turned(query), cursor=read.turn(someone_, query, second))
    found = await read.search(someone_, back)
    assert [event["id"] for event in reversed(found.events)] == [event["id"] for event in first.events]
    # And from there forth again: the page that was turned round is itself in the opposite order.
    forth = replace(query, cursor=read.turn(someone_, back, found))
    assert [event["id"] for event in (await read.search(someone_, forth)).events] == [
        event["id"] for event in second.events
    ]
    assert read.turn(someone_, query, replace(first, events=[])) is None
