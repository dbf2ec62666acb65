"""Django models beside the PostgreSQL triggers: the same outbox, and each change told once."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("django", reason="django is not installed")

from client import django_project  # noqa: F401  (Django wants its settings before its models)

# isort: split
from django.apps import apps
from django.core.management import call_command
from django.db import connection, models, transaction
from django.db.models import F

import tallystick
from client.django_project import MODELS, Budget, Left, Member, Office, Tag, Team

from .ledger import State, Told, actions


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
