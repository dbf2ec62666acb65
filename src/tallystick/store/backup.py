"""A whole database as one file, and back again, by PostgreSQL's own pg_dump and pg_restore."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tallystick.errors import AuditError, TryLater
from tallystick.store import queries
from tallystick.store.cluster import CLEAN_ENVIRONMENT
from tallystick.store.connect import Dsn, connect

_SQL = queries.load("backup")
_MESSAGE_CHARS_MAX = 600


@dataclass(frozen=True, slots=True)
class Head:
    """Where one log stood at the moment of a dump."""

    organization_id: UUID
    size: int
    note: str


async def dump(programs: Path, superuser: Dsn, to: Path) -> list[Head]:
    """Write `superuser`'s database into the file `to`, and return where every log stands in exactly that dump.

    Recording goes on meanwhile; what is recorded after the beginning is not in the dump. No policy narrows what a
    superuser sees, so no organization can be left out.

    Args:
        programs: the folder of pg_dump, of the server's version or newer.
        to: a file that is made, in pg_dump's custom format.

    Raises:
        TryLater: the database cannot be reached.
        AuditError: pg_dump failed; it says why.
    """
    connection = await connect(superuser)
    try:
        await connection.execute(_SQL["begin"])
        snapshot = await connection.fetchval(_SQL["snapshot"])
        heads = [Head(*row) for row in await connection.fetch(_SQL["heads"])]
        arguments = ("--format=custom", f"--snapshot={snapshot}", f"--file={to}")
        await asyncio.to_thread(_run, programs / "pg_dump", superuser, arguments)
    finally:
        connection.terminate()
    return heads


async def restore(programs: Path, superuser: Dsn, dumped: Path) -> None:
    """Fill `superuser`'s empty database with a dump, whole or not at all.

    Raises AuditError when pg_restore fails; the database is then still empty.
    """
    arguments = ("--exit-on-error", "--single-transaction", str(dumped))
    await asyncio.to_thread(_run, programs / "pg_restore", superuser, arguments)


def _run(program: Path, database: Dsn, arguments: Sequence[str]) -> None:
    # Every user of the machine sees a command line, so the password travels in the environment.
    command = [program, "--no-password", "--dbname", database.with_login(database.user, "").url, *arguments]
    try:
        subprocess.run(
            command,
            env={**CLEAN_ENVIRONMENT, "PGPASSWORD": database.password},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip()[-_MESSAGE_CHARS_MAX:]
        raise AuditError(f"{program.name} stopped: {said}") from error
    except OSError as error:
        raise TryLater(f"{program} could not be started: {error.strerror}.") from error
