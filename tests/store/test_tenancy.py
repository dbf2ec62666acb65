"""The second fence: a statement that forgot its organization finds no row of another, directly and behind a pooler,
whether each role has a login of its own or the owner of the tables is the login for everything.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from pooler import own_pooler, pgbouncer, real_pgbouncer
from postgres import Cluster, Database
from services.appending import LOG, NOON, LogUnderTest, event
from tallystick.errors import AuditError
from tallystick.store.connect import EVERY, Dsn, Pool, open_pool, transaction
from tallystick.store.inspect import inspect
from tallystick.store.subjects import look_up_subjects

ADA, BOB = uuid.UUID(int=0xADA << 96), uuid.UUID(int=0xB0B << 96)
NO_PGBOUNCER = pytest.mark.skipif(pgbouncer() is None, reason="PgBouncer is not installed here")
# What stands between, and who signs in.
KINDS = [
    ("direct", "each"),
    ("ours", "each"),
    pytest.param(("pgbouncer", "each"), marks=NO_PGBOUNCER),
    ("direct", "owner"),
    pytest.param(("pgbouncer", "owner"), marks=NO_PGBOUNCER),
]
# What a row of each table needs besides its organization; every other column has a default or may be null.
ROWS: dict[str, str] = {
    "api_keys": "(organization_id, id, name, prefix, sha256, permissions) VALUES ($1, $2, 'n', 'p', sha256(convert_to($2, 'UTF8')), '{}')",
    "event_counts": "", "terms": "(organization_id, kind, value, events) VALUES ($1, 'action', $2, 1)",
    "teams": "(organization_id, id, display_name) VALUES ($1, $2, 'n')",
    "workspaces": "(organization_id, id, display_name) VALUES ($1, $2, 'n')",
    "members": "(organization_id, id, email, display_name, role) VALUES ($1, $2, $2, 'n', 'OWNER')",
    "roles": "(organization_id, id, name, permissions) VALUES ($1, $2, $2, '{}')",
    "member_workspaces": "(organization_id, member_id, workspace_id, role) VALUES ($1, $2, 'w', 'ADMIN')",
    "log_head": "(organization_id) VALUES ($1)",
    "subjects": "(organization_id, ref, type, id) VALUES ($1, gen_random_uuid(), 'user', $2)",
    "subject_labels": "(organization_id, ref, label, trigrams) VALUES ($1, gen_random_uuid(), $2, '{1}')",
    "quarantine": "(organization_id, position, action, violations) VALUES ($1, 1, $2, '[]')",
    "registered_actions": "(organization_id, name, version, declaration) VALUES ($1, $2, 1, '{}')",
}  # fmt: skip
NAMED = {"members", "audit_logs", "organizations", "api_keys"}
EVENT = """
INSERT INTO audit_logs (organization_id, received_at, occurred_at, position, id, actor_ref, actor_type, action, verb, outcome,
    stream, workspace, target_type, target_id, ip, request_id, leaf_hash, seed, leaf, opening)
VALUES ($1, now(), now(), 0, gen_random_uuid(), gen_random_uuid(), 'user', 'a', 'read', 'success', 's', '', 't', 'x', '', '',
    sha256('\\x0000'::bytea), 's', '\\x00', '{}')
"""
FILLED = {table: values for table, values in ROWS.items() if values}
FENCED = """
SELECT c.relname, c.relrowsecurity, (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND a.attname = 'organization_id'
"""


@pytest.fixture
def twins(database: Database) -> Database:
    """A database with one row of each of two organizations in each of many tables."""
    with psycopg.connect(
        database.superuser.url, autocommit=True, cursor_factory=psycopg.RawCursor
    ) as connection:
        connection.execute("SELECT ensure_audit_logs_month(now())")
        for organization, name in ((ADA, "ada"), (BOB, "bob")):
            connection.execute(EVENT, [organization])
            connection.execute(
                "INSERT INTO organizations (id, display_name) VALUES ($1, $2)", [organization, name]
            )
            for table, values in FILLED.items():
                given = [organization, name] if "$2" in values else [organization]
                connection.execute(f"INSERT INTO {table} {values}", given)
    return database


@pytest_asyncio.fixture(params=KINDS)
async def pools(
    request: pytest.FixtureRequest, twins: Database, postgres_cluster: Cluster
) -> AsyncIterator[dict[str, Pool]]:
    """A pool of the writer and one of the reader, each with few server connections behind a pooler."""
    between, who = request.param
    async with AsyncExitStack() as stack:
        made: dict[str, Pool] = {}
        for role in ("writer", "reader"):
            login: Dsn = getattr(twins.logins, "owner" if who == "owner" else role)
            address = login
            if between == "ours":
                address = await stack.enter_async_context(own_pooler(login, 4))  # it loses those thrown away
            if between == "pgbouncer":
                address = await stack.enter_async_context(
                    real_pgbouncer(login, postgres_cluster.server.sockets, 1)
                )
            made[role] = await open_pool(address, role=role, pooler=between != "direct", size_min=0)  # type: ignore[arg-type]
        yield made
        for pool in made.values():
            await pool.close()


def fenced_tables(database: Database) -> Iterator[tuple[str, bool, int]]:
    """Yield every table with an organization: its name, whether policies are in force, and how many it has."""
    with psycopg.connect(database.superuser.url) as connection:
        yield from connection.execute(FENCED).fetchall()


def test_no_table_is_forgotten(database: Database) -> None:
    """A new table would show every organization's rows to a statement that forgot to say whose it wants."""
    found = list(fenced_tables(database))
    assert len(found) > 20
    assert [name for name, on, policies in found if not on or policies != 1] == []


async def test_a_statement_that_forgot_finds_nothing_of_others(pools: dict[str, Pool]) -> None:
    """One forgotten condition would be a breach of all organizations' data."""
    readable = set(FILLED) - {"members"}  # the reader sees some of its columns only
    for role, tables in (("writer", {*FILLED, "audit_logs"}), ("reader", {*readable, "audit_logs"})):
        for table in sorted(tables):
            statement = f"SELECT organization_id FROM {table}"
            for organization, seen in ((ADA, {ADA}), (BOB, {BOB}), (EVERY, {ADA, BOB}), (None, set())):
                async with transaction(pools[role], reading=True, organization=organization) as connection:
                    rows = await connection.fetch(statement)
                assert {row["organization_id"] for row in rows} == seen, (role, table, organization)


@pytest.mark.parametrize("table", sorted(FILLED))
async def test_nothing_is_written_for_another(pools: dict[str, Pool], table: str) -> None:
    """A confused caller would put its rows into another organization."""
    values = FILLED[table]
    given = [BOB, "intruder"] if "$2" in values else [BOB]
    for organization in (ADA, None):
        with pytest.raises(AuditError, match="42501"):
            async with transaction(pools["writer"], organization=organization) as connection:
                await connection.execute(f"INSERT INTO {table} {values}", *given)
    async with transaction(pools["writer"], reading=True, organization=EVERY) as connection:
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 2


async def test_nothing_of_another_is_changed(pools: dict[str, Pool]) -> None:
    """A statement that names another's row would change it."""
    for statement in (
        "UPDATE members SET role = 'VIEWER'", "UPDATE organizations SET display_name = 'mine'",
        "UPDATE api_keys SET revoked_at = now()", "DELETE FROM member_workspaces",
    ):  # fmt: skip
        async with transaction(pools["writer"], organization=ADA) as connection:
            assert (await connection.execute(statement)).endswith(" 1"), statement
    async with transaction(pools["writer"], reading=True, organization=BOB) as connection:
        assert await connection.fetchval("SELECT role FROM members") == "OWNER"
        assert await connection.fetchval("SELECT display_name FROM organizations") == "bob"
        assert await connection.fetchval("SELECT revoked_at FROM api_keys") is None
        assert await connection.fetchval("SELECT count(*) FROM member_workspaces") == 1


@pytest.mark.parametrize("view", ["audit_candidates", "subject_label_candidates"])
async def test_the_views_hold_the_fence_themselves(pools: dict[str, Pool], view: str) -> None:
    """The views that a search finds rows through are the owner's, whom no policy binds."""
    for organization, seen in ((ADA, {ADA}), (EVERY, set()), (None, set())):
        async with transaction(pools["reader"], reading=True, organization=organization) as connection:
            rows = await connection.fetch(f"SELECT organization_id FROM {view}")
        assert {row["organization_id"] for row in rows} == seen


async def test_the_setting_ends_with_its_transaction(pools: dict[str, Pool]) -> None:
    """The next user of a pooled connection would see what the one before it was allowed to."""
    pool = pools["reader"]
    statement = "SELECT count(*) FROM workspaces"

    async def count(organization: object) -> int:
        async with transaction(pool, reading=True, organization=organization) as connection:  # type: ignore[arg-type]
            await asyncio.sleep(0)
            return await connection.fetchval(statement)

    assert await count(EVERY) == 2
    assert await count(None) == 0
    with pytest.raises(ZeroDivisionError):
        async with transaction(pool, reading=True, organization=EVERY):
            raise ZeroDivisionError  # the connection is thrown away, the pooler's own goes on
    assert await count(None) == 0
    mixed = [ADA, None, BOB, EVERY] * 25
    assert await asyncio.gather(*map(count, mixed)) == [1, 0, 1, 2] * 25


async def test_a_plan_made_for_one_is_no_plan_for_another(pools: dict[str, Pool]) -> None:
    """A prepared statement would keep the organization it was planned for."""
    for organization, name in ((ADA, "ada"), (BOB, "bob"), (ADA, "ada"), (BOB, "bob")) * 4:
        async with transaction(pools["writer"], reading=True, organization=organization) as connection:
            found = await connection.fetch("SELECT id FROM teams WHERE display_name = $1", "n")
        assert [row["id"] for row in found] == [name]


@pytest.mark.parametrize("pooler", [False, pytest.param(True, marks=NO_PGBOUNCER)])
async def test_an_owner_appends_as_the_writer(
    database: Database, postgres_cluster: Cluster, tmp_path: Path, pooler: bool
) -> None:
    """A statement that is a transaction of its own would run with the rights of the owner, whom no policy binds."""
    async with AsyncExitStack() as stack:
        login = database.logins.owner
        if pooler:
            login = await stack.enter_async_context(real_pgbouncer(login, postgres_cluster.server.sockets, 2))
        pool = await open_pool(login, role="writer", pooler=pooler, size_min=0)
        stack.push_async_callback(pool.close)
        log = LogUnderTest(pool, tmp_path, lambda: NOON)
        stack.push_async_callback(log.stop)
        for _ in range(3):  # the first one makes the log
            await log.append([event()])
        with psycopg.connect(database.superuser.url, autocommit=True) as connection:
            connection.execute("REVOKE INSERT ON audit_logs FROM tallystick_writer")
            with pytest.raises(AuditError, match="42501"):
                await log.append([event()])
            connection.execute("GRANT INSERT ON audit_logs TO tallystick_writer")
            connection.execute("REVOKE SELECT ON subjects FROM tallystick_writer")
            with pytest.raises(AuditError, match="42501"):
                await look_up_subjects(pool, LOG, [("user", "u")])


async def test_the_partition_of_a_month_has_no_way_around(twins: Database) -> None:
    """Partitions have no policies of their own: whoever may read one directly would read everybody's rows."""
    with psycopg.connect(twins.superuser.url, autocommit=True) as connection:
        connection.execute("SELECT ensure_audit_logs_month(now())")
        part = connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_logs'::regclass"
        ).fetchone()
    assert part is not None
    for login in (twins.logins.reader, twins.logins.writer, twins.logins.keeper):
        with psycopg.connect(login.url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"SELECT * FROM {part[0]}")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE members DISABLE ROW LEVEL SECURITY",
        "CREATE POLICY open_door ON audit_logs USING (true)",
        "ALTER POLICY own_organization ON organizations USING (true)",
        "DROP POLICY own_organization ON api_keys",
    ],
)
async def test_an_opened_fence_is_found(database: Database, change: str) -> None:
    """An intruder, or a hurried operator, would take the second fence away and nobody would notice."""
    pool = await open_pool(database.logins.reader, role="reader", size_min=0)
    assert (await inspect(pool, datetime.now(UTC))).unfenced == []
    with psycopg.connect(database.superuser.url, autocommit=True) as connection:
        connection.execute(change)  # type: ignore[arg-type]
    found = await inspect(pool, datetime.now(UTC))
    await pool.close()
    assert found.unfenced == [next(word for word in change.split() if word in NAMED)]
