"""What readers see of a log out of which months and single events were removed."""

from __future__ import annotations

import os

from services.keeping import Office
from tallystick.query.model import Query
from tallystick.services.read import Read


async def test_readers_go_on_behind_what_was_removed(office: Office) -> None:
    """Search, count, feed and live following pass over removed months, and no page is taken for the end of the log."""
    await office.age(512, days=40)
    await office.age(600, days=400)
    await office.age(300)
    read = Read(office.pools.reader, cursor_key=os.urandom(32), now=office.clock)
    assert (await read.feed_page(office.boss, -1, 100)).last == 99
    removed = await office.purge.run(office.log.organization_id)
    assert removed == 1112
    first = await read.feed_page(office.boss, -1, 100)
    assert [event["position"] for event in first.events][:2] == [1112, 1113]
    assert first.last == 1211
    followed = await read.follow(office.boss, Query(), -1, 100)
    assert followed.last == 1111
    found = await read.search(office.boss, Query(limit=1000))
    present = await office.present()
    assert sorted(event["position"] for event in found.events) == present
    assert (await read.count(office.boss, Query(), exact=True))["count"] == len(present)
