"""Erasure: one person is gone from everywhere, and every proof still holds."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from hashlib import sha256

import pytest

from services.appending import event
from services.keeping import Office
from tallystick.errors import Conflict, NotFound
from tallystick.services.keeping.erasure import ErasureWish
from tallystick.services.keeping.holds import HoldWish
from tallystick.store import exports
from tallystick.store.connect import EVERY, transaction

ADA = {"type": "user", "id": "usr_ada_77", "name": "Ada Lovelace", "email": "Ada@Lovelace.example"}
BOB = {"type": "user", "id": "usr_bob_77", "name": "Bob Bee", "email": "bob@bee.example"}


def about_ada(number: int) -> list[bytes]:
    """Return events by her, on her behalf, about her, and by somebody else."""
    made = []
    for at in range(number):
        made += [
            event(actor=ADA, context={"ip": "198.51.100.77", "user_agent": "her browser"}),
            event(actor={"type": "agent", "id": "a1", "on_behalf_of": [ADA]}),
            event(actor=BOB, after={"invited": "ada@lovelace.example", "n": at}),
            event(actor=BOB, targets=[{"type": "user", "id": "somebody", "name": "Ada Lovelace"}]),
            event(actor=BOB, after={"email": "notada@lovelace.example"}),
        ]
    return made


async def stored_text(office: Office) -> str:
    """Return everything the database holds of the organization as one text."""
    async with transaction(office.pools.owner, organization=EVERY) as connection:
        tables = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace "
            "AND relname NOT LIKE 'schema%'"
        )
        texts = []
        for (name,) in tables:
            rows = await connection.fetch(f"SELECT to_jsonb(t) AS row FROM {name} t")
            texts += [row["row"].decode() for row in rows]
        openings = await connection.fetch("SELECT opening, leaf FROM audit_logs")
        texts += [(row["opening"] + row["leaf"]).decode() for row in openings]
    return "\n".join(texts)


async def test_a_person_is_gone_from_everywhere(office: Office) -> None:
    """After an erasure no row of any table says who it was, others' values stay, and the log proves itself."""
    await office.age(300)
    await office.log.append(about_ada(60))
    before = await office.exported()
    preview = await office.erasures.preview(office.boss, ErasureWish(email="ADA@lovelace.example"))
    assert (preview.people, preview.events, preview.in_clear) == (1, 240, 0)
    done = await office.erasures.erase(office.boss, ErasureWish(email="ADA@lovelace.example"))
    assert (done.events, done.removed, done.left_in_clear) == (240, 0, 0)
    text = (await stored_text(office)).lower()
    assert "notada@lovelace.example" in text
    text = text.replace("notada@lovelace.example", "")
    for value in ("ada@lovelace.example", "usr_ada_77", "ada lovelace", "198.51.100.77", "her browser"):
        assert value not in text, value
    assert "bob@bee.example" in text
    await office.log.check()
    assert (await office.proven()).facts["erased"] == 240
    assert office.check(await office.exported()).facts["erased"] == 240
    assert office.check(before).verdict == "proven"
    with pytest.raises(NotFound):
        await office.erasures.erase(office.boss, ErasureWish(email="ada@lovelace.example"))


async def test_files_of_exports_go_with_the_person(office: Office) -> None:
    """An export that waits on the server to be fetched may hold the person: it is dropped, and none is gone on with."""
    await office.log.append([event(actor=ADA)])
    async with transaction(office.pools.owner) as connection:
        for export_id, state in (("exp_1", "done"), ("exp_2", "running")):
            await connection.execute(
                "INSERT INTO exports (organization_id, id, format, filter, owner_id, owner_name, created_at, state, seen_at, "
                "total, finished_at) VALUES ($1, $2, 'csv', 'user:ada@lovelace.example', 'mbr_1', 'x', $3, $4, $3, 1, $3)",
                office.log.organization_id, export_id, office.clock.at, state,
            )  # fmt: skip
    await office.erasures.erase(office.boss, ErasureWish(id=ADA["id"]))
    gone = await exports.expire(office.pools.writer, office.clock.at - timedelta(hours=24))
    assert [one[1] for one in gone] == ["exp_1"]
    async with transaction(office.pools.owner) as connection:
        rows = await connection.fetch("SELECT state, filter FROM exports ORDER BY id")
    assert [tuple(row) for row in rows] == [("expired", ""), ("cancelled", "")]


async def test_she_is_somebody_new_afterwards(office: Office) -> None:
    """Whoever acts again after an erasure gets another pseudonym, on a server that remembered the old one too."""
    await office.log.append([event(actor=ADA)])
    await office.erasures.erase(office.boss, ErasureWish(id=ADA["id"]))
    await office.log.append([event(actor=ADA)])
    async with transaction(office.pools.owner) as connection:
        rows = await connection.fetch("SELECT DISTINCT actor_ref FROM audit_logs WHERE actor_type = 'user'")
    assert len(rows) == 3  # hers twice, and the one who erased
    await office.log.check()
    await office.proven()


async def test_a_busy_person_is_erased_while_events_come_in(office: Office) -> None:
    """Events recorded while somebody is being erased are either erased with the rest or of a new pseudonym."""
    await office.log.append(about_ada(40))

    async def go_on() -> None:
        for _ in range(30):
            await office.log.append([event(actor=ADA), event(actor=BOB)])
            await asyncio.sleep(0.005)

    going_on = asyncio.create_task(go_on())
    await office.erasures.erase(office.boss, ErasureWish(id=ADA["id"]))
    await going_on
    await office.log.check()
    await office.proven()


async def test_cut_values_lose_their_hash(office: Office) -> None:
    """A value that was cut left its SHA-256 in a flag: it goes with the value."""
    long_name = "Ada " + "x" * 2_000
    await office.log.append([event(actor={**ADA, "name": long_name})])
    digest = sha256(long_name.encode()).hexdigest()
    assert digest in await stored_text(office)
    await office.erasures.erase(office.boss, ErasureWish(id=ADA["id"]))
    assert digest not in await stored_text(office)
    await office.log.check()
    await office.proven()


async def test_held_events_are_not_erased(office: Office) -> None:
    """An erasure that a hold stands against changes nothing at all."""
    await office.log.append(about_ada(5))
    hold = await office.holds.set(office.boss, HoldWish(reason="case", workspace="w-1"))
    with pytest.raises(Conflict):
        await office.erasures.erase(office.boss, ErasureWish(id=ADA["id"]))
    assert "usr_ada_77" in await stored_text(office)
    await office.holds.release(office.boss, hold.id)
    await office.erasures.erase(office.boss, ErasureWish(id=ADA["id"]))
    assert "usr_ada_77" not in await stored_text(office)
    await office.proven()


async def test_selected_fields(office: Office) -> None:
    """Chosen values of chosen events go, everything else of them stays."""
    given = [event(actor=ADA), event(actor=ADA)]
    await office.log.append(given)
    done = await office.erasures.erase(
        office.boss, ErasureWish(events=(given[0].id,), paths=("after", "context"))
    )
    assert done.events == 1
    export = await office.exported()
    report = office.check(export)
    assert (report.verdict, report.facts["erased"]) == ("proven", 1)
    await office.log.check()
    await office.proven()


async def test_events_that_show_a_text_in_clear_are_removed_whole_when_asked(office: Office) -> None:
    """Ids of targets stand in the leaf: such events are counted, and removed whole only when that is asked for."""
    await office.log.append(
        [event(actor=BOB, targets=[{"type": "user", "id": ADA["id"]}]) for _ in range(10)]
    )
    await office.log.append([event(actor=ADA)])
    await office.age(600)
    left = await office.erasures.erase(office.boss, ErasureWish(id=ADA["id"]))
    assert left.left_in_clear == 10
    done = await office.erasures.erase(office.boss, ErasureWish(also=(ADA["id"],), remove_whole=True))
    assert (done.removed, done.left_in_clear) == (10, 0)
    assert ADA["id"] not in await stored_text(office)
    await office.log.check()
    assert (await office.proven()).facts["removed"] == 10
    assert office.check(await office.exported()).verdict == "proven"
