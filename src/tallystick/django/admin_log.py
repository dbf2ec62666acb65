"""The bridge from Django's admin: what its log says becomes events, for models that are watched and that are not."""

from __future__ import annotations

from typing import Any, Final

from django.apps import apps
from msgspec import json

from tallystick.client.actors import Target, User
from tallystick.client.context import current
from tallystick.django.project import given
from tallystick.django.registry import Watched, watched
from tallystick.outbox.rows import AuditOptions, Change, snake

_VERBS: Final = {1: "add", 2: "change", 3: "delete"}


def watch() -> None:
    """Watch the admin's log, where there is one and TALLYSTICK["admin_log"] does not say no."""
    if apps.is_installed("django.contrib.admin") and given("admin_log", True):
        entry = apps.get_model("admin", "LogEntry")
        watched[entry._meta.db_table] = Watched(entry, "log_entry", AuditOptions(), "orm", (), _told)


def _told(audit: Any, change: Change) -> tuple[str, bytes] | None:
    """Return the event of a line of the admin's log: admin.add, admin.change or admin.delete."""
    if change.kind != "insert":
        return None  # somebody tidies the admin's log; the acts it told of are in ours
    row = change.after
    actor = None if current().actor is not None else User(str(row["user_id"]))
    told = {"change": _message(row["change_message"])} if row["change_message"] else None
    return audit.compose(
        f"admin.{_VERBS.get(row['action_flag'], 'act')}",
        actor=actor,
        target=Target(
            _type(row["content_type_id"]), str(row["object_id"] or "none"), row["object_repr"] or None
        ),
        metadata=told,
    )


def _message(text: str) -> Any:
    try:
        return json.decode(text)
    except ValueError:
        return text


def _type(content_type_id: int | None) -> str:
    if content_type_id is None:
        return "object"
    kind: Any = apps.get_model("contenttypes", "ContentType").objects.get_for_id(content_type_id)
    model = kind.model_class()
    if model is None:
        return kind.model
    known = watched.get(model._meta.db_table)
    return known.type if known else snake(model._meta.object_name)
