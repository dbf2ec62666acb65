"""Django models: what is told is committed with the change, by whom, and what cannot be told is not done."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("django", reason="django is not installed")

from client import django_project  # noqa: F401  (Django wants its settings before its models)

# isort: split
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, connection, connections, transaction
from django.db.models import F

import tallystick
from client.django_project import Budget, Left, Member, Tag, Team
from client.fake import Fake
from tallystick.django import Relay, audit_models, capture, lag, record, relay
from tallystick.errors import Misconfigured

from .ledger import Told, actions, keep, tables


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
