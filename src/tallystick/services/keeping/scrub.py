"""Scrubbing: tables from which values were erased are written anew, so that no page of their files still holds any.

PostgreSQL takes a dead row's place back without wiping it. Writing a table anew holds up whoever wants it meanwhile, so
this is the operator's to begin, not the server's: `tallystick erase scrub`.
"""

from __future__ import annotations

from collections.abc import Callable

from tallystick.store import scrub as store
from tallystick.store.connect import Dsn


async def scrub(owner: Dsn, *, say: Callable[[str], None]) -> None:
    """Write anew every table that may have held an erased value, one after the other, and begin a new WAL file.

    Files of the write-ahead log that hold old values go with the next checkpoints, the server's own logs when they are
    rotated. Raises TryLater when the database cannot be reached.
    """
    for table in await store.tables(owner):
        say(f"Writing {table} anew.")
        await store.rewrite(owner, table)
