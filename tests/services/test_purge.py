"""The purge: what is due goes, everything else stays, and the log still proves itself."""

from __future__ import annotations

from services.keeping import Office
from tallystick.query.model import Clause


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


async def test_exports_after_a_purge_prove_themselves(office: Office) -> None:
    """Whole, filtered and narrow exports hold hashes of what is gone, and the records that account for it."""
    await office.age(512, days=40)
    await office.age(600, days=400)
    start = office.clock.at
    await office.age(700)
    assert await office.purge.run(office.log.organization_id) == 1112
    whole = office.check(await office.exported())
    assert (whole.verdict, whole.violated) == ("proven", [])
    assert whole.facts["removed"] == 1112
    some = office.check(await office.exported(only=(Clause("action", ("^login$",)),)))
    assert (some.verdict, some.violated) == ("proven", [])
    assert some.facts["removed"] == 1112
    late = office.check(await office.exported(since=start))
    assert (late.verdict, late.violated) == ("proven", [])
    early = office.check(await office.exported(until=start.replace(year=start.year - 1)))
    assert (early.verdict, early.violated) == ("proven", [])
    assert early.facts["removed"] == 1112
