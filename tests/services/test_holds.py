"""Legal holds and policies: what a hold is for stays, and a shorter retention waits for its notice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.appending import event
from services.keeping import Office
from tallystick.errors import Conflict, Refused
from tallystick.services.keeping.holds import HoldWish
from tallystick.services.keeping.rules import Wish


def person(number: int) -> dict[str, str]:
    return {
        "type": "user",
        "id": f"user-{number}",
        "name": f"Person {number}",
        "email": f"Person{number}@example.org",
    }


async def test_held_events_stay_until_the_last_hold_is_released(office: Office) -> None:
    """Of two overlapping holds each keeps its events; released events go with the next purge."""
    log = office.log.organization_id
    await office.log.append([event(actor=person(at % 7)) for at in range(600)])
    await office.age(0, days=400)
    await office.age(300)
    one = await office.holds.set(office.boss, HoldWish(reason="case 1", actor="Person3@example.org"))
    two = await office.holds.set(office.boss, HoldWish(reason="case 2", workspace="w-1"))
    assert await office.purge.run(log) > 200
    await office.proven()
    held = {at for at in await office.present() if at < 512}
    people = {at for at in held if at % 7 == 3}
    assert people == {at for at in range(512) if at % 7 == 3}
    assert len(held) > len(people)
    await office.holds.release(office.boss, two.id)
    await office.purge.run(log)
    assert {at for at in await office.present() if at < 512} == people
    with pytest.raises(Conflict):
        await office.holds.release(office.boss, two.id)
    await office.holds.release(office.boss, one.id)
    await office.purge.run(log)
    assert min(await office.present()) >= 512
    await office.log.check()
    await office.proven()
    assert office.check(await office.exported()).verdict == "proven"


async def test_a_shorter_retention_waits_for_its_notice(office: Office) -> None:
    """Shortening takes effect after seven days, lengthening at once, and each is an event."""
    log = office.log.organization_id
    await office.age(600, days=40)
    await office.age(300)
    view = await office.policies.change(office.boss, Wish(class_="thirty_days"))
    assert view.effective_at is not None
    assert view.effective_at - office.clock.at >= timedelta(days=7)
    assert await office.purge.run(log) == 0
    office.clock.move(days=8)
    await office.policies.change(office.boss, Wish(stream="platform", class_="seven_years"))
    assert await office.purge.run(log) == 0
    await office.policies.change(office.boss, Wish(stream="platform", ended=True))
    office.clock.move(days=8)
    assert await office.purge.run(log) == 600
    await office.log.check()
    await office.proven()
    whole = office.check(await office.exported())
    assert whole.verdict == "proven"
    with pytest.raises(Refused):
        await office.policies.change(office.boss, Wish(class_="custom"))


async def test_the_built_in_rule_does_not_overtake_what_is_announced(office: Office) -> None:
    """A shorter retention that was announced would never come into force, because a purge in between recorded the default."""
    log = office.log.organization_id
    await office.age(600, days=366)
    await office.age(600, days=10)
    await office.policies.change(office.boss, Wish(class_="custom", days=200))
    assert await office.purge.run(log) == 600
    office.clock.move(days=8)
    (default,) = (await office.policies.view(office.boss)).in_force
    assert default.days == 200
    office.clock.move(days=200)
    await office.purge.run(log)
    assert (await office.present())[0] >= 1024
    await office.log.check()
    await office.proven()
