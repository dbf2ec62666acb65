"""What the events alone say the watched tables hold, to be held against what they do hold."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("django", reason="django is not installed")

from client import django_project  # noqa: F401  (Django wants its settings before its models)

# isort: split
from django.apps import apps
from psycopg.conninfo import conninfo_to_dict

import tallystick
from tallystick.client.snapshot import snapshot
from tallystick.django.registry import watched

ADA = tallystick.User("usr_1")
HIDDEN = {"password"}
Told = Callable[[], list[dict[str, Any]]]


def parts(url: str) -> dict[str, Any]:
    found = conninfo_to_dict(url)
    return {
        "NAME": found["dbname"], "USER": found["user"], "PASSWORD": found["password"], "HOST": found["host"],
        "PORT": found["port"],
    }  # fmt: skip


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


class State:
    """The models as they are."""

    apps = apps
