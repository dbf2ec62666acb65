"""The schema of a database: forward only, one at a time, and the same whichever way it was reached."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from pathlib import Path

import pytest

from postgres import Cluster, Database, own_server
from tallystick.errors import AuditError, Misconfigured
from tallystick.store.connect import connect, open_pool, transaction
from tallystick.store.migrate import (
    Migration,
    Plan,
    due_migrations,
    dump_schema,
    migrate,
    read_plan,
    without_roles,
)

FIRST = Plan("CREATE TABLE a (x int); GRANT SELECT ON a TO tallystick_reader;", ())
STEP_1 = Migration(1, "second_table", "CREATE TABLE b (y int);")
STEP_2 = Migration(2, "third_table", "CREATE TABLE c (z int); SELECT pg_sleep(0.05);")
THEN = Plan(FIRST.schema + STEP_1.sql + STEP_2.sql, (STEP_1, STEP_2))


def silent(_: str) -> None:
    """Take a sentence for the operator and say nothing."""


async def tables(database: Database) -> list[str]:
    connection = await connect(database.superuser)
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    await connection.close()
    return [row["tablename"] for row in rows]


async def test_an_empty_database_gets_the_whole_schema_at_once(empty_database: Database) -> None:
    """A first start would end without tables, or the second would try to make them again."""
    owner = empty_database.logins.owner
    assert await migrate(owner, THEN, say=silent) == ["schema.sql"]
    assert await tables(empty_database) == ["a", "b", "c", "schema_migrations"]
    assert await migrate(owner, THEN, say=silent) == []


async def test_an_old_database_gets_what_it_lacks_in_order(empty_database: Database) -> None:
    """An upgrade would skip a step or run one twice."""
    owner = empty_database.logins.owner
    said: list[str] = []
    await migrate(owner, FIRST, say=silent)
    assert await migrate(owner, THEN, say=said.append) == ["0001_second_table.sql", "0002_third_table.sql"]
    assert said == [
        "Applied to the database: 0001_second_table.sql",
        "Applied to the database: 0002_third_table.sql",
    ]


async def test_two_starters_at_once_migrate_once(empty_database: Database) -> None:
    """Two servers that start together would run a step twice, and one of them would fail."""
    owner = empty_database.logins.owner
    both = await asyncio.gather(*(migrate(owner, FIRST, say=silent, pooler=True) for _ in range(4)))
    assert sorted(both) == [[], [], [], ["schema.sql"]]
    both = await asyncio.gather(*(migrate(owner, THEN, say=silent, pooler=True) for _ in range(4)))
    assert sorted(len(names) for names in both) == [0, 0, 0, 2]


async def test_a_failing_step_leaves_the_database_as_it_was(empty_database: Database) -> None:
    """A half migrated database would be left behind, that no version fits."""
    owner = empty_database.logins.owner
    await migrate(owner, FIRST, say=silent)
    broken = Plan("", (STEP_1, Migration(2, "broken", "CREATE TABLE c (z int); SELECT 1/0;")))
    with pytest.raises(AuditError, match=r"0002_broken\.sql failed \(22012\)"):
        await migrate(owner, broken, say=silent)
    assert await tables(empty_database) == ["a", "schema_migrations"]
    assert len(await migrate(owner, THEN, say=silent)) == 2


async def test_a_newer_database_is_refused(empty_database: Database) -> None:
    """An older program would write into a schema it does not know."""
    await migrate(empty_database.logins.owner, THEN, say=silent)
    with pytest.raises(Misconfigured, match=r"newer Tallystick.*Start the newer version"):
        await migrate(
            empty_database.logins.owner, dataclasses.replace(THEN, migrations=(STEP_1,)), say=silent
        )


async def test_an_edited_migration_is_refused(empty_database: Database) -> None:
    """An edit of an applied step would never reach the databases that have it."""
    await migrate(empty_database.logins.owner, THEN, say=silent)
    edited = Migration(2, "third_table", STEP_2.sql + " ")
    with pytest.raises(
        Misconfigured, match=r"0002_third_table\.sql was applied to this database with other content"
    ):
        await migrate(empty_database.logins.owner, Plan("", (STEP_1, edited)), say=silent)


def test_a_gap_in_what_was_applied_is_filled() -> None:
    """A step that was merged late would never be applied."""
    applied = [{"version": 2, "name": STEP_2.name, "sha256": STEP_2.sha256}]
    assert due_migrations(THEN, applied) == [STEP_1]


async def test_our_own_plan_applies_as_the_owner(postgres_cluster: Cluster, database: Database) -> None:
    """The schema would need more than the rights of its owner."""
    connection = await connect(database.superuser)
    owners = await connection.fetch("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    await connection.close()
    assert [row["tableowner"] for row in owners] == ["tallystick_owner"]
    assert await migrate(database.logins.owner, read_plan(), say=silent) == []


async def test_a_transaction_cannot_stand_for_ever(database: Database) -> None:
    """A forgotten reader would keep every dead version of log_head alive, and appending would slow down."""
    connection = await connect(database.logins.reader)
    if connection.get_server_version().major < 17:
        pytest.skip("transaction_timeout came with PostgreSQL 17")
    assert await connection.fetchval("SHOW transaction_timeout") == "1min"
    await connection.close()


async def test_migrated_equals_fresh(
    postgres_cluster: Cluster, postgres_programs: Path, empty_database: Database, database: Database
) -> None:
    """A database that was upgraded would differ from a new one.

    The schema as it was before the first migration is kept in tests/golden/schema-0.sql from the first migration on.
    """
    plan = read_plan()
    if plan.migrations:
        first = Path(__file__).resolve().parent.parent / "golden" / "schema-0.sql"
        plan_0 = Plan(first.read_text("utf-8"), ())
        await migrate(empty_database.logins.owner, plan_0, say=silent)
    await migrate(empty_database.logins.owner, plan, say=silent)
    fresh = dump_schema(postgres_programs, database.superuser)
    assert "audit_logs" in fresh
    assert dump_schema(postgres_programs, empty_database.superuser) == fresh


async def test_the_comparison_of_schemas_sees_a_difference(
    postgres_programs: Path, empty_database: Database, database: Database
) -> None:
    """The comparison itself would be blind."""
    await migrate(empty_database.logins.owner, read_plan(), say=silent)
    connection = await connect(empty_database.superuser)
    await connection.execute("ALTER TABLE audit_logs ALTER COLUMN action SET DEFAULT 'x'")
    await connection.close()
    assert dump_schema(postgres_programs, empty_database.superuser) != dump_schema(
        postgres_programs, database.superuser
    )


@pytest.mark.parametrize("name", ["1_x.sql", "0002_x.sql", "0001_X.sql"])
def test_a_misnumbered_migration_is_refused(tmp_path: Path, name: str) -> None:
    """Two branches that add the same number, or a wrong name, would be applied in an order of chance."""
    (tmp_path / "migrations").mkdir()
    (tmp_path / "schema.sql").write_text("")
    (tmp_path / "migrations" / name).write_text("")
    with pytest.raises(Misconfigured, match="numbered from 0001 without a gap"):
        read_plan(tmp_path)


def test_grants_to_absent_roles_are_left_out() -> None:
    """On a server where we may not create roles the schema could not be applied at all."""
    sql = "CREATE TABLE a ();\nGRANT SELECT ON a TO tallystick_reader,\n  tallystick_writer;\nGRANT ALL ON a TO tallystick_keeper;\n"
    assert without_roles(sql, {"tallystick_keeper", "tallystick_writer"}) == (
        "CREATE TABLE a ();\nGRANT SELECT ON a TO tallystick_reader;\n\n"
    )
    assert without_roles(sql, set()) == sql


async def test_without_the_right_to_make_roles_it_goes_on_and_says_so(
    tmp_path: Path, postgres_programs: Path
) -> None:
    """A managed database whose login may not create roles could not be used."""
    said: list[str] = []
    # A cluster of its own, since roles belong to the whole cluster.
    async with own_server(tmp_path, programs=postgres_programs) as (_, superuser):
        admin = await connect(superuser)
        secret = secrets.token_hex(8)
        await admin.execute(f"CREATE ROLE app LOGIN PASSWORD '{secret}'")
        await admin.execute("CREATE DATABASE app OWNER app")
        owner = superuser.with_login("app", secret).with_database("app")
        assert await migrate(owner, read_plan(), say=said.append) == ["schema.sql"]
        assert "tallystick_writer" in said[0]
        await admin.execute("CREATE ROLE tallystick_reader NOLOGIN")
        assert await migrate(owner, read_plan(), say=said.append) == []
        assert "GRANT tallystick_reader TO the login" in said[-1]
        await admin.execute("DROP ROLE tallystick_reader")
        await admin.execute("ALTER ROLE app CREATEROLE")
        await admin.execute("CREATE DATABASE app2 OWNER app")
        assert await migrate(owner.with_database("app2"), read_plan(), say=said.append) == ["schema.sql"]
        assert len(await admin.fetch("SELECT FROM pg_roles WHERE rolname LIKE 'tallystick_%'")) == 4
        pool = await open_pool(owner.with_database("app2"), role="reader", size_min=0)
        async with transaction(pool, reading=True) as connection:
            assert await connection.fetchval("SELECT current_user") == "tallystick_reader"
        await pool.close()
        await admin.close()
