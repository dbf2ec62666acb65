"""A Django project in this process: models of every kind the ORM writes in a way of its own, on a test's database."""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "none"}, "lite": {"ENGINE": "django.db.backends.sqlite3", "NAME": "none"}},
    INSTALLED_APPS=[
        "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.messages",
        "django.contrib.sessions", "tallystick.django", "client.django_shop",
    ],
    TALLYSTICK={},
    SECRET_KEY="of tests",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DEFAULT_CHARSET="utf-8",
)  # fmt: skip
django.setup()

from django.db import connections  # noqa: E402

from .django_shop.models import (  # noqa: E402
    Budget,
    FrozenBudget,
    Left,
    Member,
    Office,
    Place,
    Tag,
    Team,
    Unwatched,
)

MODELS: tuple[Any, ...] = (Tag, Team, Budget, Place, Office, Member, Unwatched, Left)
__all__ = [
    "MODELS",
    "Budget",
    "FrozenBudget",
    "Left",
    "Member",
    "Office",
    "Place",
    "Tag",
    "Team",
    "Unwatched",
    "make_tables",
    "use",
]


def use(url: dict[str, Any]) -> None:
    """Have the default connection go to another database."""
    connection = connections["default"]
    connection.close()
    connection.settings_dict.update(
        NAME=url["NAME"], USER=url["USER"], PASSWORD=url["PASSWORD"], HOST=url["HOST"], PORT=url["PORT"]
    )


def make_tables() -> None:
    """Make the tables of every model, the outbox by its migration."""
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)
    connections["default"].close()
