"""Tallystick: the open, self-hosted, provable audit log for AI platforms.

The names here are the SDK. They are imported when they are first used, so that neither a server nor a command
pays for what it does not need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tallystick.client.act import Draft as Draft
    from tallystick.client.actors import Actor as Actor
    from tallystick.client.actors import Agent as Agent
    from tallystick.client.actors import Anonymous as Anonymous
    from tallystick.client.actors import ApiKey as ApiKey
    from tallystick.client.actors import Secret as Secret
    from tallystick.client.actors import Service as Service
    from tallystick.client.actors import System as System
    from tallystick.client.actors import Target as Target
    from tallystick.client.actors import User as User
    from tallystick.client.audit import AsyncAudit as AsyncAudit
    from tallystick.client.audit import Audit as Audit
    from tallystick.client.delivery import Stats as Stats
    from tallystick.client.recording import Receipt as Receipt
    from tallystick.client.snapshot import snapshot as snapshot
    from tallystick.client.transport import Committed as Committed
    from tallystick.errors import AuditError as AuditError
    from tallystick.errors import NotConfirmed as NotConfirmed
    from tallystick.errors import Refused as ValidationError  # noqa: F401
    from tallystick.errors import ServerRejected as ServerRejected
    from tallystick.errors import SpoolFull as SpoolFull
    from tallystick.reading.async_client import AsyncClient as AsyncClient
    from tallystick.reading.client import Client as Client
    from tallystick.reading.verified import Verified as Verified
    from tallystick.reading.viewers import ViewerSession as ViewerSession

_PLACES = {
    "client.act": ("Draft",),
    "client.actors": (
        "Actor", "Agent", "Anonymous", "ApiKey", "Secret", "Service", "System", "Target", "User",
    ),
    "client.audit": ("AsyncAudit", "Audit"),
    "client.delivery": ("Stats",),
    "client.recording": ("Receipt",),
    "client.snapshot": ("snapshot",),
    "client.transport": ("Committed",),
    "reading.async_client": ("AsyncClient",),
    "reading.client": ("Client",),
    "reading.verified": ("Verified",),
    "reading.viewers": ("ViewerSession",),
    "errors": ("AuditError", "NotConfirmed", "ServerRejected", "SpoolFull"),
}  # fmt: skip
_PLACE_OF = {name: (module, name) for module, names in _PLACES.items() for name in names}
_PLACE_OF["ValidationError"] = ("errors", "Refused")


def __getattr__(name: str) -> Any:
    try:
        module, inner = _PLACE_OF[name]
    except KeyError:
        raise AttributeError(f"module 'tallystick' has no attribute {name!r}") from None
    found = getattr(import_module(f"tallystick.{module}"), inner)
    globals()[name] = found  # the next look finds it without this function
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACE_OF})
