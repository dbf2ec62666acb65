"""An installation looked at from outside, whether or not its server runs."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tallystick import config
from tallystick.config import Settings
from tallystick.errors import Misconfigured, Refused, TryLater
from tallystick.runtime.chance import now
from tallystick.runtime.databases import DATABASE
from tallystick.services.examine import Diagnosis, Examine
from tallystick.services.sign import Signer
from tallystick.store import durability, embedded
from tallystick.store.connect import Logins, Pool, connect, open_pool
from tallystick.store.embedded import EmbeddedPostgres
from tallystick.verify.policy import Policy, parse_policy


@asynccontextmanager
async def examination(
    data: Path, *, say: Callable[[str], None]
) -> AsyncIterator[tuple[list[Diagnosis], Examine]]:
    """Give what is known about an installation, and the means to look further; starts its database if nobody has.

    Raises:
        Misconfigured: there is no installation in this folder.
    """
    async with installed(data, say=say) as (settings, logins, reader, signer):
        running = (settings.data / "server.json").exists()
        found = await _durability(logins, settings.database_pooler == "transaction")
        policy = None if settings.policy is None else read_policy(settings.policy)
        yield (
            found,
            Examine(
                settings.data, reader, signer, now=now, random=os.urandom, running=running, policy=policy
            ),
        )


@asynccontextmanager
async def installed(
    data: Path, *, say: Callable[[str], None]
) -> AsyncIterator[tuple[Settings, Logins, Pool, Signer]]:
    """Give an installation's settings, logins, a pool to read with and its signer; starts its database if nobody has.

    Raises:
        Misconfigured: there is no installation in this folder.
    """
    settings = config.read_settings(flags={"data": str(data)})
    if not (settings.data / "keys" / "signing.key").exists():
        raise Misconfigured(
            f"{settings.data} holds no installation: there is no signing key. Start one: tallystick serve."
        )
    pooler = settings.database_pooler == "transaction"
    async with _database(settings, say) as logins:
        reader = await open_pool(logins.reader, role="reader", pooler=pooler)
        signer = Signer.open(
            settings.data, instance=config.instance_name(settings, _no_instance), random=os.urandom
        )
        try:
            yield settings, logins, reader, signer
        finally:
            signer.close()
            await reader.close()


@asynccontextmanager
async def _database(settings: Settings, say: Callable[[str], None]) -> AsyncIterator[Logins]:
    """Give the database's logins; one of our own that nobody runs is started, and stopped at the end."""
    logins = settings.logins()
    if logins is not None:
        yield logins
        return
    try:
        logins = embedded.running_logins(settings.data, DATABASE)
        await (await connect(logins.reader)).close()
    except TryLater:
        own = EmbeddedPostgres(
            settings.data, new_password=lambda: secrets.token_urlsafe(32), say=say,
            programs=settings.postgres_bin, user=settings.postgres_user, runtime_folder=settings.runtime_folder,
        )  # fmt: skip
        await own.start()
        try:
            yield own.logins(DATABASE)
        finally:
            await own.stop()
    else:
        yield logins


def read_policy(path: Path) -> Policy:
    """Read the server's policy file; raises Misconfigured when it cannot be read or used."""
    try:
        return parse_policy(path.read_bytes())
    except OSError as error:
        raise Misconfigured(
            f"TALLYSTICK_POLICY: cannot read {path}: {error.strerror}. Name an existing file."
        ) from error
    except Refused as error:
        raise Misconfigured(f"TALLYSTICK_POLICY: {path}: {error}.") from error


def _no_instance() -> str:
    raise Misconfigured("The file instance is gone from the data folder. Put it back from your backup.")


async def _durability(logins: Logins, pooler: bool) -> list[Diagnosis]:
    connection = await connect(logins.owner, pooler=pooler)
    try:
        findings = await durability.check(connection)
    finally:
        await connection.close()
    if not findings:
        return [Diagnosis(name="durability", state="well", found="what is acknowledged is on disk")]
    return [
        Diagnosis(
            name=one.setting, state="ill" if one.level == "refuse" else "warning", found=f"{one.setting} = {one.value}: {one.why}",
            advice=one.what_to_do,
        )
        for one in findings
    ]  # fmt: skip
