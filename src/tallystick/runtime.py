"""The only place that knows every room: builds the parts, runs them, and stops them in order.

Clock and chance enter here and nowhere else.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import structlog
import uvicorn

from tallystick import __version__, config
from tallystick.config import Settings
from tallystick.errors import AuditError, Misconfigured, Refused, TryLater
from tallystick.event.identity import uuid7
from tallystick.event.redact import Redaction
from tallystick.services.access import Access
from tallystick.services.append import Appender, Limits
from tallystick.services.checks import Checks
from tallystick.services.contracts import Contracts, Pull
from tallystick.services.evidence import Evidences
from tallystick.services.examine import Diagnosis, Examine
from tallystick.services.export import Export
from tallystick.services.export_jobs import ExportJobs
from tallystick.services.export_lines import LineExport
from tallystick.services.heartbeat import Heartbeat
from tallystick.services.holders import Holders
from tallystick.services.ingest import Ingest
from tallystick.services.keeping.archive import Archives
from tallystick.services.keeping.build import build_keeping
from tallystick.services.lifetime import Lifetime
from tallystick.services.log import Log
from tallystick.services.organize import Organize, secret_of
from tallystick.services.own_log import OwnLog
from tallystick.services.people.build import build as build_office
from tallystick.services.permissions import WRITE
from tallystick.services.principal import Principal
from tallystick.services.projects import Projects
from tallystick.services.quarantine import Quarantine
from tallystick.services.read import Read
from tallystick.services.registered import Registered
from tallystick.services.saved_views import SavedViews
from tallystick.services.sign import Signer
from tallystick.services.sign_in.build import build as build_sign_in
from tallystick.services.switches import Switches
from tallystick.services.viewers import Viewers
from tallystick.store import durability, embedded, logs, migrate, organizations
from tallystick.store.connect import Logins, Pool, connect, open_pool, transaction
from tallystick.store.embedded import EmbeddedPostgres
from tallystick.web.app import Application
from tallystick.web.attempts import FailedAttempts
from tallystick.web.body import Bodies
from tallystick.web.metrics import Metrics
from tallystick.web.origin import Address
from tallystick.web.parts import Parts, Readiness
from tallystick.web.protocol import LimitedProtocol

DATABASE = "tallystick"
GRACE_SECONDS = 10
log = structlog.get_logger("tallystick")


def now() -> datetime:
    """The clock, in UTC."""
    return datetime.now(UTC)


def new_id() -> UUID:
    """A new UUIDv7."""
    return uuid7(time.time_ns() // 1_000_000, os.urandom(10))


class Runtime:
    """Everything a server is made of, started in order and stopped in the opposite one.

    Args:
        settings: read once by config.py.
        say: takes sentences for the operator.
    """

    def __init__(self, settings: Settings, *, say: Callable[[str], None]) -> None:
        self.settings = settings
        self._say = say
        self._postgres: EmbeddedPostgres | None = None
        self._pools: list[Pool] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._server: uvicorn.Server | None = None

    async def start(self) -> None:
        """Bring up the database and every service; after this events can be recorded.

        Raises:
            Misconfigured: a setting, a file or the database is wrong; the sentence says what to do.
            TryLater: the database cannot be reached.
        """
        for notice in self.settings.notices:
            self._say(notice)
        self.settings.data.mkdir(parents=True, exist_ok=True)
        logins = await self._database()
        # Before the schema: a server too old or of another encoding is told apart from a fault of ours.
        await self._check_durability(logins)
        await migrate.migrate(logins.owner, migrate.read_plan(), say=self._say, pooler=self._pooler)
        self.writer = await self._open(logins, "writer")
        self.reader = await self._open(logins, "reader")
        self.keeper = await self._open(logins, "keeper")
        await self._services()
        await self.appender.start()
        self._tasks.append(asyncio.create_task(self.heartbeat.run(), name="heartbeat"))
        self._tasks.append(asyncio.create_task(self.own_log.run(), name="own log"))
        self._tasks.append(asyncio.create_task(self.export_jobs.run(), name="exports"))
        self._tasks.append(asyncio.create_task(self.keeping.rounds.run(), name="purge"))

    @property
    def _pooler(self) -> bool:
        return self.settings.database_pooler == "transaction"

    async def _database(self) -> Logins:
        external = self.settings.logins()
        if external is not None:
            return external
        self._postgres = EmbeddedPostgres(
            self.settings.data,
            new_password=lambda: secrets.token_urlsafe(32),
            say=self._say,
            programs=self.settings.postgres_bin,
            user=self.settings.postgres_user,
            runtime_folder=self.settings.runtime_folder,
            settings={"shared_buffers": self.settings.postgres_shared_buffers},
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
        durability.enforce(findings, allow_unsafe=self.settings.allow_unsafe_database, warn=self._say)

    async def _open(self, logins: Logins, role: Any) -> Pool:
        pool = await open_pool(getattr(logins, role), role=role, pooler=self._pooler)
        self._pools.append(pool)
        return pool

    async def _services(self) -> None:
        data, settings = self.settings.data, self.settings
        name = await self._instance_name()
        self.signer = Signer.open(data, instance=name, random=os.urandom)
        self.access = Access(self.writer, now=now, random=os.urandom)
        self.organize = Organize(
            self.writer,
            self.access,
            new_id=new_id,
            default_config={"can_use_audit_logs": settings.default_org_feature_can_use_audit_logs},
        )
        self.organization = await self.organize.first()
        self.appender = Appender(
            self.writer,
            self.signer,
            now=now,
            random=os.urandom,
            limits=Limits(queue_events=settings.queue_events_max),
        )
        self.heartbeat = Heartbeat(self.writer, self.appender, self.signer, now=now)
        redaction = Redaction(key=secret_of(data / "keys" / "redaction.key", os.urandom))
        self.log = Log(self.reader, self.signer)
        self._redaction_of = lambda _: redaction
        self.registered = Registered(self.reader, monotonic=time.monotonic)
        self.ingest = Ingest(
            self.appender,
            self.log,
            redaction_of=self._redaction_of,
            new_id=new_id,
            check_of=self.registered.check_of,
        )
        self.people = build_sign_in(
            self.writer,
            self.ingest,
            home=self.organization.id,
            sealing_key=secret_of(data / "keys" / "sealing.key", os.urandom),
            now=now,
            monotonic=time.monotonic,
            wall=time.time,
            client=lambda: httpx2.AsyncClient(follow_redirects=False, timeout=5.0),
            random=os.urandom,
        )
        self.office = build_office(
            self.writer,
            self.ingest,
            self.access,
            self.people.links,
            self.people.sessions,
            now=now,
            random=os.urandom,
        )
        cursor_key = secret_of(data / "keys" / "cursor.key", os.urandom)
        self.read = Read(self.reader, cursor_key=cursor_key, now=now)
        self.switches = Switches(
            self.reader,
            enabled=settings.audit_logs_enabled,
            default=settings.default_org_feature_can_use_audit_logs,
            monotonic=time.monotonic,
        )
        self.quarantine = Quarantine(self.reader, self.registered, cursor_key=cursor_key)
        self.contracts = Contracts(self.reader, self.signer, cursor_key=cursor_key, monotonic=time.monotonic)
        self.evidence = Evidences(self.reader, self.signer, self.log)
        self.projects = Projects(self.reader, monotonic=time.monotonic)
        self.saved_views = SavedViews(self.reader, self.writer, self.ingest, now=now, random=os.urandom)
        self.pull = Pull(self.reader, cursor_key=cursor_key)
        self.export = Export(self.reader, self.signer, now=now)
        self.checks = Checks(self.export, self.signer, now=now, random=os.urandom)
        self.export_lines = LineExport(self.reader, self.signer, product_version=__version__)
        self.export_jobs = ExportJobs(
            self.writer, self.ingest, self.export, self.export_lines, self.log, data / "exports", now=now,
            random=os.urandom,
        )  # fmt: skip
        self.viewers = Viewers(self.writer, self.ingest, now=now, monotonic=time.monotonic, random=os.urandom)
        self.own_log = OwnLog(
            self.ingest,
            new_id=new_id,
            now=now,
            monotonic=time.monotonic,
            find_holder=Holders(self.writer, now=now).find,
            unknown=lambda: self.metrics.unknown_credentials.inc(),
            appended=self.read.appended,
        )
        self.keeping = build_keeping(
            self.keeper,
            self.signer,
            redaction_of=self._redaction_of,
            organizations=self._organization_ids,
            now=now,
            random=os.urandom,
            new_id=new_id,
            archive=Archives(self.reader, self.export, self.signer, data / "archive"),
        )
        self.lifetime = Lifetime(
            self.ingest,
            self.own_log,
            data=data,
            instance=name,
            version=__version__,
            settings=config.shown_settings(settings),
        )
        self.bodies = Bodies(time.monotonic, grace_seconds=settings.body_timeout_seconds)
        self.metrics = Metrics(
            in_flight_bytes=lambda: self.bodies.in_flight_bytes,
            queued_events=lambda: self.appender.waiting[0],
            own_events=lambda: self.own_log.waiting,
        )

    async def _organization_ids(self) -> list[UUID]:
        return [one.id for one in await organizations.list_all(self.writer)]

    async def _instance_name(self) -> str:
        """The name the database knows wins: two servers on one database are one instance."""
        wanted = config.instance_name(self.settings, lambda: f"tallystick-{os.urandom(4).hex()}")
        kept = await organizations.name_instance(self.writer, wanted)
        if kept == wanted:
            return kept
        if self.settings.instance is not None or any((self.settings.data / "signer").glob("*.state")):
            raise Misconfigured(
                f"This database belongs to the instance {kept!r}, this data folder to {wanted!r}. To run a second "
                f"server on the database, give it the first one's TALLYSTICK_DATA, or a copy of its folders keys and "
                "signer and its file instance. Nothing was changed."
            )
        (self.settings.data / "instance").write_text(kept + "\n")
        return kept

    def parts(self) -> Parts:
        """Return what HTTP handlers may use."""
        return Parts(
            access=self.access,
            ingest=self.ingest,
            keys=self.office.keys,
            members=self.office.members,
            roles=self.office.roles,
            workspaces=self.office.workspaces,
            read=self.read,
            log=self.log,
            export=self.export,
            export_lines=self.export_lines,
            export_jobs=self.export_jobs,
            switches=self.switches,
            registered=self.registered,
            quarantine=self.quarantine,
            contracts=self.contracts,
            pull=self.pull,
            evidence=self.evidence,
            checks=self.checks,
            projects=self.projects,
            saved_views=self.saved_views,
            directory=self.office.directory,
            groups=self.office.groups,
            keeping=self.keeping.desk,
            own_log=self.own_log,
            viewers=self.viewers,
            bodies=self.bodies,
            attempts=FailedAttempts(time.monotonic),
            metrics=self.metrics,
            now=now,
            monotonic=time.monotonic,
            new_request_id=lambda: "req_" + os.urandom(8).hex(),
            readiness=self._readiness,
            stopping=lambda: self._server is not None and self._server.should_exit,
            address=Address(public_url=self.settings.public_url),
            sessions=self.people.sessions,
            sign_in=self.people.sign_in,
            links=self.people.links,
            account=self.people.account,
            single_sign_on=self.people.single_sign_on,
            providers=self.people.providers,
        )

    async def log_size(self, organization_id: UUID) -> int:
        """Return how many events an organization's log holds."""
        sizes = {head.organization_id: head.size for head in await logs.heads(self.reader)}
        return sizes.get(organization_id, 0)

    async def record_as_of(self, at: datetime, body: bytes) -> None:
        """Record a batch in the first organization as if it were `at`; only for filling an empty log with a demo."""
        appender = Appender(self.writer, self.signer, now=lambda: at, random=os.urandom)
        await appender.start()
        ingest = Ingest(appender, self.log, redaction_of=self._redaction_of, new_id=new_id)
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
            async with transaction(self.reader, reading=True) as connection:
                await connection.fetchval("SELECT 1")
            database = Readiness(name="database", ok=True)
        except AuditError as error:
            database = Readiness(name="database", ok=False, detail=str(error))
        tampered = "; ".join(str(error) for error in self.appender.tampered.values())
        late = "; ".join(str(error) for error in self.heartbeat.failures.values())
        return [
            database,
            Readiness(name="log", ok=not tampered, detail=tampered),
            Readiness(name="heartbeat", ok=not late, detail=late),
            Readiness(name="own log", ok=not self.own_log.late, detail=self.own_log.late),
        ]

    async def serve(self, listener: socket.socket, *, ready: Callable[[], None]) -> None:
        """Answer HTTP on `listener` until a signal says stop; `ready` is called when the first call can come."""
        self._server = _Server(
            uvicorn.Config(
                Application(self.parts()),
                http=LimitedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=GRACE_SECONDS,
                backlog=2048,
            )
        )
        # Half of the time of a busy server went into collecting garbage that was never garbage.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        await self.lifetime.started(self.organization.id)
        announce = asyncio.create_task(self._announce(ready))
        await self._server.serve(sockets=[listener])
        announce.cancel()

    async def _announce(self, ready: Callable[[], None]) -> None:
        assert self._server is not None
        while not self._server.started:  # noqa: ASYNC110 - uvicorn tells in no other way
            await asyncio.sleep(0.005)
        ready()

    async def stop(self) -> None:
        """Stop in the opposite order: what was accepted is committed before the database goes away."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if hasattr(self, "checks"):
            await self.checks.stop()
        if hasattr(self, "lifetime"):
            await self.lifetime.stopped()
            await self.own_log.stop()
        if hasattr(self, "people"):
            await self.people.oidc.close()
        if hasattr(self, "keeping"):
            await self.keeping.appender.stop()
        if hasattr(self, "appender"):
            await self.appender.stop()
            self.signer.close()
        for pool in self._pools:
            await pool.close()
        if self._postgres is not None:
            await self._postgres.stop()


@asynccontextmanager
async def examination(
    data: Path, *, say: Callable[[str], None]
) -> AsyncIterator[tuple[list[Diagnosis], Examine]]:
    """Give what is known about an installation, and the means to look further; starts its database if nobody has.

    Raises:
        Misconfigured: there is no installation in this folder.
    """
    settings = config.read_settings(flags={"data": str(data)})
    if not (settings.data / "keys" / "signing.key").exists():
        raise Misconfigured(
            f"{settings.data} holds no installation: there is no signing key. Start one: tallystick serve."
        )
    own: EmbeddedPostgres | None = None
    logins = settings.logins()
    running = (settings.data / "server.json").exists()
    if logins is None:
        try:
            logins = embedded.running_logins(settings.data, DATABASE)
            await (await connect(logins.reader)).close()
        except TryLater:
            own = EmbeddedPostgres(
                settings.data, new_password=lambda: secrets.token_urlsafe(32), say=say,
                programs=settings.postgres_bin, user=settings.postgres_user, runtime_folder=settings.runtime_folder,
            )  # fmt: skip
            await own.start()
            logins = own.logins(DATABASE)
    pooler = settings.database_pooler == "transaction"
    reader = await open_pool(logins.reader, role="reader", pooler=pooler)
    signer = Signer.open(
        settings.data, instance=config.instance_name(settings, _no_instance), random=os.urandom
    )
    try:
        found = await _found(logins, pooler)
        yield found, Examine(settings.data, reader, signer, now=now, random=os.urandom, running=running)
    finally:
        signer.close()
        await reader.close()
        if own is not None:
            await own.stop()


def _no_instance() -> str:
    raise Misconfigured("The file instance is gone from the data folder. Put it back from your backup.")


async def _found(logins: Logins, pooler: bool) -> list[Diagnosis]:
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


class _Server(uvicorn.Server):
    """uvicorn's server without its last act, which is to die of the signal that asked it to stop: we stop in order."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Take SIGINT and SIGTERM as the wish to stop, for as long as this runs."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


def listen(host: str, port: int) -> socket.socket:
    """Open the socket to listen on; port 0 takes any free one.

    Raises:
        Misconfigured: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Misconfigured(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another with --host and --port."
        ) from error
    listener.set_inheritable(False)
    return listener
