"""The database of a server: its own or somebody else's, checked, migrated, and opened once for each role."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable

from tallystick import config
from tallystick.config import Settings
from tallystick.errors import Misconfigured
from tallystick.store import durability, migrate, organizations
from tallystick.store.connect import Logins, Pool, Role, connect, open_pool
from tallystick.store.embedded import EmbeddedPostgres

DATABASE = "tallystick"


class Databases:
    """The pools a server works with, and the PostgreSQL it started for them, if it did.

    Args:
        settings: read once by config.py.
        say: takes sentences for the operator.
    """

    def __init__(self, settings: Settings, *, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._postgres: EmbeddedPostgres | None = None
        self._pools: list[Pool] = []

    async def start(self) -> None:
        """Bring up the database with its schema of today, and open `writer`, `reader` and `keeper`.

        Raises:
            Misconfigured: a setting, a file or the database is wrong; the sentence says what to do.
            TryLater: the database cannot be reached.
        """
        logins = self._settings.logins() or await self._own()
        # Before the schema: a server too old or of another encoding is told apart from a fault of ours.
        await self._check_durability(logins)
        await migrate.migrate(logins.owner, migrate.read_plan(), say=self._say, pooler=self._pooler)
        self.writer = await self._open(logins, "writer")
        self.reader = await self._open(logins, "reader")
        self.keeper = await self._open(logins, "keeper")

    async def stop(self) -> None:
        """Close the pools, then the PostgreSQL that was started for them."""
        for pool in self._pools:
            await pool.close()
        if self._postgres is not None:
            await self._postgres.stop()

    async def instance_name(self) -> str:
        """Return the name of this instance; the one the database knows wins: two servers on it are one instance.

        Raises:
            Misconfigured: the data folder belongs to another instance.
        """
        settings = self._settings
        wanted = config.instance_name(settings, lambda: f"tallystick-{os.urandom(4).hex()}")
        kept = await organizations.name_instance(self.writer, wanted)
        if kept == wanted:
            return kept
        if settings.instance is not None or any((settings.data / "signer").glob("*.state")):
            raise Misconfigured(
                f"This database belongs to the instance {kept!r}, this data folder to {wanted!r}. To run a second "
                "server on the database, give it the first one's TALLYSTICK_DATA, or a copy of its folders keys and "
                "signer and its file instance. Nothing was changed."
            )
        (settings.data / "instance").write_text(kept + "\n")
        return kept

    @property
    def _pooler(self) -> bool:
        return self._settings.database_pooler == "transaction"

    async def _own(self) -> Logins:
        self._postgres = EmbeddedPostgres(
            self._settings.data,
            new_password=lambda: secrets.token_urlsafe(32),
            say=self._say,
            programs=self._settings.postgres_bin,
            user=self._settings.postgres_user,
            runtime_folder=self._settings.runtime_folder,
            settings={"shared_buffers": self._settings.postgres_shared_buffers},
            on_restart=self._renew,
        )
        superuser = await self._postgres.start()
        logins = self._postgres.logins(DATABASE)
        await migrate.make_database(superuser, logins)
        return logins

    async def _renew(self) -> None:
        for pool in self._pools:
            await pool.renew()

    async def _check_durability(self, logins: Logins) -> None:
        connection = await connect(logins.owner, pooler=self._pooler)
        try:
            findings = await durability.check(connection)
        finally:
            await connection.close()
        durability.enforce(findings, allow_unsafe=self._settings.allow_unsafe_database, warn=self._say)

    async def _open(self, logins: Logins, role: Role) -> Pool:
        pool = await open_pool(getattr(logins, role), role=role, pooler=self._pooler)
        self._pools.append(pool)
        return pool
