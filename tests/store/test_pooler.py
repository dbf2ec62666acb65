"""A pooler in transaction mode before the database: everything still holds, and a wrong setting is explained."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pooler import own_pooler, pgbouncer, real_pgbouncer
from postgres import Cluster, Database
from tallystick.errors import Misconfigured
from tallystick.store.connect import EVERY, Dsn, connect, open_pool, transaction
from tallystick.store.durability import check
from tallystick.store.migrate import migrate, read_plan

KINDS = [
    "ours",
    pytest.param(
        "pgbouncer", marks=pytest.mark.skipif(pgbouncer() is None, reason="PgBouncer is not installed here")
    ),
]


def pooler_of(kind: str, found: Cluster, address: Dsn) -> object:
    return own_pooler(address) if kind == "ours" else real_pgbouncer(address, found.server.sockets)


@pytest_asyncio.fixture(params=KINDS)
async def writer(
    request: pytest.FixtureRequest, postgres_cluster: Cluster, database: Database
) -> AsyncIterator[Dsn]:
    """The writer's address behind a pooler with three connections."""
    async with pooler_of(request.param, postgres_cluster, database.logins.writer) as address:  # type: ignore[attr-defined]
        yield address


async def test_many_clients_share_few_connections(writer: Dsn) -> None:
    """A statement would land in another session than the one that knows it, or a setting would be missing."""
    pool = await open_pool(writer, role="writer", pooler=True, size_max=8)
    statement = "INSERT INTO organizations (id, display_name, config) VALUES ($1, $2, $3)"

    async def work(number: int) -> str:
        async with transaction(pool, organization=EVERY) as connection:
            await connection.execute(statement, uuid.uuid4(), f"{number}", b'{"a": 1}')
            more = [(uuid.uuid4(), f"second {number}", b"{}"), (uuid.uuid4(), f"third {number}", b"{}")]
            await connection.executemany(statement, more)
            assert await connection.fetchval("SELECT $1::text", f"{number}") == f"{number}"
            return await connection.fetchval("SHOW statement_timeout")

    assert set(await asyncio.gather(*(work(number) for number in range(60)))) == {"7s"}
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        assert await connection.fetchval("SELECT count(*) FROM organizations") == 180
    await pool.close()


async def test_nothing_stays_behind_in_a_session(writer: Dsn) -> None:
    """The next user of the same connection, a stranger perhaps, would get our time-outs or our statements."""
    pool = await open_pool(writer, role="writer", pooler=True, size_max=3)

    async def work() -> None:
        async with transaction(pool) as connection:
            await connection.fetchval("SELECT $1::int", 1)

    await asyncio.gather(*(work() for _ in range(20)))
    other = await connect(writer, pooler=True)
    for _ in range(6):
        left = await other.fetch(
            "SELECT name, setting FROM pg_settings WHERE source = 'session' AND name <> 'client_encoding'"
        )
        assert [tuple(row) for row in left if row["name"].endswith("timeout")] == []
        assert await other.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''") == 0
    await other.close()
    await pool.close()


async def test_the_settings_of_the_server_can_be_judged(writer: Dsn) -> None:
    """The check at the start would fail behind a pooler."""
    connection = await connect(writer, pooler=True)
    assert {finding.setting for finding in await check(connection)} >= {"fsync", "full_page_writes"}
    await connection.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_the_schema_can_be_made_behind_a_pooler(
    kind: str, postgres_cluster: Cluster, empty_database: Database
) -> None:
    """The lock against a second starter would be left in one session and released in another."""
    async with pooler_of(kind, postgres_cluster, empty_database.logins.owner) as owner:  # type: ignore[attr-defined]
        both = await asyncio.gather(*(migrate(owner, read_plan(), say=print, pooler=True) for _ in range(3)))
        assert sorted(both) == [[], [], ["schema.sql"]]
        connection = await connect(empty_database.superuser)
        assert await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
        await connection.close()


async def test_a_pooler_that_is_not_declared_is_explained(writer: Dsn) -> None:
    """An operator would see a database that cannot be reached, for ever."""
    with pytest.raises(Misconfigured, match="TALLYSTICK_DATABASE_POOLER=transaction"):
        await open_pool(writer, role="writer", pooler=False)
