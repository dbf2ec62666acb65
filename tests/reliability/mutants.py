"""Servers with one bug each, which the harness must find: run as `python mutants.py MUTANT serve …`.

The bugs are planted from outside, here; nothing in the product knows of them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tallystick.errors import AuditError
from tallystick.store.connect import EVERY, classify

DELAY_SECONDS = 0.3


def answer_before_commit() -> None:
    """Answer an append once its rows are written, and commit it a moment later: right until something dies."""
    from tallystick.services import commit as committer
    from tallystick.store import append as store

    committing: set[asyncio.Task[None]] = set()

    async def commit(pool: Any, connection: Any) -> None:
        try:
            await asyncio.sleep(DELAY_SECONDS)
            await connection.execute("COMMIT")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()
        finally:
            await pool.inner.release(connection)

    @asynccontextmanager
    async def transaction(
        pool: Any, *, reading: bool = False, organization: Any = None
    ) -> AsyncIterator[Any]:
        connection = await pool.inner.acquire()
        try:
            await connection.execute(f"BEGIN; SET LOCAL tallystick.organization = '{organization}'")
            yield connection
        except BaseException as error:
            connection.terminate()
            await pool.inner.release(connection)
            if isinstance(error, AuditError):
                raise
            raise classify(error, during_commit=False) from error
        task = asyncio.create_task(commit(pool, connection))
        committing.add(task)
        task.add_done_callback(committing.discard)

    async def only_statement(pool: Any, statement: str, arguments: Any) -> Any:
        async with transaction(pool, organization=EVERY) as connection:
            return await connection.fetchrow(statement, *arguments)

    committer.transaction = transaction  # type: ignore[assignment]
    store._only_statement = only_statement


def no_deduplication() -> None:
    """Forget which ids the log holds already, and the constraint that knows it too."""
    _after_migration(
        "ALTER TABLE idempotency DROP CONSTRAINT IF EXISTS idempotency_pkey CASCADE",
        ("i.id = ANY (new_ids)", "false"),
    )


def synchronous_commit_off() -> None:
    """Commit without waiting for the disk, the append's own insistence on it taken out."""
    real = asyncpg.create_pool

    def create_pool(*arguments: Any, server_settings: dict[str, str], **more: Any) -> Any:
        weakened = {**server_settings, "synchronous_commit": "off"}
        return real(*arguments, server_settings=weakened, **more)

    asyncpg.create_pool = create_pool  # type: ignore[assignment]
    _after_migration("SELECT 1", ("current_setting('synchronous_commit') = 'off'", "false"))


def _after_migration(statement: str, change: tuple[str, str]) -> None:
    """Have the server execute `statement`, and `change` the text of begin_append, once its schema is there."""
    from tallystick.store import migrate as migrating

    real = migrating.migrate

    async def migrate(owner: Any, *arguments: Any, **more: Any) -> Any:
        done = await real(owner, *arguments, **more)
        connection = await asyncpg.connect(owner.url)
        await connection.execute(statement)
        name = "begin_append(uuid,uuid[],uuid[],text[],text[])"
        written = await connection.fetchval("SELECT pg_get_functiondef($1::text::regprocedure)", name)
        if await connection.fetchval("SELECT to_regclass('planted_mutant') IS NULL"):
            assert change[0] in written, "the append no longer reads as this mutant expects"
            await connection.execute(written.replace(*change))
            await connection.execute("CREATE TABLE planted_mutant ()")
        await connection.close()
        return done

    migrating.migrate = migrate  # type: ignore[assignment]


MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__: mutant for mutant in (answer_before_commit, no_deduplication, synchronous_commit_off)
}

if __name__ == "__main__":
    MUTANTS[sys.argv.pop(1)]()
    from tallystick.cli import main

    main()
