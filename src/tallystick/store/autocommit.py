"""One statement that is a transaction of its own: a single round trip, where BEGIN and COMMIT would be three."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from tallystick.store.connect import ACQUIRE_SECONDS, Connection, Pool, classify, is_of_driver

if TYPE_CHECKING:
    from asyncpg import Record


async def fetch_alone(pool: Pool, statement: str, arguments: Sequence[Any], *, changes: bool) -> list[Record]:
    """Run one statement and return its rows; its last parameter takes the role that it must act as, "" for none.

    Raises what `classify` makes of the driver's errors. With `changes`, an error that does not say that the
    statement was rolled back is an UnknownOutcome. After any error the connection is thrown away.
    """
    try:
        connection = cast(Connection, await pool.inner.acquire(timeout=ACQUIRE_SECONDS))
    except Exception as error:
        raise classify(error, during_commit=False) from error
    try:
        return await connection.fetch(statement, *arguments, connection.acting)
    except BaseException as error:
        with suppress(asyncpg.InterfaceError):  # the pool has let go of a connection that the server closed
            connection.terminate()
        if not isinstance(error, Exception) or not is_of_driver(error):
            raise
        # An ERROR says that the statement was rolled back. Anything else, a lost connection, a time-out or a
        # FATAL, may have come after its commit.
        is_rolled_back = getattr(error, "severity_en", None) == "ERROR"
        raise classify(error, during_commit=changes and not is_rolled_back) from error
    finally:
        await pool.inner.release(connection)
