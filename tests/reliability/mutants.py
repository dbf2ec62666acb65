"""Servers with one bug each, which the harness must find: run as `python mutants.py MUTANT serve …`.

The bugs are planted from outside, here; nothing in the product knows of them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import asyncpg

DELAY_SECONDS = 0.1


def answer_before_commit() -> None:
    """Answer an append as soon as its statement is sent; the commit follows when it follows."""
    from tallystick.services import commit

    real = commit.store.append_at_once
    last: dict[Any, asyncio.Task[Any]] = {}

    async def later(pool: Any, append: Any, before: asyncio.Task[Any] | None) -> None:
        if before is not None:
            await asyncio.gather(before, return_exceptions=True)
        await asyncio.sleep(DELAY_SECONDS)
        await real(pool, append)

    async def at_once(pool: Any, append: Any) -> None:
        before = last.get(append.organization_id)
        last[append.organization_id] = asyncio.create_task(later(pool, append, before))

    commit.store.append_at_once = at_once  # type: ignore[assignment]


def no_deduplication() -> None:
    """Forget which ids the log holds already, and the constraint that knows it too."""
    from tallystick import runtime

    real = runtime.migrate.migrate

    async def migrate(owner: Any, *arguments: Any, **more: Any) -> Any:
        done = await real(owner, *arguments, **more)
        connection = await asyncpg.connect(owner.url)
        await connection.execute("ALTER TABLE idempotency DROP CONSTRAINT IF EXISTS idempotency_pkey CASCADE")
        name = "begin_append(uuid,uuid[],uuid[],text[],text[])"
        written = await connection.fetchval("SELECT pg_get_functiondef($1::text::regprocedure)", name)
        await connection.execute(written.replace("i.id = ANY (new_ids)", "false"))
        await connection.close()
        return done

    runtime.migrate.migrate = migrate  # type: ignore[assignment]


def synchronous_commit_off() -> None:
    """Commit without waiting for the disk."""
    real = asyncpg.create_pool

    def create_pool(*arguments: Any, server_settings: dict[str, str], **more: Any) -> Any:
        weakened = {**server_settings, "synchronous_commit": "off"}
        return real(*arguments, server_settings=weakened, **more)

    asyncpg.create_pool = create_pool  # type: ignore[assignment]


MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__: mutant for mutant in (answer_before_commit, no_deduplication, synchronous_commit_off)
}

if __name__ == "__main__":
    MUTANTS[sys.argv.pop(1)]()
    from tallystick.cli import main

    main()
