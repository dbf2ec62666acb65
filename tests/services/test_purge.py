"""The purge: what is due goes, everything else stays, and the log still proves itself."""

from __future__ import annotations

import pytest

from services.keeping import Office, office  # noqa: F401


async def test_old_events_go_in_batches(office: Office) -> None:
    """What is older than its retention is removed by batches within a month, and the log still proves itself."""
    await office.age(1000, days=366)
    assert await office.purge.run(office.log.organization_id) == 768
    present = await office.present()
    assert present[:2] == [768, 769]
    await office.log.check()
    report = await office.proven()
    assert report.facts["removed"] == 768
    assert await office.purge.run(office.log.organization_id) == 0


async def test_whole_months_go_at_once(office: Office) -> None:
    """A month of which nothing or little stays goes as a whole."""
    await office.age(512, days=40)
    await office.age(600, days=40)
    await office.age(100, days=400)
    await office.age(700)
    assert await office.purge.run(office.log.organization_id) == 1212
    assert (await office.present())[0] == 1212
    await office.log.check()
    assert (await office.proven()).facts["removed"] == 1212
