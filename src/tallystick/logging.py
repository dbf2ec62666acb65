"""Standard library logging: `log.info("api_key.create", extra={"audit": {"actor": …, "target": …}})`.

logging.getLogger("audit").addHandler(AuditHandler(audit))
"""

from __future__ import annotations

import logging

from tallystick.client.audit import Audit
from tallystick.errors import AuditError


class AuditHandler(logging.Handler):
    """Records each log record as an event: its message is the action, its `audit` the fields of `Audit.record`.

    A record without `audit` is recorded too, by whom the context says. An error level or an exception makes the
    outcome failure, unless `audit` says another. Mistakes go where logging's own errors go: to stderr.
    """

    def __init__(self, audit: Audit, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._audit = audit

    def emit(self, record: logging.LogRecord) -> None:
        """Record one log record."""
        if record.name == "tallystick" or record.name.startswith("tallystick."):
            return  # what the SDK itself says must not become events: they could be about events
        fields = dict(getattr(record, "audit", None) or {})
        error = record.exc_info[1] if record.exc_info else None
        if error is not None or record.levelno >= logging.ERROR:
            fields.setdefault("outcome", "failure")
            if error is not None:
                fields.setdefault("error", error)
        fields["metadata"] = {"logger": record.name, **(fields.get("metadata") or {})}
        try:
            self._audit.record(record.getMessage(), **fields)
        except (AuditError, TypeError):
            self.handleError(record)
