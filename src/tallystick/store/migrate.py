"""The schema of a database, brought to this version of the code, forward only.

An empty database gets schema*.sql at once; an older one gets each of `migrations/NNNN_why.sql` that it lacks, in
order. All of it happens in one transaction under an advisory lock of that transaction, so two starters cannot
collide, a failure leaves the database as it was, and a pooler in transaction mode may stand between.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from tallystick.errors import AuditError, Misconfigured
from tallystick.store.cluster import CLEAN_ENVIRONMENT, ROLES
from tallystick.store.connect import Connection, Dsn, Logins, classify, commit, connect

HERE = Path(__file__).parent
DATABASE = "tallystick"
SERVING = tuple(role for role in ROLES if role != "tallystick_owner")
LOCK = 0x7A11_57C4  # any number, the same in every release
# An old snapshot keeps every dead version of log_head alive; PostgreSQL 17 and newer can end such a transaction.
TRANSACTION_TIMEOUTS: Mapping[str, str] = {"tallystick_writer": "30s", "tallystick_reader": "60s"}
_TABLE = """
CREATE TABLE schema_migrations (
    version    integer PRIMARY KEY CHECK (version > 0),
    name       text NOT NULL,
    sha256     bytea NOT NULL CHECK (octet_length(sha256) = 32),
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


@dataclass(frozen=True)
class Migration:
    """One step of the schema: `NNNN_why.sql`, with the hash that tells an edited file from the applied one."""

    version: int
    name: str
    sql: str

    @property
    def file(self) -> str:
        """The name of the step's file."""
        return f"{self.version:04}_{self.name}.sql"

    @property
    def sha256(self) -> bytes:
        """SHA-256 of the file's text."""
        return hashlib.sha256(self.sql.encode()).digest()


@dataclass(frozen=True)
class Plan:
    """All the code knows about the schema: the whole of it, and the steps that lead to it."""

    schema: str
    migrations: tuple[Migration, ...]

    @property
    def version(self) -> int:
        """The version of a database that is up to date, 0 while there are no migrations."""
        return self.migrations[-1].version if self.migrations else 0


def read_plan(folder: Path = HERE) -> Plan:
    """Read schema*.sql and migrations/ in `folder`; raises Misconfigured when numbers are missing or doubled."""
    found: list[Migration] = []
    for path in sorted((folder / "migrations").glob("*.sql")):
        match = re.fullmatch(r"(\d{4})_([a-z0-9_]+)", path.stem)
        if match is None or int(match[1]) != len(found) + 1:
            raise Misconfigured(
                f"{path.name}: a migration is named NNNN_why.sql, numbered from 0001 without a gap."
            )
        found.append(Migration(int(match[1]), match[2], path.read_text()))
    # The order of the alphabet is the order of need: schema.sql, schema_people.sql, schema_tenancy.sql.
    parts = sorted(folder.glob("schema*.sql"), key=lambda path: path.stem)
    return Plan("\n".join(path.read_text() for path in parts), tuple(found))


async def migrate(owner: Dsn, plan: Plan, *, say: Callable[[str], None], pooler: bool = False) -> list[str]:
    """Bring the database of `owner` to `plan` and return the names of what was applied, [] when nothing was due.

    Raises Misconfigured when the database is newer than the code or holds a migration of other content, TryLater
    when it cannot be reached.
    """
    connection = await connect(owner, pooler=pooler)
    try:
        await connection.execute("BEGIN")
        await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
        missing = await _missing_roles(connection)
        if missing:
            say(
                f"This database has no role {', '.join(sorted(missing))}, and its login may not create roles: rights "
                "are not narrowed. Let an administrator run CREATE ROLE for each, then start again."
            )
        unbound = await _become_member(connection, [role for role in SERVING if role not in missing])
        if unbound:
            say(
                "No policy binds this login, which owns the tables, and it may not become "
                f"{', '.join(unbound)}: unless each role has a login of its own, organizations are kept apart by the "
                f"first fence only. Let an administrator run GRANT {', '.join(unbound)} TO the login, then start again."
            )
        applied = await _apply(connection, plan, missing)
        await commit(connection)
    except asyncpg.PostgresError as error:
        raise classify(error, during_commit=False) from error
    finally:
        connection.terminate()
    for name in applied:
        say(f"Applied to the database: {name}")
    return applied


async def _apply(connection: Connection, plan: Plan, missing: set[str]) -> list[str]:
    if not await connection.fetchval("SELECT to_regclass('public.schema_migrations') IS NOT NULL"):
        await connection.execute(_TABLE)
        await _run(connection, "schema.sql", without_roles(plan.schema, missing))
        for step in plan.migrations:
            await _record(connection, step)
        return ["schema.sql"]
    due = due_migrations(plan, await connection.fetch("SELECT version, name, sha256 FROM schema_migrations"))
    for step in due:
        await _run(connection, step.file, without_roles(step.sql, missing))
        await _record(connection, step)
    return [step.file for step in due]


async def _run(connection: Connection, name: str, sql: str) -> None:
    try:
        await connection.execute(sql)
    except asyncpg.PostgresError as error:
        reason = classify(error, during_commit=False)
        if type(reason) is not AuditError:
            raise reason from error
        raise AuditError(
            f"{name} failed ({getattr(error, 'sqlstate', '?')}); the database is as it was before. {reason}"
        ) from error


async def _record(connection: Connection, step: Migration) -> None:
    await connection.execute(
        "INSERT INTO schema_migrations (version, name, sha256) VALUES ($1, $2, $3)",
        step.version,
        step.name,
        step.sha256,
    )


def due_migrations(plan: Plan, applied: Sequence[Mapping[str, object]]) -> list[Migration]:
    """Return the steps of `plan` that are not in `applied`; raises Misconfigured when the two do not fit."""
    known = {step.version: step for step in plan.migrations}
    for row in applied:
        step = known.get(int(str(row["version"])))
        if step is None:
            raise Misconfigured(
                f"This database was made by a newer Tallystick: it has migration {row['version']} ({row['name']}), "
                f"this version knows up to {plan.version}. Nothing was changed. Start the newer version."
            )
        if step.sha256 != row["sha256"]:
            raise Misconfigured(
                f"Migration {step.file} was applied to this database with other content. "
                "Nothing was changed. Start the version that made the database, or restore the file."
            )
    done = {row["version"] for row in applied}
    return [step for step in plan.migrations if step.version not in done]


def without_roles(sql: str, missing: set[str]) -> str:
    """Return `sql` with its GRANT statements narrowed to roles that exist, for a server where we may make none."""

    def narrow(match: re.Match[str]) -> str:
        kept = [role for role in re.split(r",\s*", match["roles"].strip()) if role not in missing]
        return f"{match['head']} {', '.join(kept)};" if kept else ""

    if not missing:
        return sql
    return re.sub(r"(?ms)^(?P<head>GRANT\b[^;]*?\bTO\b)\s+(?P<roles>[\w,\s]+);", narrow, sql)


async def _missing_roles(connection: Connection) -> set[str]:
    present = await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname = ANY($1)", list(ROLES))
    missing = {role for role in ROLES if role not in {row["rolname"] for row in present}}
    may_create = await connection.fetchval(
        "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    )
    if not missing or not may_create:
        return missing
    for role in sorted(missing):
        # No login: an operator makes logins that are members of these, each with only the rights it needs.
        await connection.execute(f"CREATE ROLE {role} NOLOGIN")
    return set()


async def _become_member(connection: Connection, roles: Sequence[str]) -> list[str]:
    """Make the login a member of `roles`, so that a server which has this login only acts as them; return the rest."""
    membership = "SET" if connection.get_server_version().major >= 16 else "MEMBER"
    rest: list[str] = []
    for role in roles:
        if await connection.fetchval("SELECT pg_has_role(current_user, $1::name, $2)", role, membership):
            continue
        await connection.execute("SAVEPOINT before_grant")  # a refusal must not end what migrates
        try:
            await connection.execute(f"GRANT {role} TO CURRENT_USER")
        except asyncpg.InsufficientPrivilegeError:
            await connection.execute("ROLLBACK TO before_grant")
            rest.append(role)
    return rest


async def make_database(superuser: Dsn, logins: Logins) -> None:
    """Make the roles of `logins` with their passwords, and their database, on our own embedded server.

    Safe to repeat: roles get the password again, an existing database is left alone.
    """
    connection = await connect(superuser)
    try:
        for login in (logins.owner, logins.writer, logins.reader, logins.keeper):
            await _make_login(connection, login)
        serving = ", ".join(SERVING)
        await connection.execute(f"GRANT {serving} TO {logins.owner.user}")
        name = logins.owner.database
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name):
            await connection.execute(f'CREATE DATABASE "{name}" OWNER {logins.owner.user}')
            await connection.execute(f'REVOKE CONNECT, TEMPORARY ON DATABASE "{name}" FROM PUBLIC')
            for login in (logins.writer, logins.reader, logins.keeper):
                await connection.execute(f'GRANT CONNECT ON DATABASE "{name}" TO {login.user}')
    except asyncpg.PostgresError as error:
        raise classify(error, during_commit=False) from error
    finally:
        connection.terminate()


async def _make_login(connection: Connection, login: Dsn) -> None:
    if login.user not in ROLES:
        raise Misconfigured(f"{login.user!r} is not a role of Tallystick.")
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", login.user):
        await connection.execute(f"CREATE ROLE {login.user}")
    quoted = await connection.fetchval("SELECT quote_literal($1)", login.password)
    await connection.execute(f"ALTER ROLE {login.user} LOGIN PASSWORD {quoted}")
    if login.user in TRANSACTION_TIMEOUTS and connection.get_server_version().major >= 17:
        await connection.execute(
            f"ALTER ROLE {login.user} SET transaction_timeout = '{TRANSACTION_TIMEOUTS[login.user]}'"
        )


def dump_schema(programs: Path, database: Dsn) -> str:
    """Return the schema of `database` as pg_dump writes it, without what differs between equal schemas.

    `programs` is the folder of pg_dump. A test holds a migrated database and a fresh one equal by it.
    """
    done = subprocess.run(
        [
            programs / "pg_dump",
            "--schema-only",
            "--no-owner",
            "--dbname",
            database.with_login(database.user, "").url,
        ],
        # Every user of the machine sees a command line, so the password travels in the environment.
        env={**CLEAN_ENVIRONMENT, "PGPASSWORD": database.password},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.rstrip() for line in done.stdout.splitlines())
    return "\n".join(
        line for line in lines if line and not line.startswith(("--", "\\restrict", "\\unrestrict"))
    )
