"""Django: middleware, and models whose every change is recorded."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tallystick.django.middleware import AuditMiddleware as AuditMiddleware
    from tallystick.django.middleware import audit_event as audit_event

_PLACE_OF = {"AuditMiddleware": "middleware", "audit_event": "middleware"}


def __getattr__(name: str) -> Any:
    # Models can only be imported once Django has its applications, middleware before that.
    if name not in _PLACE_OF:
        raise AttributeError(f"module 'tallystick.django' has no attribute {name!r}")
    return getattr(import_module(f"tallystick.django.{_PLACE_OF[name]}"), name)
