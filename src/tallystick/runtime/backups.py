"""Backups of an installation with its own PostgreSQL, made beside a running server, and installations made of them."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tallystick import __version__, config
from tallystick.config import Settings
from tallystick.errors import Misconfigured, Refused, Tampered, TryLater
from tallystick.event.model import Target
from tallystick.runtime.beside import open_office
from tallystick.runtime.chance import now
from tallystick.runtime.databases import DATABASE
from tallystick.services.backup import (
    DATABASE as DUMP,
)
from tallystick.services.backup import (
    LogEnd,
    Manifest,
    read_manifest,
    read_small_files,
    refuse_to_replace,
    unpack,
    write_backup,
)
from tallystick.services.examine import Examine
from tallystick.services.sign import Signer
from tallystick.services.verify import Progress
from tallystick.store import backup as dumps
from tallystick.store import embedded, logs, migrate
from tallystick.store.connect import Connection, Dsn, Pool, open_pool
from tallystick.store.embedded import EmbeddedPostgres
from tallystick.store.programs import programs_of_wheel
from tallystick.verify.report import Report

Say = Callable[[str], None]


async def make_backup(data: Path, to: Path, *, say: Say) -> Manifest:
    """Write everything a server needs to be itself again into the file `to`; recording goes on meanwhile.

    Raises:
        Misconfigured: there is no installation in `data`, or its database is not its own.
        Refused: there is a file `to` already.
    """
    settings = _settings(data)
    if not (settings.data / "keys" / "signing.key").exists():
        raise Misconfigured(f"{settings.data} holds no installation: there is no signing key.")
    refuse_to_replace(to)
    folder_beside = tempfile.TemporaryDirectory(prefix=".tallystick-backup-", dir=to.parent)
    async with _superuser(settings, say) as superuser:
        small = read_small_files(settings.data)
        made_at = now()
        with folder_beside as folder:
            dump = Path(folder) / DUMP
            heads = await dumps.dump(_programs(settings), superuser, dump)
            ends = [
                LogEnd(organization_id=one.organization_id, size=one.size, checkpoint=one.note)
                for one in heads
            ]
            made = write_backup(to, small, dump, logs=ends, product_version=__version__, made_at=made_at)
        await _tell(settings, made)
        return made


async def _tell(settings: Settings, made: Manifest) -> None:
    """Record in each log that it left the building: whoever has the backup has the signing key too."""
    (dump,) = (member for member in made.members if member.name == DUMP)

    async def nothing(connection: Connection) -> None:
        """The backup is a file; the database has nothing to change."""

    async with open_office(settings) as office:
        for end in made.logs:
            target = Target(type="audit_log", id=str(end.organization_id))
            after = {"events": end.size, "database_sha256": dump.sha256}
            event = office.acts.act("backup.created", targets=(target,), after=after)
            await office.acts.record(end.organization_id, [event], nothing)


async def restore_backup(
    backup: Path, data: Path, *, say: Say, progress: Progress
) -> tuple[Manifest, Report]:
    """Make an installation of a backup in the empty folder `data`, and check every row of every log in it.

    Raises:
        Refused: the backup is not whole, or `data` is not empty: an installation is never replaced.
        Tampered: a log is not what the manifest says.
    """
    settings = _settings(data)
    if settings.data.exists() and any(settings.data.iterdir()):
        raise Refused(
            f"{settings.data} is not empty. A backup goes into a folder of its own: an installation that is newer than "
            "the backup would lose what it has acknowledged since. Nothing was changed."
        )
    read_manifest(backup)
    try:
        return await _restored(backup, settings, say, progress)
    except BaseException:
        # Half an installation would look like a whole one that lost its events.
        shutil.rmtree(settings.data, ignore_errors=True)
        raise


async def _restored(
    backup: Path, settings: Settings, say: Say, progress: Progress
) -> tuple[Manifest, Report]:
    settings.data.mkdir(parents=True, exist_ok=True)
    manifest = unpack(backup, settings.data)
    dump = settings.data / DUMP
    own = _embedded(settings, say)
    superuser = await own.start()
    try:
        logins = own.logins(DATABASE)
        await migrate.make_database(superuser, logins)
        say(f"Restoring {manifest.events:,} events of {manifest.made_at:%Y-%m-%d %H:%M} UTC")
        await dumps.restore(_programs(settings), superuser.with_database(DATABASE), dump)
        dump.unlink()
        await migrate.migrate(logins.owner, migrate.read_plan(), say=say)
        reader = await open_pool(logins.reader, role="reader")
        try:
            return manifest, await _checked(manifest, settings, reader, progress)
        finally:
            await reader.close()
    finally:
        await own.stop()


async def _checked(manifest: Manifest, settings: Settings, reader: Pool, progress: Progress) -> Report:
    found = {one.organization_id: (one.size, one.note) for one in await logs.heads(reader)}
    promised = {one.organization_id: (one.size, one.checkpoint) for one in manifest.logs}
    if found != promised:
        raise Tampered(
            "The database of this backup does not hold the logs its manifest lists. Nothing was kept."
        )
    signer = Signer.open(settings.data, instance=manifest.instance, random=os.urandom)
    try:
        examine = Examine(settings.data, reader, signer, now=now, random=os.urandom, running=False)
        report = await examine.whole_log([], progress)
    finally:
        signer.close()
    if report.verdict == "violated":
        first = report.violated[0]
        raise Tampered(
            f"A log in this backup is not what was signed: {first.where}: {first.message}. Nothing was kept."
        )
    return report


@asynccontextmanager
async def _superuser(settings: Settings, say: Say) -> AsyncIterator[Dsn]:
    """Give the superuser's address of the installation's database; one that nobody runs is started and stopped."""
    try:
        superuser = embedded.running(settings.data)
    except TryLater:
        own = _embedded(settings, say)
        superuser = await own.start()
        try:
            yield superuser.with_database(DATABASE)
        finally:
            await own.stop()
    else:
        yield superuser.with_database(DATABASE)


def _settings(data: Path) -> Settings:
    settings = config.read_settings(flags={"data": str(data)})
    if settings.logins() is not None:
        raise Misconfigured(
            "This installation uses a PostgreSQL of your own (TALLYSTICK_DATABASE_URL): back it up with its own tools, "
            f"and with it the folders keys and signer and the file instance of {settings.data}."
        )
    return settings


def _programs(settings: Settings) -> Path:
    return settings.postgres_bin or programs_of_wheel()


def _embedded(settings: Settings, say: Say) -> EmbeddedPostgres:
    return EmbeddedPostgres(
        settings.data,
        new_password=lambda: secrets.token_urlsafe(32),
        say=say,
        programs=settings.postgres_bin,
        user=settings.postgres_user,
        runtime_folder=settings.runtime_folder,
    )
