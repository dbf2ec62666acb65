"""Dual control: what needs a second person waits for one, on record."""

from __future__ import annotations

import pytest

from services.appending import event
from services.keeping import Office, boss
from tallystick.errors import Conflict, Forbidden
from tallystick.services.keeping.approvals import Approvals, Asked
from tallystick.services.keeping.desk import Desk
from tallystick.services.keeping.erasure import ErasureWish
from tallystick.services.keeping.holds import HoldWish
from tallystick.services.keeping.rules import Wish
from tallystick.store.connect import transaction


@pytest.fixture
async def desk(office: Office) -> Desk:
    async with transaction(office.pools.owner) as connection:
        await connection.execute(
            "INSERT INTO organizations (id, display_name) VALUES ($1, 'Org')", office.log.organization_id
        )
        for key, maker in (("key_1", None), ("key_2", "key_1"), ("key_3", None)):
            await connection.execute(
                "INSERT INTO api_keys (organization_id, id, name, prefix, sha256, permissions, created_by) "
                "VALUES ($1, $2, $2, 'tst_', sha256($2::text::bytea), '{}', $3)",
                office.log.organization_id, key, maker,
            )  # fmt: skip
    numbers = iter(range(1_000))
    approvals = Approvals(office.door, now=office.clock, new_approval=lambda: f"apr_{next(numbers)}")
    return Desk(office.policies, office.holds, office.erasures, office.purge, approvals)


async def test_acts_wait_for_a_second_person(office: Office, desk: Desk) -> None:
    """Shortening, releasing, erasing and switching it off wait; the requester cannot approve, a second person can."""
    one, two = office.boss, boss(office.log.organization_id, "second")
    await office.log.append([event(actor={"type": "user", "id": "usr_77_x"}) for _ in range(3)])
    hold = await office.holds.set(one, HoldWish(reason="case", workspace="none"))
    assert await desk.switch(one, on=True, context=None) is True
    asked = [
        await desk.change_policy(one, Wish(class_="thirty_days"), None),
        await desk.release_hold(one, hold.id, None),
        await desk.erase(one, ErasureWish(id="usr_77_x"), None),
        await desk.switch(one, on=False, context=None),
    ]
    assert not isinstance(await desk.change_policy(one, Wish(class_="forever"), None), Asked)
    for request in asked:
        assert isinstance(request, Asked)
        with pytest.raises(Forbidden):
            await desk.decide(one, request.approval.id, "approved", None)
        done = await desk.decide(two, request.approval.id, "approved", None)
        assert done.approval.decided_by == two.id
        with pytest.raises(Conflict):
            await desk.decide(two, request.approval.id, "approved", None)
    assert not await desk.approvals.is_on(office.log.organization_id)
    export = (await office.exported()).decode()
    assert export.count('"action":"approval.requested"') == 8  # in the leaf and in the readable form
    assert export.count('"action":"approval.approved"') == 8
    assert "usr_77_x" not in export
    await office.log.check()
    await office.proven()


async def test_nobody_approves_with_a_key_he_made(office: Office, desk: Desk) -> None:
    """A key made by the requester's key is not a second person; a key of somebody else is."""
    await desk.switch(office.boss, on=True, context=None)

    def by(key: str):
        from msgspec.structs import replace

        return replace(office.boss, kind="key", id=key)

    asked = await desk.switch(by("key_1"), on=False, context=None)
    assert isinstance(asked, Asked)
    with pytest.raises(Forbidden):
        await desk.decide(by("key_2"), asked.approval.id, "approved", None)
    await desk.decide(by("key_3"), asked.approval.id, "refused", None)
    assert await desk.approvals.is_on(office.log.organization_id)
