"""What the settings of a project say about recording, read once."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import PurePath
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS

from tallystick.client.actors import Actor, Service
from tallystick.client.audit import Audit
from tallystick.client.context import current
from tallystick.django.middleware import configured


@lru_cache(maxsize=1)
def the_audit() -> Audit:
    """Return the project's `Audit`: TALLYSTICK["audit"], or one from the environment."""
    return configured()[0]


def given(name: str, default: Any = None) -> Any:
    """Return one of the settings in TALLYSTICK."""
    return getattr(settings, "TALLYSTICK", {}).get(name, default)


def nobody() -> Actor | None:
    """Return who acts where nobody is bound: the program, or nobody where TALLYSTICK["require_actor"] says so."""
    if current().actor is not None or given("require_actor", False):
        return None
    return _program()


@lru_cache(maxsize=1)
def _program() -> Service:
    words = [PurePath(sys.argv[0]).name, *sys.argv[1:2]] if sys.argv else []
    return Service("django", name=" ".join(words)[:128] or None)


def _changed(*, setting: str, **more: Any) -> None:
    if setting == "TALLYSTICK":
        the_audit.cache_clear()


setting_changed.connect(_changed, dispatch_uid="tallystick")

__all__ = ["DEFAULT_DB_ALIAS", "given", "nobody", "the_audit"]
