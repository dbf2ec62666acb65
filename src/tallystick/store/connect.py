"""The way into PostgreSQL: addresses, pools, transactions, and what a driver's error means for the caller.

No statement relies on the state of a session, so that a pooler in transaction mode may stand between: each role
signs in with a login of its own, and behind a pooler the settings travel inside each transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import partial
from typing import Literal, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit
from uuid import UUID

import asyncpg

from tallystick.errors import AuditError, Misconfigured, Tampered, TryLater, UnknownOutcome

Role = Literal["owner", "writer", "reader", "keeper"]
CLIENT_SECONDS = 8.0
ACQUIRE_SECONDS = 8.0
CONNECT_SECONDS = 5

# The server gives up before the client does, so that a client's time-out always finds an idle connection behind it.
PATIENCE: Mapping[Role, Mapping[str, str]] = {
    "owner": {"idle_in_transaction_session_timeout": "60s", "lock_timeout": "30s", "statement_timeout": "0"},
    "writer": {"idle_in_transaction_session_timeout": "2s", "lock_timeout": "6s", "statement_timeout": "7s"},
    "reader": {"idle_in_transaction_session_timeout": "2s", "lock_timeout": "6s", "statement_timeout": "7s"},
    "keeper": {
        "idle_in_transaction_session_timeout": "10s",
        "lock_timeout": "6s",
        "statement_timeout": "60s",
    },
}
CLIENT_PATIENCE: Mapping[Role, float | None] = {
    "owner": None,
    "writer": CLIENT_SECONDS,
    "reader": CLIENT_SECONDS,
    "keeper": 65.0,
}
# Generic plans of searches reached 60-400 ms where a plan made for the values takes 1 ms.
PLANS: Mapping[Role, Mapping[str, str]] = {
    "owner": {},
    "writer": {},
    "reader": {"plan_cache_mode": "force_custom_plan"},
    "keeper": {},
}


class Every(Enum):
    """The name for all organizations at once: the server's own work, such as finding whose a credential is."""

    EVERY = "*"


EVERY = Every.EVERY

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL's
_INFINITIES = {datetime.max: 2**63 - 1, datetime.min: -(2**63)}  # noqa: DTZ901 - the naive ones mean no end
_OF_INFINITY = {number: moment for moment, number in _INFINITIES.items()}


@dataclass(frozen=True)
class Dsn:
    """The address of a database as one login sees it; its password shows in no representation."""

    url: str = field(repr=False)

    @classmethod
    def of(cls, *, host: str, port: int, user: str, password: str, database: str) -> Dsn:
        """Build the address of `database` from its parts; `host` may be the folder of a socket."""
        query = urlencode({"host": host, "port": port})
        return cls(
            f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@/{quote(database)}?{query}"
        )

    @property
    def database(self) -> str:
        """The name of the database in the address."""
        return unquote(urlsplit(self.url).path.lstrip("/"))

    @property
    def user(self) -> str:
        """The name of the login in the address, empty when it names none."""
        return unquote(urlsplit(self.url).username or "")

    @property
    def password(self) -> str:
        """The password in the address, empty when it holds none."""
        return unquote(urlsplit(self.url).password or "")

    def with_database(self, database: str) -> Dsn:
        """Return the address of another `database` for the same login."""
        return Dsn(urlunsplit(urlsplit(self.url)._replace(path="/" + quote(database, safe=""))))

    def with_login(self, user: str, password: str) -> Dsn:
        """Return the address of the same database for another login, without a password when it is empty."""
        parts = urlsplit(self.url)
        place = parts.netloc.rpartition("@")[2]
        login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        return Dsn(urlunsplit(parts._replace(netloc=f"{login}@{place}")))

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        place = parts.netloc.rpartition("@")[2]
        secret = {"password", "sslpassword"}
        query = urlencode([(k, "***" if k in secret else v) for k, v in parse_qsl(parts.query)], safe="/*")
        return urlunsplit(
            parts._replace(netloc=f"{self.user}:***@{place}" if self.user else place, query=query)
        )

    def __repr__(self) -> str:
        return f"Dsn({self})"


@dataclass(frozen=True)
class Logins:
    """Where each role signs in; with an external database all four may be the same address."""

    owner: Dsn
    writer: Dsn
    reader: Dsn
    keeper: Dsn


class Connection(asyncpg.Connection):
    """A connection that owes the next user nothing: no session state is ever made, so none is reset."""

    acting = ""
    """The role that each of its transactions takes on, "" where the login is that role already or may not be it."""

    def get_reset_query(self) -> str:
        """Return no statement at all; asyncpg's own costs a round trip at every release."""
        return ""


@dataclass(frozen=True)
class Pool:
    """The open connections of one role, and the words each of its transactions begins with."""

    inner: asyncpg.Pool
    role: Role
    begin: str
    begin_reading: str

    async def close(self) -> None:
        """Close every connection, waiting for those in use no longer than their time-out."""
        try:
            async with asyncio.timeout(CLIENT_SECONDS):
                await self.inner.close()
        except TimeoutError:
            self.inner.terminate()

    async def renew(self) -> None:
        """Have every connection replaced before its next use, for instance after the server was restarted."""
        await self.inner.expire_connections()


async def open_pool(
    dsn: Dsn,
    *,
    role: Role,
    pooler: bool = False,
    size_min: int = 1,
    size_max: int = 8,
    application: str = "tallystick",
) -> Pool:
    """Open between `size_min` and `size_max` connections to `dsn` with the time-outs of `role`.

    `pooler` says that a pooler in transaction mode stands between: nothing is prepared or set for a session
    then. json and jsonb travel as bytes. Raises TryLater or Misconfigured when no connection can be made.
    """
    wishes = {"synchronous_commit": "on", **PATIENCE[role], **PLANS[role]}
    server_settings = {} if pooler else {**wishes, "application_name": f"{application} {role}"}
    inherited = "".join(f"; SET LOCAL {name} = '{value}'" for name, value in wishes.items()) if pooler else ""
    try:
        inner = await asyncpg.create_pool(
            dsn.url,
            min_size=size_min,
            max_size=size_max,
            connection_class=Connection,
            command_timeout=CLIENT_PATIENCE[role],
            timeout=CONNECT_SECONDS,
            max_inactive_connection_lifetime=300.0,
            statement_cache_size=0 if pooler else 512,
            server_settings=server_settings,
            init=partial(_ready, acting="" if role == "owner" else f"tallystick_{role}"),
        )
    except Exception as error:
        raise classify(error, during_commit=False) from error
    isolation = "BEGIN ISOLATION LEVEL READ COMMITTED"
    return Pool(inner, role, isolation + " READ WRITE" + inherited, isolation + " READ ONLY" + inherited)


async def connect(dsn: Dsn, *, pooler: bool = False) -> Connection:
    """Open one connection outside any pool, without time-outs; raises TryLater or Misconfigured."""
    try:
        found = await asyncpg.connect(
            dsn.url,
            connection_class=Connection,
            timeout=CONNECT_SECONDS,
            statement_cache_size=0 if pooler else 100,
        )
        await _set_codecs(found)
    except Exception as error:
        raise classify(error, during_commit=False) from error
    return found


async def _ready(connection: Connection, acting: str) -> None:
    """Prepare a new connection; `acting` is the role to act as where the login may, "" for the login itself."""
    await _set_codecs(connection)
    if acting:
        connection.acting = await _role_taken_on(connection, acting)


async def _role_taken_on(connection: Connection, role: str) -> str:
    # No policy binds the owner of a table. A login that owns the tables and is used for everything is bound only
    # while it acts as one of the roles, which it may when it is a member (migrate.py sees to that).
    row = await connection.fetchrow(
        "SELECT current_user AS login, (SELECT oid FROM pg_roles WHERE rolname = $1) AS role", role
    )
    assert row is not None
    if row["role"] is None or row["login"] == role:
        return ""
    membership = "SET" if connection.get_server_version().major >= 16 else "MEMBER"
    may = await connection.fetchval("SELECT pg_has_role($1::oid, $2)", row["role"], membership)
    return role if may else ""


async def _set_codecs(connection: asyncpg.Connection) -> None:
    # Bytes both ways: msgspec reads and writes bytes, and a round through str costs a copy of every value.
    await connection.set_type_codec(
        "json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary"
    )
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_jsonb_to_wire, decoder=_jsonb_from_wire, format="binary"
    )
    # The driver's own writes the first and the last instant there are as infinity: an event of that very time is
    # then stored elsewhere than where it is looked for, and a page that ends at it begins with it again.
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        encoder=_instant_to_wire,
        decoder=_instant_from_wire,
        format="tuple",
    )


def _instant_to_wire(value: datetime) -> tuple[int]:
    """Return microseconds since 2000; the naive first and last instant stand for PostgreSQL's infinities."""
    if value.tzinfo is None and value in _INFINITIES:
        return (_INFINITIES[value],)
    since = value - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds,)


def _instant_from_wire(value: tuple[int]) -> datetime:
    return _OF_INFINITY.get(value[0]) or _EPOCH + timedelta(microseconds=value[0])


def _jsonb_to_wire(value: bytes) -> bytes:
    return b"\x01" + value  # the version byte of jsonb's binary format


def _jsonb_from_wire(value: bytes) -> bytes:
    return bytes(value[1:])


@asynccontextmanager
async def transaction(
    pool: Pool, *, reading: bool = False, organization: UUID | Every | None = None
) -> AsyncIterator[Connection]:
    """Give a connection inside a transaction that is committed at the end, or not at all.

    Only rows of `organization` can be read or written in it (schema_tenancy.sql), whatever its statements ask for;
    None = of no organization, EVERY = of all. The setting travels with BEGIN and ends with the transaction, and so does
    the role of the pool where its login is another one, the owner of the tables perhaps.

    An error of ours (AuditError) rolls back and keeps the connection; after any other error, a cancellation
    included, the connection is thrown away. Raises what `classify` makes of the driver's errors, UnknownOutcome
    when the commit itself failed, and TryLater when the server answered COMMIT with ROLLBACK.
    """
    try:
        connection = cast(Connection, await pool.inner.acquire(timeout=ACQUIRE_SECONDS))
    except Exception as error:
        raise classify(error, during_commit=False) from error
    try:
        begin = pool.begin_reading if reading else pool.begin
        # The role first: from there on nothing is done with the rights of an owner.
        await connection.execute(begin + _role(connection.acting) + _tenancy(organization))
        try:
            yield connection
        except AuditError:
            await _roll_back(connection)
            raise
        await commit(connection)
    except AuditError as error:
        if isinstance(error, UnknownOutcome):
            _throw_away(connection)
        raise
    except BaseException as error:
        _throw_away(connection)
        if isinstance(error, Exception) and is_of_driver(error):
            raise classify(error, during_commit=False) from error
        raise
    finally:
        await pool.inner.release(connection)


def _role(acting: str) -> str:
    return f"; SET LOCAL ROLE {acting}" if acting else ""


def _tenancy(organization: UUID | Every | None) -> str:
    match organization:
        case None:
            return ""
        case Every.EVERY:
            return "; SET LOCAL tallystick.organization = '*'"
        case _:
            # A setting takes no parameter; a UUID's own text holds nothing but digits and hyphens.
            return f"; SET LOCAL tallystick.organization = '{UUID(bytes=organization.bytes)}'"


def _throw_away(connection: asyncpg.Connection) -> None:
    # A lost connection has left its pool by itself already, and the pool's proxy then refuses every call.
    with suppress(asyncpg.InterfaceError):
        connection.terminate()


async def _roll_back(connection: asyncpg.Connection) -> None:
    try:
        await connection.execute("ROLLBACK")
    except Exception:
        _throw_away(connection)  # the server rolls back when it notices; the caller's error is what counts


async def commit(connection: asyncpg.Connection) -> None:
    """Commit and check that the server says so: a failed transaction answers COMMIT with the tag ROLLBACK."""
    try:
        tag = await connection.execute("COMMIT")
    except Exception as error:
        raise classify(error, during_commit=True) from error
    if tag != "COMMIT":
        raise TryLater("The database rolled this transaction back; nothing of it was stored. Send it again.")


# InternalClientError: what asyncpg says when the server's farewell crosses a statement on the wire.
_LOST = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def is_of_driver(error: BaseException) -> bool:
    """Tell whether `error` came from the driver or its connection, not from our own code."""
    return isinstance(error, (asyncpg.PostgresError, *_LOST))


_NOTHING = "Nothing of this call was stored."
_POOLER = (
    "The database does not keep the settings or statements of a session; a pooler stands before it. "
    "Set TALLYSTICK_DATABASE_POOLER=transaction."
)
# SQLSTATE, or its first two characters → (class, sentence, seconds until a retry makes sense).
STATES: Mapping[str, tuple[type[AuditError], str, int]] = {
    "08P01": (Misconfigured, _POOLER, 0),
    "26000": (Misconfigured, _POOLER, 0),
    "42P05": (Misconfigured, _POOLER, 0),
    "08": (TryLater, f"The database cannot be reached. {_NOTHING}", 1),
    "53300": (TryLater, f"The database has no free connection. {_NOTHING}", 1),
    "53100": (TryLater, f"The database's disk is full. {_NOTHING} An operator must free space.", 30),
    "53": (TryLater, f"The database is short of memory or another resource. {_NOTHING}", 5),
    "57014": (TryLater, f"The database took too long and gave up. {_NOTHING}", 1),
    "57": (TryLater, f"The database is starting or stopping. {_NOTHING}", 1),
    "55P03": (TryLater, f"Another call holds this log for too long. {_NOTHING}", 1),
    "25006": (TryLater, f"The database is read-only, a standby perhaps. {_NOTHING}", 5),
    "25P03": (TryLater, f"The database ended a transaction that stood still. {_NOTHING}", 1),
    "25P04": (TryLater, f"The database ended a transaction that took too long. {_NOTHING}", 1),
    "25P02": (TryLater, f"The transaction had failed before. {_NOTHING}", 1),
    "40": (TryLater, f"The database gave way to another transaction. {_NOTHING}", 1),
    "58": (TryLater, f"The database cannot read or write its files. {_NOTHING} An operator must look.", 30),
    "28": (
        Misconfigured,
        "The database refuses this login. Check the user and password in TALLYSTICK_DATABASE_URL.",
        0,
    ),
    "3D000": (
        Misconfigured,
        "There is no such database. Check the name in TALLYSTICK_DATABASE_URL, or create it.",
        0,
    ),
    "XX001": (Tampered, "The database found damaged pages. Stop writing and restore from a backup.", 0),
    "XX002": (Tampered, "The database found a damaged index. Stop writing and run: tallystick doctor", 0),
}


def classify(error: BaseException, *, during_commit: bool) -> AuditError:
    """Return what `error` means for the caller, in our own classes.

    Anything during a commit is an unknown outcome, since the commit may have reached the disk. Otherwise a lost
    or busy database is TryLater, a refused login Misconfigured, damaged pages Tampered, and any other complaint
    of the server a plain AuditError that names its SQLSTATE but quotes no row.
    """
    if during_commit:
        return UnknownOutcome(
            "The database did not confirm the commit, so it may or may not have happened. "
            "Send the same events with the same ids again: they are stored once."
        )
    if isinstance(error, AuditError):
        return error
    state = str(getattr(error, "sqlstate", None) or "")
    known = STATES.get(state) or STATES.get(state[:2])
    if known is not None:
        kind, sentence, seconds = known
        return kind(sentence, retry_after_seconds=seconds) if issubclass(kind, TryLater) else kind(sentence)
    if isinstance(error, _LOST):
        kind, sentence, seconds = STATES["08"]
        return TryLater(sentence, retry_after_seconds=seconds)
    if isinstance(error, ValueError):  # asyncpg's complaint about an address it cannot read
        return Misconfigured(
            "TALLYSTICK_DATABASE_URL cannot be read. Write postgresql://user:password@host/database"
        )
    return AuditError(f"The database refused a statement ({state or type(error).__name__}). {_NOTHING}")
