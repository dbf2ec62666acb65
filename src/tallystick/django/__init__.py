"""Django: middleware, and models whose every change is recorded in the transaction that makes it.

INSTALLED_APPS = [..., "tallystick.django"]         # the outbox's table: manage.py migrate
class Budget(AuditedModel): ...                     # or audit_models("auth.User", exclude={"last_login"})
with transaction.atomic(): record("budget.approve", target=…)
manage.py tallystick_outbox relay
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tallystick.django.middleware import AuditMiddleware as AuditMiddleware
    from tallystick.django.middleware import audit_event as audit_event
    from tallystick.django.models import AuditedModel as AuditedModel
    from tallystick.django.outbox import Relay as Relay
    from tallystick.django.outbox import lag as lag
    from tallystick.django.outbox import record as record
    from tallystick.django.outbox import relay as relay
    from tallystick.django.registry import audit_models as audit_models
    from tallystick.django.triggers import Triggers as Triggers
    from tallystick.outbox.rows import AuditOptions as AuditOptions

_PLACE_OF = {
    "AuditMiddleware": "django.middleware", "audit_event": "django.middleware", "AuditedModel": "django.models",
    "AuditOptions": "outbox.rows", "Relay": "django.outbox", "lag": "django.outbox", "record": "django.outbox",
    "relay": "django.outbox", "audit_models": "django.registry", "Triggers": "django.triggers",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    # Models can only be imported once Django has its applications, middleware before that.
    if name not in _PLACE_OF:
        raise AttributeError(f"module 'tallystick.django' has no attribute {name!r}")
    try:
        return getattr(import_module(f"tallystick.{_PLACE_OF[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("django", "asgiref"):
            raise
        from tallystick.errors import Misconfigured

        raise Misconfigured("tallystick.django needs Django: pip install django") from None
