"""Django models: every change of a watched row is told once, in its own transaction, whatever way it took."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("django", reason="django is not installed")

from client import django_project  # noqa: F401  (Django wants its settings before its models)

# isort: split
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connections
from django.db.models import F, Value
from django.db.models.functions import Concat, Upper

import tallystick
from client.django_project import Budget, FrozenBudget, Member, Office, Place, Tag, Team

from .ledger import Told, actions


def test_one_object(told: Told) -> None:
    """Create, save and delete must be told with what was there before and after, without secrets and exclusions."""
    budget = Budget.objects.create(
        label="GPU", amount=Decimal("1.5"), note="private", password="hunter2hunter2"
    )
    budget.count = 5
    budget.save()
    budget.save()  # no change
    budget.note = "only what is excluded"
    budget.save()
    key = str(budget.pk)
    budget.delete()
    created, updated, deleted = told()
    assert actions([created, updated, deleted]) == ["budget.create", "budget.update", "budget.delete"]
    assert created["targets"] == [{"type": "budget", "id": key, "name": "GPU"}]
    assert (created["after"]["amount"], created["after"]["loud"]) == ("1.50", "GPU")  # as the database has it
    assert created["after"]["made_at"]  # a default of the database
    assert "$redacted" in created["after"]["password"]
    assert (updated["before"]["count"], updated["after"]["count"]) == (0, 5)
    assert "after" not in deleted
    assert created["actor"] == {"type": "user", "id": "usr_1"}
    assert "private" not in str([created, updated, deleted])


def test_expressions_deferred_and_stale_objects(both_ways: None, told: Told) -> None:
    """What was before and what is after must come from the database and not from objects."""
    made = Budget.objects.create(label="a", count=1)
    stale = Budget.objects.get(pk=made.pk)
    Budget.objects.filter(pk=made.pk).update(count=10)
    stale.count = F("count") + 1
    stale.save(update_fields=["count"])
    deferred = Budget.objects.only("label").get(pk=made.pk)
    deferred.label = "b"
    deferred.save()
    deferred.label = Upper(Concat(F("label"), Value("x")))
    deferred.save()
    changed = [
        {n: (e["before"][n], v) for n, v in e["after"].items() if e["before"][n] != v} for e in told()[1:]
    ]
    assert changed == [
        {"count": (1, 10)}, {"count": (10, 11)}, {"label": ("a", "b"), "loud": ("A", "B")},
        {"label": ("b", "BX"), "loud": ("B", "BX")},
    ]  # fmt: skip


def test_bulk(both_ways: None, told: Told) -> None:
    """bulk_create, update, bulk_update, upserts and delete must be told row by row."""
    made = Budget.objects.bulk_create([Budget(label=f"b{n}", count=n) for n in range(20)])
    assert all(one.pk and one.made_at for one in made)  # Django still gets its own
    assert len(told()) == 20
    assert (
        Budget.objects.filter(count__gte=15).update(count=F("count") + 100, label=Concat("label", Value("!")))
        == 5
    )
    assert len(told()) == 5
    for one in made[:7]:
        one.count = 50
    assert Budget.objects.bulk_update(made[:7], ["count"], batch_size=3) == 7
    assert len(told()) == 7
    assert Budget.objects.filter(label__in=["b1", "b2"]).delete()[0] == 2
    assert len(told()) == 2
    Budget.objects.bulk_create([Budget(label="b3"), Budget(label="new")], ignore_conflicts=True)
    assert [event["after"]["label"] for event in told()] == ["new"]
    Budget.objects.bulk_create(
        [Budget(label="b4", count=1), Budget(label="newer", count=1)],
        update_conflicts=True, unique_fields=["label"], update_fields=["count"],
    )  # fmt: skip
    updated, created = told()
    assert (updated["action"], updated["before"]["count"], updated["after"]["count"]) == (
        "budget.update",
        50,
        1,
    )
    assert (created["action"], created["after"]["label"]) == ("budget.create", "newer")
    Budget.objects.all().update(count=0)
    Budget.objects.none().update(count=1)
    Budget.objects.filter(team__label="nobody").update(count=3)
    told()
    Budget.objects.all()._raw_delete("default")
    assert len(told()) == 20


def test_the_others_of_the_manager(told: Told) -> None:
    """get_or_create, update_or_create, acreate and proxies end where everything ends."""
    Budget.objects.get_or_create(label="a")
    Budget.objects.get_or_create(label="a")
    Budget.objects.update_or_create(label="a", defaults={"count": 2})
    Budget.objects.update_or_create(label="b", defaults={"count": 3})
    FrozenBudget.objects.filter(label="b").update(count=4)
    assert actions(told()) == ["budget.create", "budget.update", "budget.create", "budget.update"]


def test_async(told: Told, audit: tallystick.Audit) -> None:
    """The async interface must carry who acts, and be told the same."""

    async def work() -> None:
        with audit.context(actor=tallystick.User("bob")):
            made = await Budget.objects.acreate(label="a")
            made.count = 1
            await made.asave()
            await Budget.objects.filter(pk=made.pk).aupdate(count=2)
            await made.adelete()

    # Django's thread for this loop has a connection of its own.
    try:
        asyncio.run(work())
    finally:
        connections.close_all()
    events = told()
    assert actions(events) == ["budget.create", "budget.update", "budget.update", "budget.delete"]
    assert {event["actor"]["id"] for event in events} == {"bob"}


def test_cascades(both_ways: None, told: Told) -> None:
    """What Django deletes or sets to null along with an object must be told as well."""
    team, other = Team.objects.create(label="t"), Team.objects.create(label="o")
    for n in range(3):
        Budget.objects.create(label=f"b{n}", team=team, owner=other)
    told()
    other.delete()
    assert actions(told()) == ["budget.update"] * 3 + ["team.delete"]
    team.delete()
    assert sorted(actions(told())) == ["budget.delete"] * 3 + ["team.delete"]


def test_many_to_many(told: Told) -> None:
    """add, set, remove and clear of a relation must be told, from both of its ends, with what they tie together."""
    budget = Budget.objects.create(label="a")
    tags = [Tag.objects.create(label=f"t{n}") for n in range(4)]
    told()
    budget.tags.add(*tags[:2])
    budget.tags.add(tags[0])  # is there already
    events = told()
    assert actions(events) == ["budget_tags.create"] * 2
    assert events[0]["targets"][1:] == [
        {"type": "budget", "id": str(budget.pk)},
        {"type": "tag", "id": str(tags[0].pk)},
    ]
    budget.tags.set(tags[1:3])
    assert sorted(actions(told())) == ["budget_tags.create", "budget_tags.delete"]
    budget.tags.remove(tags[1])
    tags[3].budget_set.add(budget)
    assert actions(told()) == ["budget_tags.delete", "budget_tags.create"]
    budget.tags.clear()
    assert actions(told()) == ["budget_tags.delete"] * 2


def test_inheritance_over_tables(both_ways: None, told: Told) -> None:
    """An object in two tables is two rows; a change of each must be told."""
    office = Office.objects.create(city="Bern", desks=1)
    assert actions(told()) == ["place.create", "office.create"]
    office.city = "Basel"
    office.save()
    assert actions(told()) == ["place.update"]
    Office.objects.update(city="Biel", desks=2)
    assert actions(told()) == ["office.update", "place.update"]
    Office.objects.filter(city="Biel").update(city="Bern")
    assert actions(told()) == ["place.update"]
    Place.objects.all().delete()
    assert sorted(actions(told())) == ["office.delete", "place.delete"]


def test_keys(both_ways: None, told: Told) -> None:
    """Keys of two columns and keys that change must be told under the right names."""
    member = Member.objects.create(team_name="t", user_name="u", role="viewer")
    member.role = "admin"
    member.save()
    Member.objects.filter(user_name="u").update(role="owner")
    events = told()
    assert {event["targets"][0]["id"] for event in events} == {"t,u"}
    assert actions(events) == ["member.create", "member.update", "member.update"]
    team = Team.objects.create(label="x")
    told()
    Team.objects.filter(pk=team.pk).update(id=team.pk + 1000)
    assert actions(told()) == ["team.delete", "team.create"]


def test_users_of_a_model_that_is_not_ours(told: Told) -> None:
    """A model of somebody else's must be watched from outside, with the groups of its many-to-many field."""
    user = User.objects.create_user("ada", password="hunter2hunter2")
    user.groups.add(Group.objects.create(name="g"))
    user.last_login = user.date_joined
    user.save()
    user.is_staff = True
    user.save(update_fields=["is_staff"])
    events = told()
    assert actions(events) == ["user.create", "user_groups.create", "user.update"]
    assert "$redacted" in events[0]["after"]["password"]


def test_fixtures_and_migrations(told: Told, tmp_path: Any) -> None:
    """What loaddata and a migration's historical models write must be told too."""
    fixture = [{"model": "auth.user", "pk": 7, "fields": {"username": "x", "password": "y"}}]
    (tmp_path / "some.json").write_text(json.dumps(fixture))
    call_command("loaddata", str(tmp_path / "some.json"), verbosity=0)
    assert actions(told()) == ["user.create"]
    from django.db.migrations.state import ModelState, ProjectState

    state = ProjectState()
    state.add_model(ModelState.from_model(Team))
    Historical: Any = state.apps.get_model("shop", "Team")
    assert Historical is not Team
    Historical.objects.create(label="old")
    assert actions(told()) == ["team.create"]
