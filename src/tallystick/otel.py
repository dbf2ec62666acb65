"""OpenTelemetry: log records that carry `audit.action` become events.

provider.add_log_record_processor(AuditLogProcessor(audit))
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.sdk._logs import LogRecordProcessor

from tallystick.client.actors import Agent, Anonymous, ApiKey, Service, System, Target, User
from tallystick.client.audit import Audit
from tallystick.client.context import current
from tallystick.errors import AuditError

log = logging.getLogger("tallystick")

ACTION: Final = "audit.action"
_PREFIX: Final = "audit."
_ACTORS: Final[dict[str, Any]] = {
    "user": User, "api_key": ApiKey, "service": Service, "agent": Agent, "system": System, "anonymous": Anonymous,
}  # fmt: skip
_TAKEN: Final = frozenset(
    f"audit.{name}"
    for name in (
        "action", "actor.type", "actor.id", "actor.name", "actor.email", "target.type", "target.id", "target.name",
        "outcome", "workspace",
    )
)  # fmt: skip


class AuditLogProcessor(LogRecordProcessor):
    """Records log records with the attribute `audit.action`; all others pass by.

    Attributes: `audit.action`, `audit.actor.{type,id,name,email}` (or who is bound, or the service), `audit.target.
    {type,id,name}`, `audit.outcome`, `audit.workspace`; other `audit.*` become metadata. The trace id is kept.
    """

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def on_emit(self, log_record: Any) -> None:
        """Record one log record, if it asks for that."""
        record = log_record.log_record
        attributes: Mapping[str, Any] = record.attributes or {}
        action = attributes.get(ACTION)
        if action is None:
            return
        try:
            self._audit.record(str(action), **self._fields(record, attributes, log_record.resource))
        except AuditError as error:
            # An exporter must not raise into the application; the mistake is the developer's to see.
            log.error("tallystick: a log record with %s could not be recorded: %s", ACTION, error)

    def _fields(self, record: Any, attributes: Mapping[str, Any], resource: Any) -> Any:
        fields: dict[str, Any] = {
            "metadata": {name.removeprefix(_PREFIX): value for name, value in attributes.items()
                         if name.startswith(_PREFIX) and name not in _TAKEN},
        }  # fmt: skip
        kind = attributes.get("audit.actor.type", "user" if "audit.actor.id" in attributes else None)
        if kind in _ACTORS:
            names = ("id", "name") if kind in ("system", "anonymous") else ("id", "name", "email")
            said = {name: attributes.get(f"audit.actor.{name}") for name in names}
            fields["actor"] = _ACTORS[kind](**{"id": None, **said})
        elif current().actor is None:
            name = (resource.attributes if resource else {}).get("service.name", "unknown_service")
            fields["actor"] = Service(str(name))
        if "audit.target.type" in attributes:
            fields["target"] = Target(
                attributes["audit.target.type"],
                str(attributes.get("audit.target.id", "")),
                attributes.get("audit.target.name"),
            )
        for name in ("outcome", "workspace"):
            if f"audit.{name}" in attributes:
                fields[name] = attributes[f"audit.{name}"]
        if record.trace_id:
            fields["context"] = {"trace_id": f"{record.trace_id:032x}"}
        return fields

    def shutdown(self) -> None:
        """Send what waits."""
        self._audit.flush()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits, within the time given."""
        return self._audit.flush(timeout_millis / 1000)
