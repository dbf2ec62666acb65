"""A running server: everything it is made of, started in order and stopped in the opposite one."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any
from uuid import UUID

from tallystick import __version__, config
from tallystick.config import Settings
from tallystick.errors import AuditError, Refused
from tallystick.runtime.chance import new_id, now
from tallystick.runtime.databases import Databases
from tallystick.runtime.listening import Listening
from tallystick.runtime.outside import Outside, build_outside
from tallystick.runtime.people import Entrance, build_entrance
from tallystick.runtime.reading import Reading, build_reading
from tallystick.runtime.recording import Recording, build_recording
from tallystick.services.append import Appender
from tallystick.services.holders import Holders
from tallystick.services.ingest import Ingest
from tallystick.services.keeping.archive import Archives
from tallystick.services.keeping.build import Keeping, build_keeping
from tallystick.services.lifetime import Lifetime
from tallystick.services.own_log import OwnLog
from tallystick.services.permissions import WRITE
from tallystick.services.principal import Principal
from tallystick.store import logs, organizations
from tallystick.store.connect import transaction
from tallystick.store.organizations import Organization
from tallystick.web.app import Application
from tallystick.web.attempts import FailedAttempts
from tallystick.web.body import Bodies
from tallystick.web.client_address import behind
from tallystick.web.metrics import Metrics
from tallystick.web.origin import Address
from tallystick.web.parts import Parts, Readiness


class Runtime:
    """One server, from its database to its socket.

    Args:
        settings: read once by config.py.
        say: takes sentences for the operator.
    """

    recording: Recording
    entrance: Entrance
    reading: Reading
    keeping: Keeping
    outside: Outside

    def __init__(self, settings: Settings, *, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.databases = Databases(settings, say=say)
        self.bodies = Bodies(time.monotonic, grace_seconds=settings.body_timeout_seconds)
        self._say = say
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: list[Callable[[], Coroutine[Any, Any, object]]] = []
        self._server: Listening | None = None

    @property
    def organization(self) -> Organization:
        """The first organization, of whoever installed this."""
        return self.recording.organization

    async def start(self) -> None:
        """Bring up the database and every service; after this events can be recorded.

        Raises:
            Misconfigured: a setting, a file or the database is wrong; the sentence says what to do.
            TryLater: the database cannot be reached.
        """
        for notice in self.settings.notices:
            self._say(notice)
        self.settings.data.mkdir(parents=True, exist_ok=True)
        self._closing.append(self.databases.stop)
        await self.databases.start()
        instance = await self.databases.instance_name()
        await self._record(instance)
        self._read()
        self._remember(instance)
        self._keep()
        self.outside = build_outside(self.databases, self.settings, self.recording)
        self._closing.append(self.outside.stop)
        await self.recording.appender.start()
        for name, run in {
            "heartbeat": self.recording.heartbeat.run,
            "own log": self.own_log.run,
            "exports": self.reading.export_jobs.run,
            "producers": self.reading.producers.run,
            "purge": self.keeping.rounds.run,
            "outside": self.outside.run,
        }.items():
            self._tasks.append(asyncio.create_task(run(), name=name))

    async def _record(self, instance: str) -> None:
        self.recording = await build_recording(self.databases, self.settings, instance=instance)
        self._closing.append(self._stop_recording)
        self.entrance = build_entrance(self.databases, self.settings, self.recording)
        self._closing.append(self.entrance.people.oidc.close)

    async def _stop_recording(self) -> None:
        await self.recording.appender.stop()
        self.recording.signer.close()

    def _read(self) -> None:
        self.reading = build_reading(self.databases, self.settings, self.recording)
        self._closing.append(self.reading.checks.stop)

    def _remember(self, instance: str) -> None:
        """Build the log of the log."""
        self.own_log = OwnLog(
            self.recording.ingest,
            new_id=new_id,
            now=now,
            monotonic=time.monotonic,
            find_holder=Holders(self.databases.writer, now=now).find,
            unknown=lambda: self.metrics.unknown_credentials.inc(),
            appended=self.reading.read.appended,
        )
        self.metrics = Metrics(
            in_flight_bytes=lambda: self.bodies.in_flight_bytes,
            queued_events=lambda: self.recording.appender.waiting[0],
            own_events=lambda: self.own_log.waiting,
            outside=lambda: self.outside.health.figures,
        )
        self.lifetime = Lifetime(
            self.recording.ingest,
            self.own_log,
            data=self.settings.data,
            instance=instance,
            version=__version__,
            settings=config.shown_settings(self.settings),
        )
        self._closing += [self.own_log.stop, self.lifetime.stopped]

    def _keep(self) -> None:
        signer = self.recording.signer
        self.keeping = build_keeping(
            self.databases.keeper,
            signer,
            redaction_of=self.recording.redaction_of,
            organizations=self._organization_ids,
            now=now,
            random=os.urandom,
            new_id=new_id,
            archive=Archives(
                self.databases.reader, self.reading.export, signer, self.settings.data / "archive"
            ),
        )
        self._closing.append(self.keeping.appender.stop)

    async def _organization_ids(self) -> list[UUID]:
        return [one.id for one in await organizations.list_all(self.databases.writer)]

    def parts(self) -> Parts:
        """Return what HTTP handlers may use."""
        recording, reading, entrance = self.recording, self.reading, self.entrance
        return Parts(
            access=recording.access,
            ingest=recording.ingest,
            log=recording.log,
            registered=recording.registered,
            keys=entrance.office.keys,
            members=entrance.office.members,
            roles=entrance.office.roles,
            workspaces=entrance.office.workspaces,
            directory=entrance.office.directory,
            groups=entrance.office.groups,
            switches=entrance.switches,
            viewers=entrance.viewers,
            sessions=entrance.people.sessions,
            sign_in=entrance.people.sign_in,
            links=entrance.people.links,
            account=entrance.people.account,
            single_sign_on=entrance.people.single_sign_on,
            providers=entrance.people.providers,
            read=reading.read,
            export=reading.export,
            export_lines=reading.export_lines,
            export_jobs=reading.export_jobs,
            bundles=reading.bundles,
            packs=reading.packs,
            quarantine=reading.quarantine,
            contracts=reading.contracts,
            pull=reading.pull,
            evidence=reading.evidence,
            checks=reading.checks,
            projects=reading.projects,
            saved_views=reading.saved_views,
            producers=reading.producers,
            keeping=self.keeping.desk,
            instance_log=self.outside.instance_log,
            witnessing=self.outside.witnessing,
            time_stamps=self.outside.time_stamps,
            outside=self.outside.health,
            own_log=self.own_log,
            bodies=self.bodies,
            attempts=FailedAttempts(time.monotonic),
            metrics=self.metrics,
            now=now,
            monotonic=time.monotonic,
            new_request_id=lambda: "req_" + os.urandom(8).hex(),
            readiness=self._readiness,
            stopping=lambda: self._server is not None and self._server.should_exit,
            address=Address(public_url=self.settings.public_url),
        )

    async def log_size(self, organization_id: UUID) -> int:
        """Return how many events an organization's log holds."""
        sizes = {head.organization_id: head.size for head in await logs.heads(self.databases.reader)}
        return sizes.get(organization_id, 0)

    async def record_as_of(self, at: datetime, body: bytes) -> None:
        """Record a batch in the first organization as if it were `at`; only for filling an empty log with a demo."""
        recording = self.recording
        appender = Appender(self.databases.writer, recording.signer, now=lambda: at, random=os.urandom)
        await appender.start()
        ingest = Ingest(appender, recording.log, redaction_of=recording.redaction_of, new_id=new_id)
        demo = Principal(
            organization_id=self.organization.id,
            kind="server",
            id="demo",
            name="demo",
            permissions=frozenset({WRITE}),
        )
        recorded = await ingest.record_batch(demo, body, ndjson=False)
        await appender.stop()
        for result in recorded.results:
            if result.error is not None:
                raise Refused(f"an event of the demo was refused: {result.error.message}")

    async def _readiness(self) -> list[Readiness]:
        try:
            async with transaction(self.databases.reader, reading=True) as connection:
                await connection.fetchval("SELECT 1")
            database = Readiness(name="database", ok=True)
        except AuditError as error:
            database = Readiness(name="database", ok=False, detail=str(error))
        tampered = "; ".join(str(error) for error in self.recording.appender.tampered.values())
        late = "; ".join(str(error) for error in self.recording.heartbeat.failures.values())
        own_log = self.own_log.late or self.recording.deferred.late
        return [
            database,
            Readiness(name="log", ok=not tampered, detail=tampered),
            Readiness(name="heartbeat", ok=not late, detail=late),
            Readiness(name="own log", ok=not own_log, detail=own_log),
        ]

    async def serve(self, listener: socket.socket, *, ready: Callable[[], None]) -> None:
        """Answer HTTP on `listener` until a signal says stop; `ready` is called when the first call can come."""
        self._server = Listening(behind(Application(self.parts()), self.settings.trusted_proxies))
        await self.recording.deferred.append_all()
        self._tasks.append(asyncio.create_task(self.recording.deferred.run(), name="deferred acts"))
        await self.lifetime.started(self.organization.id)
        await self._server.answer(listener, ready=ready)

    async def stop(self) -> None:
        """Stop in the opposite order: what was accepted is committed before the database goes away."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._closing:
            await self._closing.pop()()
