"""Django models: every change of a watched row is told once, in its own transaction, whatever way it took.

The ledger is kept from the events alone; at the end of each test it must be what the tables hold.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("django", reason="django is not installed")

from . import django_project  # noqa: F401  (Django wants its settings before its models)

# isort: split
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import IntegrityError, connection, connections, models, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat, Upper
from psycopg.conninfo import conninfo_to_dict

import tallystick
from postgres import Cluster, fresh_database
from tallystick.client.snapshot import snapshot
from tallystick.django import Relay, audit_models, capture, lag, project, record, relay
from tallystick.django import outbox as django_outbox
from tallystick.django.registry import watched
from tallystick.errors import Misconfigured

from .django_project import (
    MODELS,
    Budget,
    FrozenBudget,
    Left,
    Member,
    Office,
    Place,
    Tag,
    Team,
    make_tables,
    use,
)
from .fake import Fake

ADA = tallystick.User("usr_1")
HIDDEN = {"password"}
Told = Callable[[], list[dict[str, Any]]]


def parts(url: str) -> dict[str, Any]:
    found = conninfo_to_dict(url)
    return {
        "NAME": found["dbname"], "USER": found["user"], "PASSWORD": found["password"], "HOST": found["host"],
        "PORT": found["port"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def template(postgres_cluster: Cluster) -> Iterator[str]:
    made = fresh_database(postgres_cluster, "template0")
    database = next(made)
    use(parts(database.superuser.url))
    make_tables()
    yield database.name
    next(made, None)


@pytest.fixture(autouse=True)
def shop(postgres_cluster: Cluster, template: str) -> Iterator[str]:
    made = fresh_database(postgres_cluster, template)
    database = next(made)
    use(parts(database.superuser.url))
    yield database.superuser.url
    connections["default"].close()
    next(made, None)


@pytest.fixture(params=["returning", "common table"])
def both_ways(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL 18 returns old rows; older ones are asked for them in the same statement."""
    if request.param == "common table":
        monkeypatch.setattr(capture, "_returns_old", lambda connection: False)
    elif connection.pg_version < 180_000:
        pytest.skip("this PostgreSQL returns no old rows")


@pytest.fixture(autouse=True)
def audit(make_audit: Any, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Iterator[tallystick.Audit]:
    made = make_audit(url=fake.url, profile="memory")
    monkeypatch.setattr(project, "the_audit", lambda: made)
    for module in (capture, django_outbox):
        monkeypatch.setattr(module, "the_audit", lambda: made)
    with made.context(actor=ADA):
        yield made


@pytest.fixture
def told(shop: str) -> Iterator[Told]:
    """Returns the events committed since it was asked last; in the end the ledger of all must be the tables."""
    ledger: dict[tuple[str, str], Any] = {}

    def take() -> list[dict[str, Any]]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT seq, event FROM audit_outbox ORDER BY seq")
            rows = cursor.fetchall()
            cursor.execute("DELETE FROM audit_outbox")
        events = [json.loads(bytes(event)) for _, event in rows]
        for event in events:
            keep(ledger, event)
        return events

    yield take
    take()
    assert ledger == tables()


def keep(ledger: dict[tuple[str, str], Any], event: dict[str, Any]) -> None:
    """Apply one event, which must fit what the ones before it said."""
    target = event["targets"][0]
    place = (target["type"], target["id"])
    match event["action"].rpartition(".")[2]:
        case "create":
            assert place not in ledger, event
        case "update" | "delete":
            assert ledger[place] == shown(event["before"]), event
    if "after" in event:
        ledger[place] = shown(event["after"])
    else:
        del ledger[place]


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as triggers and the ORM, which write numbers and times each in their way, both have it."""
    read = {"amount": lambda value: Decimal(str(value)), "made_at": datetime.fromisoformat}
    return {name: read.get(name, lambda v: v)(value) for name, value in row.items() if name not in HIDDEN}


def tables(using: str = "default") -> dict[tuple[str, str], Any]:
    """What the watched tables hold."""
    found: dict[tuple[str, str], Any] = {}
    for one in watched.values():
        meta = one.model._meta
        if meta.label in ("admin.LogEntry",):
            continue
        names = [
            f.attname for f in meta.local_concrete_fields if not {f.name, f.attname} & one.options.exclude
        ]
        for row in one.model._base_manager.using(using):
            key = [getattr(row, f.attname) for f in meta.pk_fields]
            state = snapshot({name: getattr(row, name) for name in names})
            found[(one.type, ",".join(map(str, key)))] = shown(state)
    return found


def actions(events: list[dict[str, Any]]) -> list[str]:
    return [event["action"] for event in events]


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


def test_rolled_back_is_not_told(told: Told) -> None:
    """Events must share the fate of their rows: transactions, savepoints, nested blocks, autocommit, failures."""
    with pytest.raises(ZeroDivisionError), transaction.atomic():  # noqa: PT012
        Budget.objects.create(label="a")
        raise ZeroDivisionError
    with transaction.atomic():
        Budget.objects.create(label="b")
        with pytest.raises(ZeroDivisionError), transaction.atomic():  # noqa: PT012
            Budget.objects.create(label="c")
            with transaction.atomic():
                record("budget.approve", target=tallystick.Target("budget", "1"))
            raise ZeroDivisionError
        with pytest.raises(IntegrityError), transaction.atomic():
            Budget.objects.create(label="b")
        sid = transaction.savepoint()
        Budget.objects.create(label="d")
        transaction.savepoint_rollback(sid)
    with pytest.raises(IntegrityError):
        Budget.objects.create(label="b")  # autocommit
    transaction.set_autocommit(False)
    Budget.objects.create(label="e")
    transaction.rollback()
    Budget.objects.create(label="f")
    transaction.commit()
    transaction.set_autocommit(True)
    assert [event["after"]["label"] for event in told()] == ["b", "f"]


@pytest.mark.parametrize("in_a_block", [False, True])
def test_what_cannot_be_told_is_not_done(in_a_block: bool, told: Told, audit: Any, monkeypatch: Any) -> None:
    """When the event cannot be written the change must not be committed, even if somebody catches the error."""

    def broken(*more: Any) -> None:
        raise OSError("no outbox")

    budget = Budget.objects.create(label="a", count=1)
    told()
    monkeypatch.setattr(capture, "write", broken)
    for change in (
        lambda: Budget.objects.create(label="b"), lambda: Budget.objects.update(count=2), budget.delete,
        lambda: Budget.objects.bulk_create([Budget(label="c")]), lambda: Budget.objects.all()._raw_delete("default"),
    ):  # fmt: skip
        if not in_a_block:
            with pytest.raises(OSError, match="no outbox"):
                change()
        else:
            with pytest.raises(transaction.TransactionManagementError), transaction.atomic():  # noqa: PT012
                with pytest.raises(OSError, match="no outbox"):
                    change()
                Team.objects.count()  # the transaction is lost, and says so
    monkeypatch.undo()
    assert list(Budget.objects.values_list("label", "count")) == [("a", 1)]


def test_who_acts_when_nobody_is_bound(told: Told, audit: Any, settings_of: Any) -> None:
    """A shell or a job is told as the program; where that is not wanted, nothing is committed."""
    from tallystick.client.context import cleared, within

    with within(cleared()):
        Team.objects.create(label="a")
        assert told()[0]["actor"]["id"] == "django"
        settings_of(require_actor=True)
        with pytest.raises(tallystick.ValidationError):
            Team.objects.create(label="b")
    assert Team.objects.count() == 1


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    from django.conf import settings

    return lambda **given: monkeypatch.setattr(settings, "TALLYSTICK", given)


def test_an_event_of_its_own(told: Told) -> None:
    """An act with a name of its own must be part of a transaction, or be refused."""
    with pytest.raises(Misconfigured, match="no transaction"):
        record("budget.approve", target=tallystick.Target("budget", "1"))
    with transaction.atomic():
        record("team.create", target=tallystick.Target("team", "1"), after={"id": 1, "label": "by hand"})
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO shop_team (id, label) VALUES (1, 'by hand')")
    assert actions(told()) == ["team.create"]


def test_a_statement_over_the_limit_is_undone(told: Told, monkeypatch: Any) -> None:
    """More rows than can be told at once must be refused as a whole, with what to do instead."""
    Budget.objects.bulk_create([Budget(label=f"b{n}") for n in range(6)])
    monkeypatch.setattr(capture, "ROWS_MAX", 5)
    for change in (lambda: Budget.objects.update(count=1), lambda: Budget.objects.all().delete()):
        with pytest.raises(Misconfigured, match="triggers"):
            change()
    assert Budget.objects.filter(count=0).count() == 6


def test_a_name_that_is_no_field() -> None:
    """An exclusion that excludes nothing, for a slip of the pen, must not go unnoticed."""
    with pytest.raises(Misconfigured, match="notes"):
        audit_models(Budget, exclude=["notes"])
    from tallystick.django import registry

    registry._asked_for.pop()


def test_a_model_left_to_triggers_that_are_not_there(told: Told) -> None:
    """Until its triggers are made, the ORM must tell the changes of a model that is left to them."""
    Left.objects.create(label="a")
    Left.objects.update(count=2)
    assert actions(told()) == ["left.create", "left.update"]


def test_the_admin_log(told: Told, audit: Any) -> None:
    """What the admin says it did must be an event, for one object and for many at once."""
    from django.contrib.admin.models import CHANGE, DELETION, LogEntry

    from tallystick.client.context import cleared, within

    boss = User.objects.create(username="boss")
    told()
    with within(cleared()), transaction.atomic():
        LogEntry.objects.log_actions(
            boss.pk, [boss], CHANGE, [{"changed": {"fields": ["Email"]}}], single_object=True
        )
        LogEntry.objects.log_actions(boss.pk, [boss, User(pk=99, username="x")], DELETION)
    with connection.cursor() as cursor:
        cursor.execute("SELECT event FROM audit_outbox ORDER BY seq")
        events = [json.loads(bytes(row[0])) for row in cursor.fetchall()]
        cursor.execute("DELETE FROM audit_outbox")
    assert actions(events) == ["admin.change", "admin.delete", "admin.delete"]
    assert events[0]["actor"] == {"type": "user", "id": str(boss.pk)}
    assert events[0]["targets"] == [{"type": "user", "id": str(boss.pk), "name": "boss"}]
    assert events[0]["metadata"]["change"] == [{"changed": {"fields": ["Email"]}}]


def test_the_relay(fake: Fake, capsys: Any) -> None:
    """What was committed must reach the server once, by call, by thread and by command, and the lag must be visible."""
    Team.objects.bulk_create([Team(label=f"t{n}") for n in range(3)])
    assert lag().waiting == 3
    call_command("tallystick_outbox", "status", "--json")
    assert json.loads(capsys.readouterr().out)["waiting"] == 3
    assert (relay(), relay(), lag().waiting) == (3, 0, 0)
    Team.objects.create(label="t3")
    call_command("tallystick_outbox", "relay", "--once")
    assert "1 events left" in capsys.readouterr().out
    with Relay(pause_seconds=0.01):
        Team.objects.create(label="t4")
    assert [event["after"]["label"] for event in fake.stored.values()] == [f"t{n}" for n in range(5)]


def test_sqlite(tmp_path: Any) -> None:
    """On SQLite, which has no old values to return, the same must be told."""
    lite = connections["lite"]
    lite.settings_dict["NAME"] = str(tmp_path / "lite.db")
    call_command("migrate", run_syncdb=True, verbosity=0, database="lite")
    lite_budgets = Budget.objects.using("lite")
    lite_budgets.bulk_create([Budget(label=f"b{n}", count=n, settings={"n": n}) for n in range(9)])
    lite_budgets.filter(count__gte=5).update(count=F("count") + 10, settings={"n": [1]})
    one = lite_budgets.get(label="b0")
    one.tags.set([Tag.objects.using("lite").create(label="t")])
    one.amount = Decimal("2.50")
    one.save()
    lite_budgets.bulk_create(
        [Budget(label="b1", count=70), Budget(label="x")], update_conflicts=True, unique_fields=["label"],
        update_fields=["count"],
    )  # fmt: skip
    lite_budgets.bulk_create([Budget(label="b1"), Budget(label="y")], ignore_conflicts=True)
    Member.objects.using("lite").create(team_name="t", user_name="u", role="a")
    Member.objects.using("lite").update(role="b")
    lite_budgets.filter(label="b2").delete()
    with pytest.raises(ZeroDivisionError), transaction.atomic(using="lite"):  # noqa: PT012
        lite_budgets.update(count=0)
        raise ZeroDivisionError
    with pytest.raises(Misconfigured, match="primary key"):
        Team.objects.using("lite").update(id=5)
    with lite.cursor() as cursor:
        cursor.execute("SELECT event FROM audit_outbox ORDER BY seq")
        events = [json.loads(row[0]) for row in cursor.fetchall()]
    ledger: dict[tuple[str, str], Any] = {}
    for event in events:
        keep(ledger, event)
    assert ledger == tables("lite")
    assert len(events) == 9 + 4 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1
    lite.close()


def test_the_outbox_is_the_same_for_everybody(shop: str) -> None:
    """The migration's table must be that of the plain outbox and of SQLAlchemy, column by column."""
    from sqlalchemy import MetaData, create_engine

    from tallystick.outbox import Statements
    from tallystick.sqlalchemy import Outbox

    look = """SELECT column_name, data_type, is_nullable, column_default IS NOT NULL OR is_identity = 'YES', character_maximum_length
              FROM information_schema.columns WHERE table_name = 'audit_outbox' ORDER BY ordinal_position"""
    found: list[Any] = []
    metadata = MetaData()
    Outbox(metadata)
    with connection.cursor() as cursor:
        cursor.execute(look)
        found.append(cursor.fetchall())
        cursor.execute("DROP TABLE audit_outbox")
        cursor.execute(Statements().create())
        cursor.execute(look)
        found.append(cursor.fetchall())
        cursor.execute("DROP TABLE audit_outbox")
        engine = create_engine(shop.replace("postgresql://", "postgresql+psycopg://"))
        metadata.create_all(engine)
        engine.dispose()
        cursor.execute(look)
        found.append(cursor.fetchall())
    assert found[0] == found[1] == found[2]


def test_models_and_migration_agree() -> None:
    """A change of the outbox model without a migration would leave projects without it."""
    call_command("makemigrations", "tallystick", check=True, dry_run=True, verbosity=0)
    assert apps.get_app_config("tallystick").name == "tallystick.django"
    assert all(issubclass(model, models.Model) for model in MODELS)


@pytest.fixture
def triggered(shop: str) -> None:
    """Triggers on every watched table but Django's own, as a migration makes them."""
    from tallystick.django.triggers import Triggers

    with connection.schema_editor() as editor:
        for name, more in (
            ("Tag", {}), ("Team", {}), ("Budget", {"exclude": ["note"]}), ("Place", {}), ("Office", {}), ("Member", {}),
            ("Left", {}),
        ):  # fmt: skip
            Triggers(name, **more).database_forwards("shop", editor, None, State())


class State:
    """The models as they are."""

    apps = apps


def raw(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_orm_and_triggers_together(triggered: None, told: Told) -> None:
    """With triggers for raw SQL beside the ORM's capture, every change must still be told once, and by the right one."""
    teams = Team.objects.bulk_create([Team(label=f"t{n}") for n in range(3)])
    budgets = Budget.objects.bulk_create([Budget(label=f"b{n}", team=teams[0]) for n in range(5)])
    Budget.objects.update(count=F("count") + 1)
    budgets[0].tags.set([Tag.objects.create(label="x")])
    Office.objects.create(city="Bern", desks=2)
    Office.objects.update(city="Biel")
    Member.objects.create(team_name="t", user_name="u", role="a")
    Budget.objects.bulk_create(
        [Budget(label="b1", count=9), Budget(label="b9")], update_conflicts=True, unique_fields=["label"],
        update_fields=["count"],
    )  # fmt: skip
    events = told()
    assert len(events) == 3 + 5 + 5 + 2 + 2 + 1 + 1 + 2
    assert not [event for event in events if "captured_by" in event.get("metadata", {})]
    raw("UPDATE shop_budget SET count = count + 1")
    raw("INSERT INTO shop_team (label) VALUES ('raw'), ('rawer')")
    raw("DELETE FROM shop_member")
    raw("UPDATE shop_budget_tags SET tag_id = tag_id")
    raw("TRUNCATE shop_budget_tags")
    events = told()
    assert len(events) == 6 + 2 + 1 + 1
    assert {event["metadata"]["captured_by"] for event in events} == {"trigger"}
    assert {event["actor"]["id"] for event in events} == {"usr_1"}
    name = foreign_key("shop_budget", "team_id")
    raw(f"ALTER TABLE shop_budget DROP CONSTRAINT {name}")
    raw("ALTER TABLE shop_budget ADD FOREIGN KEY (team_id) REFERENCES shop_team ON DELETE CASCADE")
    Team.objects.filter(pk=teams[0].pk)._raw_delete("default")  # the database takes five budgets along
    events = told()
    assert sorted(actions(events)) == ["budget.delete"] * 5 + ["team.delete"]
    assert {event["actor"]["id"] for event in events} == {"usr_1"}
    Budget.objects.all().delete()


def foreign_key(table: str, column: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f' AND conname LIKE %s",
            (table, f"{table}_{column}%"),
        )
        return cursor.fetchone()[0]


def test_a_model_left_to_triggers(triggered: None, told: Told, audit: Any) -> None:
    """Triggers must tell it with who acts: in transactions, after savepoints, in autocommit, and after a change of actor."""
    Left.objects.bulk_create([Left(label=f"l{n}") for n in range(10)])
    with transaction.atomic():
        Left.objects.update(count=1)
        with pytest.raises(ZeroDivisionError), transaction.atomic():  # noqa: PT012
            with audit.context(actor=tallystick.User("eve")):
                Left.objects.filter(label="l0").update(count=5)
            raise ZeroDivisionError
        Left.objects.filter(label="l1").update(count=2)
        with audit.context(actor=tallystick.User("bob"), request_id="r1"):
            Left.objects.filter(label="l1").update(count=3)
        sid = transaction.savepoint()
        with audit.context(actor=tallystick.User("eve")):
            raw("UPDATE shop_left SET count = 7")
        transaction.savepoint_rollback(sid)
        raw("UPDATE shop_left SET count = 8 WHERE label = 'l2'")
    raw("UPDATE shop_left SET count = 9 WHERE label = 'l3'")
    with transaction.atomic():
        assert Left.objects.count() == 10  # begins with a look
        Left.objects.filter(label="l4").update(count=9)
    events = told()
    assert {event["metadata"]["captured_by"] for event in events} == {"trigger"}
    assert [event["actor"]["id"] for event in events] == ["usr_1"] * 21 + ["bob"] + ["usr_1"] * 3
    assert events[21]["context"]["request_id"] == "r1"
    raw("DELETE FROM shop_left")
    told()


def test_triggers_of_a_migration(shop: str, capsys: Any) -> None:
    """The operation must make them, take them away, and say what is missing."""
    from django.core.management.base import CommandError

    from tallystick.django import Triggers

    operation = Triggers("Left")
    assert operation.deconstruct()[1:] == (["Left"], {"exclude": (), "type": None, "m2m": True})
    with pytest.raises(CommandError, match="shop_left"):
        call_command("tallystick_outbox", "triggers")
    with connection.schema_editor() as editor:
        operation.database_forwards("shop", editor, None, State())
    call_command("tallystick_outbox", "triggers")
    with connection.schema_editor() as editor:
        operation.database_backwards("shop", editor, State(), None)
    with pytest.raises(CommandError, match="shop_left"):
        call_command("tallystick_outbox", "triggers")
    capsys.readouterr()
    call_command("tallystick_outbox", "triggers", "shop.Budget")
    assert "CREATE TRIGGER" in capsys.readouterr().out
