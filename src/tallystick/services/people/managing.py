"""What everything has in common that changes an organization's people, roles, groups and workspaces."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tallystick.services.ingest import Ingest
from tallystick.store.connect import Pool


class Managing:
    """Changes who may do what, each change in one transaction with its event.

    Args:
        writer: the pool of the writing role: what was revoked a moment ago must be known.
        ingest: appends the events.
        forget: makes this server ask again who may do what.
        now: the clock, in UTC.
        random: gives that many random bytes.
    """

    def __init__(
        self,
        writer: Pool,
        ingest: Ingest,
        *,
        forget: Callable[[], None],
        now: Callable[[], datetime],
        random: Callable[[int], bytes],
    ) -> None:
        self._writer = writer
        self._ingest = ingest
        self._forget = forget
        self._now = now
        self._random = random
