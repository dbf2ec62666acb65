"""A Django project on PostgreSQL, a database for each test, and a ledger that must fit it in the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("django", reason="django is not installed")

from client import django_project  # noqa: F401  (Django wants its settings before its models)

# isort: split
from django.db import connection, connections

import tallystick
from client.django_project import make_tables, use
from client.fake import Fake
from postgres import Cluster, fresh_database
from tallystick.django import capture, project
from tallystick.django import outbox as django_outbox

from .ledger import ADA, State, Told, keep, parts, tables


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


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    from django.conf import settings

    return lambda **given: monkeypatch.setattr(settings, "TALLYSTICK", given)


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
