"""Saved views: kept, shared, and nobody else's business."""

from __future__ import annotations

import os
from uuid import UUID

import pytest
from msgspec.structs import replace

from services.appending import LOG, NOON, OTHER_LOG, REDACTION, LogUnderTest
from services.test_read import someone
from tallystick.errors import Forbidden, NotFound, Refused
from tallystick.services.ingest import Ingest
from tallystick.services.permissions import MANAGE
from tallystick.services.principal import Principal
from tallystick.services.saved_views import ADDRESS_CHARACTERS_MAX, NAME_CHARACTERS_MAX, VIEWS_MAX, SavedViews
from tallystick.store.connect import transaction


@pytest.fixture
def views(log: LogUnderTest) -> SavedViews:
    """The service under test."""
    ingest = Ingest(
        log.appender,
        log.log,
        redaction_of=lambda _: REDACTION,
        new_id=lambda: UUID(bytes=os.urandom(16), version=4),
    )
    return SavedViews(log.pool, log.pool, ingest, now=lambda: NOON, random=os.urandom)


def person(name: str, organization_id: UUID = LOG, *permissions: str) -> Principal:
    """Somebody of an organization."""
    return replace(
        someone(organization_id), id=name, kind="member", permissions=someone().permissions | set(permissions)
    )


async def test_a_view_is_its_owners_unless_shared(views: SavedViews) -> None:
    """Somebody's private search would be read by a colleague, or a shared one not found."""
    ada, bob, stranger = person("ada"), person("bob"), person("ada", OTHER_LOG)
    mine = await views.save(ada, " Mine ", "user=x", shared=False, context=None)
    ours = await views.save(ada, "Ours", "outcome=denied", shared=True, context=None)
    assert [(one.name, one.mine) for one in (await views.of(ada))[0]] == [("Mine", True), ("Ours", True)]
    assert [(one.name, one.mine) for one in (await views.of(bob))[0]] == [("Ours", False)]
    assert (await views.of(stranger))[0] == []
    for wanted in (mine, ours):
        with pytest.raises(NotFound):
            await views.remove(stranger, wanted.id, context=None)
    with pytest.raises(NotFound):
        await views.remove(bob, mine.id, context=None)
    with pytest.raises(Forbidden):
        await views.remove(bob, ours.id, context=None)
    await views.remove(person("boss", LOG, MANAGE), ours.id, context=None)
    await views.remove(ada, mine.id, context=None)
    assert (await views.of(ada))[0] == []


async def test_making_and_removing_leave_a_trace(views: SavedViews, log: LogUnderTest) -> None:
    """A search everybody opens could be changed by nobody knows whom."""
    view = await views.save(person("ada"), "Ours", "outcome=denied", shared=True, context=None)
    await views.remove(person("ada"), view.id, context=None)
    async with transaction(log.pool, reading=True, organization=LOG) as connection:
        found = await connection.fetch("SELECT action FROM audit_logs ORDER BY position")
    assert [row["action"] for row in found] == ["saved_view.created", "saved_view.removed"]


async def test_one_view_opens_first_for_each(views: SavedViews) -> None:
    """One person's beginning would be everybody's."""
    await views.open_first(person("ada"), "failed")
    await views.open_first(person("ada"), "agents")
    assert (await views.of(person("ada")))[1] == "agents"
    assert (await views.of(person("bob")))[1] is None


@pytest.mark.parametrize("name", ["", "  ", "x" * (NAME_CHARACTERS_MAX + 1), "a\u202eb", "a\nb"])
async def test_names_nobody_can_read_are_refused(views: SavedViews, name: str) -> None:
    """A menu would hold a view without a name, or one that looks like another."""
    with pytest.raises(Refused):
        await views.save(person("ada"), name, "", shared=False, context=None)
    assert (await views.of(person("ada")))[0] == []


async def test_there_is_an_end(views: SavedViews, monkeypatch: pytest.MonkeyPatch) -> None:
    """One person could fill the table."""
    with pytest.raises(Refused):
        await views.save(
            person("ada"), "long", "x" * (ADDRESS_CHARACTERS_MAX + 1), shared=False, context=None
        )
    monkeypatch.setattr("tallystick.services.saved_views.VIEWS_MAX", 2)
    for number in range(2):
        await views.save(person("ada"), str(number), "", shared=False, context=None)
    with pytest.raises(Refused, match="Nothing was saved"):
        await views.save(person("ada"), "one too many", "", shared=False, context=None)
    assert len((await views.of(person("ada")))[0]) == 2 < VIEWS_MAX


async def test_a_viewers_token_keeps_nothing(views: SavedViews) -> None:
    """A customer's embedded page would write into the organization's menu."""
    viewer = replace(person("vwt_1"), kind="viewer")
    with pytest.raises(Forbidden):
        await views.save(viewer, "x", "", shared=True, context=None)
    assert await views.of(viewer) == ((), None)
