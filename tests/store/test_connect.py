"""Addresses, pools, transactions: what each error of the database means for the caller."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress

import asyncpg
import pytest

from postgres import Database, Pools
from tallystick.errors import AuditError, Conflict, Misconfigured, Tampered, TryLater, UnknownOutcome
from tallystick.store.connect import (
    EVERY,
    Connection,
    Dsn,
    Pool,
    classify,
    commit,
    connect,
    open_pool,
    transaction,
)

EVENT = """
INSERT INTO audit_logs (organization_id, received_at, occurred_at, position, id, actor_ref, actor_type, action, verb, outcome,
    stream, workspace, target_type, target_id, ip, request_id, leaf_hash, seed, leaf, opening)
VALUES ($1, now(), now(), 0, gen_random_uuid(), gen_random_uuid(), 'user', 'a', 'read', 'success', 's', '', 't', 'x', '', '',
    sha256('\\x0000'::bytea), 's', '\\x00', '{}')
"""
INSERT = "INSERT INTO organizations (id, display_name) VALUES ($1, 'x')"


async def count(pool: Pool) -> int:
    async with transaction(pool, reading=True, organization=EVERY) as connection:
        return await connection.fetchval("SELECT count(*) FROM organizations")


async def test_a_commit_is_there_for_the_next_transaction(pools: Pools) -> None:
    """What was committed would not be seen by the next reader."""
    async with transaction(pools.writer, organization=EVERY) as connection:
        await connection.execute(INSERT, uuid.uuid4())
    assert await count(pools.reader) == 1


async def test_a_failed_transaction_is_never_taken_for_committed(pools: Pools) -> None:
    """A body that swallows a statement's error would be acknowledged, though the server rolled back."""

    async def careless() -> None:
        async with transaction(pools.writer, organization=EVERY) as connection:
            await connection.execute(INSERT, uuid.uuid4())
            with suppress(asyncpg.PostgresError):
                await connection.execute("SELECT 1/0")

    with pytest.raises(TryLater, match="rolled this transaction back") as caught:
        await careless()
    assert not isinstance(caught.value, UnknownOutcome)
    assert await count(pools.reader) == 0


async def test_our_own_error_rolls_back_and_keeps_the_connection(pools: Pools) -> None:
    """A refused event would leave half of its work behind, or cost a new connection each time."""

    async def refused() -> None:
        async with transaction(pools.writer, organization=EVERY) as connection:
            pids.append(await connection.fetchval("SELECT pg_backend_pid()"))
            await connection.execute(INSERT, uuid.uuid4())
            raise Conflict("no")

    pids: list[int] = []
    with pytest.raises(Conflict):
        await refused()
    async with transaction(pools.writer, organization=EVERY) as connection:
        assert await connection.fetchval("SELECT pg_backend_pid()") == pids[0]
        assert await connection.fetchval("SELECT count(*) FROM organizations") == 0


async def test_a_connection_is_thrown_away_after_any_other_error(pools: Pools) -> None:
    """A connection in an unknown state would serve the next caller."""

    async def broken() -> None:
        async with transaction(pools.writer, organization=EVERY) as connection:
            pids.append(await connection.fetchval("SELECT pg_backend_pid()"))
            raise ZeroDivisionError

    pids: list[int] = []
    with pytest.raises(ZeroDivisionError):
        await broken()
    async with transaction(pools.writer, organization=EVERY) as connection:
        assert await connection.fetchval("SELECT pg_backend_pid()") != pids[0]


async def test_a_cancelled_caller_leaves_nothing_open(pools: Pools) -> None:
    """A caller that goes away in the middle would leave a transaction that holds its locks."""

    async def stuck() -> None:
        async with transaction(pools.writer, organization=EVERY) as connection:
            await connection.execute(INSERT, uuid.uuid4())
            await asyncio.sleep(60)

    task = asyncio.create_task(stuck())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await count(pools.writer) == 0


async def end_own_backend(connection: Connection, database: Database) -> None:
    """End the server process behind `connection` from another session."""
    pid = await connection.fetchval("SELECT pg_backend_pid()")
    other = await connect(database.superuser)
    await other.execute("SELECT pg_terminate_backend($1, 5000)", pid)
    await other.close()


async def test_losing_the_server_during_commit_is_an_unknown_outcome(
    pools: Pools, database: Database
) -> None:
    """A commit that may have happened would be called failed, and its retry stored as a second event."""

    async def lose_it() -> None:
        async with transaction(pools.writer, organization=EVERY) as connection:
            await connection.execute(INSERT, uuid.uuid4())
            await end_own_backend(connection, database)

    with pytest.raises(UnknownOutcome):
        await lose_it()
    assert await count(pools.writer) == 0


async def test_losing_the_server_before_commit_is_try_later(pools: Pools, database: Database) -> None:
    """A definite failure would be called unknown, or leak the driver's words."""

    async def lose_it() -> None:
        async with transaction(pools.writer, organization=EVERY) as connection:
            await end_own_backend(connection, database)
            await connection.execute(INSERT, uuid.uuid4())

    with pytest.raises(TryLater, match="Nothing of this call was stored") as caught:
        await lose_it()
    assert not isinstance(caught.value, UnknownOutcome)


async def test_the_server_gives_up_on_a_lock_before_the_client_does(pools: Pools) -> None:
    """A waiting writer would hang without an answer."""

    async def wait() -> None:
        async with transaction(pools.writer, organization=EVERY) as connection:
            await connection.execute("SET LOCAL lock_timeout = '50ms'")
            await connection.execute(INSERT, uuid.uuid4())

    async with transaction(pools.owner) as holder:
        await holder.execute("LOCK TABLE organizations IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TryLater, match="holds this log"):
            await wait()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("statement_timeout", "7s"),
        ("lock_timeout", "6s"),
        ("idle_in_transaction_session_timeout", "2s"),
        ("synchronous_commit", "on"),
    ],
)
@pytest.mark.parametrize("pooler", [False, True])
async def test_every_transaction_has_its_time_outs(
    database: Database, setting: str, value: str, pooler: bool
) -> None:
    """Behind a pooler, or directly, a transaction would run without limits or commit before the disk has it."""
    pool = await open_pool(database.logins.writer, role="writer", pooler=pooler)
    async with transaction(pool, organization=EVERY) as connection:
        assert await connection.fetchval(f"SHOW {setting}") == value
    await pool.close()


async def test_a_pooler_sees_no_session_state(database: Database) -> None:
    """A setting or statement left in a session would reach a stranger behind a pooler in transaction mode."""
    pool = await open_pool(database.logins.writer, role="writer", pooler=True, size_max=1)
    async with transaction(pool, organization=EVERY) as connection:
        await connection.fetch("SELECT $1::int", 1)
        assert await connection.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0
    async with pool.inner.acquire() as raw:
        for setting in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            assert await raw.fetchval(f"SHOW {setting}") == "0", setting
    await pool.close()


async def test_searches_are_planned_for_their_values(pools: Pools) -> None:
    """A generic plan would make some searches a hundred times slower."""
    async with transaction(pools.reader, reading=True) as connection:
        assert await connection.fetchval("SHOW plan_cache_mode") == "force_custom_plan"


async def test_reading_cannot_write(pools: Pools) -> None:
    """A search would be able to change the log."""
    with pytest.raises(TryLater, match="read-only"):
        async with transaction(pools.owner, reading=True) as connection:
            await connection.execute(INSERT, uuid.uuid4())


@pytest.mark.parametrize("role", ["writer", "reader", "keeper"])
@pytest.mark.parametrize(
    "statement", ["UPDATE audit_logs SET action = 'x'", "DELETE FROM audit_logs", "TRUNCATE audit_logs"]
)
async def test_no_role_may_change_the_log(pools: Pools, role: str, statement: str) -> None:
    """Someone who writes, reads or keeps would be able to rewrite."""
    async with transaction(pools.owner) as connection:
        await connection.execute("SELECT ensure_audit_logs_month(now())")
        await connection.execute(EVENT, uuid.uuid4())
    with pytest.raises(AuditError, match="42501"):
        async with transaction(getattr(pools, role), organization=EVERY) as connection:
            await connection.execute(statement)


async def test_json_travels_as_bytes(pools: Pools) -> None:
    """Values of json and jsonb would come as str, or not fit into a COPY."""
    async with transaction(pools.owner) as connection:
        organization = uuid.uuid4()
        await connection.copy_records_to_table(
            "organizations",
            records=[(organization, "x", b'{"a": 1}')],
            columns=["id", "display_name", "config"],
        )
        assert await connection.fetchval("SELECT config FROM organizations") == b'{"a": 1}'
        assert await connection.fetchval("SELECT config::json FROM organizations") == b'{"a": 1}'
        assert (
            await connection.fetchval("SELECT id FROM organizations WHERE config = $1", b'{"a":1}')
            == organization
        )


async def test_a_full_pool_says_try_later(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """When every connection is busy a caller would wait for ever."""
    monkeypatch.setattr("tallystick.store.connect.ACQUIRE_SECONDS", 0.1)
    pool = await open_pool(database.logins.writer, role="writer", size_max=1)
    async with transaction(pool):
        with pytest.raises(TryLater):
            async with transaction(pool):
                pass
    await pool.close()


async def test_a_wrong_password_is_misconfigured_and_not_shown(database: Database) -> None:
    """A wrong password would be retried for ever, or appear in the message."""
    with pytest.raises(Misconfigured, match="refuses this login") as caught:
        await connect(database.logins.writer.with_login("tallystick_writer", "hunter2"))
    assert "hunter2" not in str(caught.value)


async def test_a_database_that_is_away_is_try_later() -> None:
    """A database that is not there yet would end the process instead of being waited for."""
    with pytest.raises(TryLater, match="cannot be reached"):
        await open_pool(Dsn("postgresql://u:p@/x?host=/nonexistent"), role="reader")


async def test_commit_checks_the_tag(pools: Pools) -> None:
    """COMMIT of a failed transaction succeeds with the tag ROLLBACK; it would pass for a commit."""
    async with pools.owner.inner.acquire() as connection:
        await connection.execute("BEGIN")
        with pytest.raises(asyncpg.PostgresError):
            await connection.execute("SELECT 1/0")
        with pytest.raises(TryLater):
            await commit(connection)


@pytest.mark.parametrize(
    ("error", "kind", "seconds"),
    [
        (asyncpg.DiskFullError("x"), TryLater, 30),
        (asyncpg.TooManyConnectionsError("x"), TryLater, 1),
        (asyncpg.AdminShutdownError("x"), TryLater, 1),
        (asyncpg.CannotConnectNowError("x"), TryLater, 1),
        (asyncpg.ReadOnlySQLTransactionError("x"), TryLater, 5),
        (asyncpg.LockNotAvailableError("x"), TryLater, 1),
        (asyncpg.QueryCanceledError("x"), TryLater, 1),
        (asyncpg.DeadlockDetectedError("x"), TryLater, 1),
        (asyncpg.ConnectionDoesNotExistError("x"), TryLater, 1),
        (asyncpg.InterfaceError("x"), TryLater, 1),
        (ConnectionResetError("x"), TryLater, 1),
        (TimeoutError(), TryLater, 1),
        (asyncpg.DataCorruptedError("x"), Tampered, None),
        (asyncpg.InvalidPasswordError("x"), Misconfigured, None),
        (asyncpg.InvalidCatalogNameError("x"), Misconfigured, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_error_says_what_to_do(error: Exception, kind: type[AuditError], seconds: int | None) -> None:
    """A passing trouble would be called final, or the other way round."""
    found = classify(error, during_commit=False)
    assert type(found) is kind
    assert getattr(found, "retry_after_seconds", None) == seconds
    assert isinstance(classify(error, during_commit=True), UnknownOutcome)


def test_an_unforeseen_error_quotes_no_row() -> None:
    """The driver's message of a broken constraint quotes the row; it would reach a user or a log."""
    secret = asyncpg.UniqueViolationError("Key (email)=(a@b.c) already exists")
    found = classify(secret, during_commit=False)
    assert type(found) is AuditError
    assert "23505" in str(found)
    assert "a@b.c" not in str(found)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cret@db.example:5432/x?sslmode=require",
        "postgresql://u@db/x?password=s3cret",
        "postgresql://u:s3cret@/x?host=/run/pg",
        "postgres://u:s3cret@[::1]:5/x",
    ],
)
def test_a_password_shows_in_no_representation(url: str) -> None:
    """A password would end in a log through repr or str of the address."""
    dsn = Dsn(url)
    assert "s3cret" not in f"{dsn} {dsn!r} {[dsn]}"
    assert dsn.url == url


def test_an_address_keeps_odd_names() -> None:
    """A password with special characters would break the address."""
    dsn = Dsn.of(host="/run/a b", port=5432, user="a@b", password="p/w:@%", database="d b")
    assert (dsn.user, dsn.password, dsn.database) == ("a@b", "p/w:@%", "d b")
    moved = dsn.with_database("e/f").with_login("x", "y z")
    assert (moved.user, moved.password, moved.database) == ("x", "y z", "e/f")
