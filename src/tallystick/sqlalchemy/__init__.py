"""SQLAlchemy: events that commit or roll back with the rows they are about, and before and after by themselves.

outbox = Outbox(Base.metadata)            # a table `audit_outbox`; create it with the others
instrument(Session, outbox, audit)        # models opt in: __audit__ = AuditOptions(exclude={"secret"})
outbox.record(session, audit, "budget.update", target=…, before=…, after=…)
relay(engine, outbox, audit)              # sends what is committed to the server
"""

from __future__ import annotations

from tallystick.errors import Misconfigured

try:
    import sqlalchemy  # noqa: F401
except ImportError:
    raise Misconfigured("tallystick.sqlalchemy needs SQLAlchemy: pip install sqlalchemy") from None

from tallystick.client.trigger_pack import capture_table
from tallystick.outbox.rows import AuditOptions
from tallystick.sqlalchemy.capture import instrument, tell_triggers
from tallystick.sqlalchemy.outbox import Outbox, Relay, relay, relay_soon

__all__ = [
    "AuditOptions", "Outbox", "Relay", "capture_table", "instrument", "relay", "relay_soon", "tell_triggers",
]  # fmt: skip
