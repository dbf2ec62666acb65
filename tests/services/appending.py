"""What the append's tests share: a log under test on real PostgreSQL, events to put in, faults to inject."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from oracle import check_whole_log
from tallystick.event.prepare import Prepared, prepare
from tallystick.event.redact import Redaction
from tallystick.merkle.keys import VerifierKey
from tallystick.services.append import Appender, Limits
from tallystick.services.group import Appended, Stored
from tallystick.services.log import Log
from tallystick.services.sign import Signer
from tallystick.store.connect import Pool

INSTANCE = "log.example.org"
REDACTION = Redaction(key=b"a key for fingerprints in tests")
LOG = UUID("11111111-1111-4111-8111-111111111111")
OTHER_LOG = UUID("22222222-2222-4222-8222-222222222222")
NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)

_numbers = count()


def raw_event(**fields: Any) -> bytes:
    """Return the JSON of an event that differs from every other one; `fields` replace or add."""
    number = next(_numbers)
    person = number % 7
    event: dict[str, Any] = {
        "id": str(uuid4()),
        "action": ("project.create", "member.invite", "api_key.rotate", "login")[number % 4],
        "actor": {
            "type": "user",
            "id": f"user-{person}",
            "name": f"Person {person}",
            "email": f"Person{person}@example.org",
        },
        "targets": [{"type": "project", "id": f"p-{number}"}, {"type": "team", "id": 'a "b" \\ {c},'}],
        "outcome": ("success", "failure", "denied")[number % 3],
        "workspace": f"w-{number % 3}",
        "context": {"ip": f"192.0.2.{number % 250}", "request_id": f"r-{number}"},
        "after": {"number": number, "text": "x" * 100},
    }
    event.update(fields)
    return json.dumps({key: value for key, value in event.items() if value is not None}).encode()


def event(**fields: Any) -> Prepared:
    """Return such an event, prepared."""
    return prepare(raw_event(**fields), redaction=REDACTION, new_id=uuid4)


def events(number: int) -> list[Prepared]:
    """Return so many events."""
    return [event() for _ in range(number)]


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    at: datetime = NOON

    def __call__(self) -> datetime:
        return self.at

    def move(self, **amount: float) -> None:
        """Move the clock by a timedelta's arguments."""
        self.at += timedelta(**amount)


@dataclass
class LogUnderTest:
    """One organization's log, its appender, and everything that is needed to open it a second time."""

    pool: Pool
    data: Path
    clock: Callable[[], datetime]
    limits: Limits | None = None
    organization_id: UUID = LOG
    appenders: list[Appender] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.signer = self.new_signer()
        self.appender = self.new_appender()
        self.log = Log(self.pool, self.signer)

    def new_signer(self) -> Signer:
        """Open the signer of the same folder once more, as a second server would."""
        return Signer.open(self.data, instance=INSTANCE, random=os.urandom)

    def new_appender(
        self,
        *,
        pool: Pool | None = None,
        clock: Callable[[], datetime] | None = None,
        signer: Signer | None = None,
    ) -> Appender:
        """Open another appender on the same log, as a second server or a restart would."""
        made = Appender(
            pool or self.pool,
            signer or self.new_signer(),
            now=clock or self.clock,
            random=os.urandom,
            limits=self.limits,
        )
        self.appenders.append(made)
        return made

    @property
    def verifier(self) -> VerifierKey:
        """The log's public key."""
        return self.signer.verifier(self.signer.origin(self.organization_id))

    async def append(self, given: Sequence[Prepared], appender: Appender | None = None) -> Appended:
        """Append and expect that every event is in the log afterwards."""
        appended = await (appender or self.appender).append(self.organization_id, given, source="test")
        assert all(isinstance(result, Stored) for result in appended.results), appended.results
        assert [result.id for result in appended.results] == [one.id for one in given]  # type: ignore[union-attr]
        return appended

    async def check(self, size: int | None = None) -> int:
        """Check everything about the log, and its size."""
        found = await check_whole_log(self.pool, self.organization_id, self.verifier)
        assert size is None or found == size, f"the log has {found} events, not {size}"
        return found

    async def stop(self) -> None:
        """Stop all appenders."""
        for appender in self.appenders:
            await appender.stop()


class Fault(ConnectionError):
    """The connection broke here."""


@dataclass
class Faults:
    """Breaks `times` calls whose SQL contains `at`, before or after they took effect, sparing the first `spared`."""

    at: str = ""
    happened: bool = False
    times: int = 0
    spared: int = 0
    stuck: bool = False
    seen: list[str] = field(default_factory=list)

    async def around(self, what: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Run one call of the driver, or break it."""
        self.seen.append(what)
        if not self.times or self.at not in what.replace("READ COMMITTED", ""):
            return await call()
        if self.spared:
            self.spared -= 1
            return await call()
        self.times -= 1
        if self.stuck:
            await asyncio.Event().wait()
        if self.happened:
            await call()
        raise Fault("broken on purpose")


class _FaultyConnection:
    def __init__(self, inner: Any, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def execute(self, statement: str, *arguments: Any) -> Any:
        return await self._faults.around(statement, lambda: self._inner.execute(statement, *arguments))

    async def fetch(self, statement: str, *arguments: Any) -> Any:
        return await self._faults.around(statement, lambda: self._inner.fetch(statement, *arguments))

    async def fetchrow(self, statement: str, *arguments: Any) -> Any:
        return await self._faults.around(statement, lambda: self._inner.fetchrow(statement, *arguments))

    async def fetchval(self, statement: str, *arguments: Any) -> Any:
        return await self._faults.around(statement, lambda: self._inner.fetchval(statement, *arguments))


class _FaultyPool:
    def __init__(self, inner: Any, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    async def acquire(self, **arguments: Any) -> Any:
        return _FaultyConnection(await self._inner.acquire(**arguments), self._faults)

    async def release(self, connection: Any) -> None:
        await self._inner.release(connection._inner)


def faulty(pool: Pool, faults: Faults) -> Pool:
    """Return `pool` with `faults` between it and its users."""
    return Pool(_FaultyPool(pool.inner, faults), pool.role, pool.begin, pool.begin_reading)  # type: ignore[arg-type]
