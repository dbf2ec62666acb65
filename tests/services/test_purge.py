"""The purge: what is due goes, everything else stays, and the log still proves itself."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest

from services.appending import event
from services.keeping import Office
from tallystick.errors import TryLater
from tallystick.query.model import Clause, Query
from tallystick.services.keeping.archive import Archives
from tallystick.services.keeping.purge import Purge
from tallystick.services.keeping.rounds import LEASE, LEASE_TIME, Rounds
from tallystick.store import keeping
from tallystick.store.connect import transaction


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


async def test_an_archive_comes_before_a_removal(office: Office, tmp_path: Path) -> None:
    """Where an archive is wanted, what is removed lies in a file that proves itself; without the file nothing goes."""
    log = office.log.organization_id
    async with transaction(office.pools.owner) as connection:
        await connection.execute(
            "INSERT INTO organizations (id, display_name, config) VALUES ($1, 'Org', $2)",
            log,
            b'{"retention_archive": true}',
        )
    await office.age(600, days=400)
    await office.age(10)
    blocked = tmp_path / "blocked"
    blocked.write_text("no folder")
    refused = Archives(office.pools.reader, office.export, office.log.signer, blocked)
    with pytest.raises(TryLater):
        await Purge(office.door, now=office.clock, limits=office.limits, archive=refused).run(log)
    assert len(await office.present()) >= 610
    archives = Archives(office.pools.reader, office.export, office.log.signer, tmp_path / "archive")
    await Purge(office.door, now=office.clock, limits=office.limits, archive=archives).run(log)
    assert min(await office.present()) == 512
    files = sorted((tmp_path / "archive").rglob("*.jsonl"))
    assert sum(office.check(file.read_bytes()).facts["events"] for file in files) == 512
    assert all(office.check(file.read_bytes()).verdict == "proven" for file in files)
    export = (await office.exported()).decode()
    assert all(sha256(file.read_bytes()).hexdigest() in export for file in files)
    await office.log.check()
    await office.proven()


async def test_an_export_during_a_purge_is_broken_off(office: Office) -> None:
    """What is removed while an export is written would be a hole without its record: it says so and has no last line."""
    await office.age(600, days=400)
    await office.age(10)
    lines = await office.export.jsonl(office.boss, Query())
    pieces = [await anext(lines)]
    await office.purge.run(office.log.organization_id)
    with pytest.raises(TryLater):
        pieces += [piece async for piece in lines]
    assert office.check(await office.exported()).verdict == "proven"


async def test_one_server_at_a_time_makes_the_rounds(office: Office) -> None:
    """Of two servers on one database one purges; the other one takes over when it is done or gone."""

    async def organizations() -> list[UUID]:
        return [office.log.organization_id]

    await office.age(600, days=400)
    await office.age(10)
    one, two = (
        Rounds(office.pools.keeper, office.purge, organizations=organizations, now=office.clock, holder=name)
        for name in ("one", "two")
    )
    at = office.clock.at
    assert await keeping.take_lease(office.pools.keeper, LEASE, "one", at, at + LEASE_TIME)
    assert await two.once() is None
    assert await one.once() == 512
    assert await two.once() == 0


async def test_a_purge_that_breaks_off_leaves_nothing_half_done(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure anywhere in the transaction of a removal undoes all of it, and the next round does it whole."""
    await office.age(600, days=400)
    await office.age(10)
    for name in ("remove_rows", "place_removal", "settle"):
        real = getattr(keeping, name)

        async def broken(*given: object, real: object = real, **more: object) -> None:
            await real(*given, **more)  # type: ignore[operator]
            raise TryLater("broken on purpose")

        with monkeypatch.context() as patch:
            patch.setattr(keeping, name, broken)
            with pytest.raises(TryLater):
                await office.purge.run(office.log.organization_id)
        await office.log.check()
        assert min(await office.present()) == 0
    assert await office.purge.run(office.log.organization_id) == 512
    await office.log.check()


async def test_people_without_events_leave_the_directory(office: Office) -> None:
    """Whose last event is removed is forgotten, unless an event that is left was done on his behalf; then comes back anew."""
    old, boss_of_agent = ({"type": "user", "id": f"usr_{name}", "name": name} for name in ("old", "boss"))
    await office.log.append([event(actor=old), event(actor=boss_of_agent)])
    await office.age(600, days=400)
    await office.log.append([event(actor={"type": "agent", "id": "a", "on_behalf_of": [boss_of_agent]})])
    await office.age(10)
    await office.purge.run(office.log.organization_id)
    async with transaction(office.pools.owner) as connection:
        ids = {row["id"] for row in await connection.fetch("SELECT id FROM subjects")}
        labels = {row["label"] for row in await connection.fetch("SELECT label FROM subject_labels")}
    assert "usr_boss" in ids
    assert "usr_old" not in ids | labels
    await office.log.append([event(actor=old), event(actor=boss_of_agent)])
    await office.log.check()
    await office.proven()
