"""The transactional outbox: an event commits or rolls back with the rows it is about; a relay sends it afterwards.

For SQLAlchemy see `tallystick.sqlalchemy`, for Django `tallystick.django`; the table and the relay are the same.
"""

from __future__ import annotations

from tallystick.client.trigger_pack import capture_table
from tallystick.outbox.plain import Outbox, Relay, shipping_of
from tallystick.outbox.relay import relay_until
from tallystick.outbox.table import Lag, Statements

__all__ = ["Lag", "Outbox", "Relay", "Statements", "capture_table", "relay_until", "shipping_of"]
