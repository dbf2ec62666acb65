"""One event as it is written: the fields of the type `audit_row` of schema.sql, in their order."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

ROW_COLUMNS: Final = (
    *("occurred_at", "id", "actor_ref", "actor_type", "action", "verb", "outcome", "stream", "workspace"),
    *("target_type", "target_id", "more_targets", "ip", "request_id", "leaf_hash", "seed", "leaf", "opening"),
)
# All that does not depend on the place in the log. A plain tuple: the driver writes it as a record.
Row = tuple[
    datetime, UUID, UUID, str, str, str, str, str, str, str, str, tuple[str, ...], str, str, bytes, bytes, bytes, bytes
]  # fmt: skip
