"""Where the server's clock and chance enter; every other room takes them as arguments."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from uuid import UUID

from tallystick.event.identity import uuid7


def now() -> datetime:
    """The clock, in UTC."""
    return datetime.now(UTC)


def new_id() -> UUID:
    """A new UUIDv7."""
    return uuid7(time.time_ns() // 1_000_000, os.urandom(10))
