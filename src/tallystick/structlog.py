"""structlog: `log.info("api_key.create", audit=True, target=…)` becomes an event as well.

structlog.configure(processors=[…, AuditProcessor(audit), …])
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from tallystick.client.audit import Audit
from tallystick.client.context import current
from tallystick.client.recording import Fields

_FIELDS: Final = frozenset(Fields.__annotations__)


class AuditProcessor:
    """Records what carries `audit=True`, and gives every log line the request id, actor and workspace that are bound.

    Of the event dictionary, names that `Audit.record` knows are its fields; the rest becomes metadata. The line goes
    on to the next processor with the event's id as `audit_id`.
    """

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def __call__(self, logger: Any, method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
        """Process one line."""
        bound = current()
        if line.pop("audit", False) is True:
            line["audit_id"] = self._record(method, line)
        actor = bound.actor() if callable(bound.actor) else bound.actor
        for name, value in (
            ("request_id", bound.places.get("request_id")),
            ("actor_id", getattr(actor, "id", None)),
            ("workspace", bound.workspace),
        ):
            if value is not None:
                line.setdefault(name, value)
        return line

    def _record(self, method: str, line: MutableMapping[str, Any]) -> str:
        fields: dict[str, Any] = {name: line.pop(name) for name in _FIELDS & line.keys()}
        rest = {
            name: value
            for name, value in line.items()
            if name not in ("event", "exc_info", "timestamp", "level")
        }
        if method in ("error", "critical", "exception"):
            fields.setdefault("outcome", "failure")
        fields["metadata"] = {**rest, **(fields.get("metadata") or {})}
        return self._audit.record(str(line["event"]), **fields).id
