"""The Django application: `"tallystick.django"` in INSTALLED_APPS gives the outbox its table and models their capture."""

from __future__ import annotations

from typing import Any

import django
from django.apps import AppConfig, apps
from django.db.models.signals import class_prepared

from tallystick.errors import Misconfigured

NEWEST = (
    6,
    0,
)  # its save() asks the database in a way of its own; until that is known here, it is not guessed


class TallystickConfig(AppConfig):
    """Watches what models are declared, and everything the ORM writes to them."""

    name = "tallystick.django"
    label = "tallystick"
    verbose_name = "Audit log"

    def ready(self) -> None:
        """Begin to capture, now that every model is known."""
        version: Any = django.VERSION[:2]
        if not (5, 2) <= version < NEWEST:
            raise Misconfigured(
                f"models are recorded with Django 5.2, this is {django.get_version()}: what a newer one writes in new "
                "ways would be missing from the log without a sign of it"
            )
        from tallystick.django import admin_log, capture, registry, triggers

        for model in apps.get_models(include_auto_created=True):
            registry.prepared(model)
        registry.complete()
        class_prepared.connect(registry.on_prepared, dispatch_uid="tallystick")
        admin_log.watch()
        capture.install()
        triggers.install()
