"""Checks asked for on a page: they always come to an end, and what they say is what was found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tallystick.query.model import Query
from tallystick.services.checks import Check, Checks
from tallystick.services.permissions import EXPORT
from tallystick.services.principal import Principal
from verify.peer import CLOCK, ORGANIZATION, ORIGIN, SIGNER, PeerLog

ASKER = Principal(
    organization_id=UUID(ORGANIZATION), kind="member", id="m", name="m", permissions=frozenset({EXPORT})
)


class Keys:
    """A signer that only says whose signatures count."""

    def origin(self, organization_id: UUID) -> str:
        return ORIGIN

    def verifier(self, origin: str) -> Any:
        return SIGNER.verifier

    def clock(self) -> Any:
        return CLOCK.verifier


class Stream:
    """An export that gives these pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    async def jsonl(self, principal: Principal, query: Query) -> AsyncIterator[bytes]:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in self._pieces:
                yield piece

        return pieces()


async def checked(pieces: Iterable[bytes]) -> Check:
    """Run a check of these pieces to its end."""
    export: Any = Stream(pieces)
    signer: Any = Keys()
    checks = Checks(export, signer, now=lambda: datetime(2026, 7, 1, tzinfo=UTC), random=bytes)
    check = await checks.start(ASKER, Query(), what="everything")
    async with asyncio.timeout(60):
        while check.is_running:
            await asyncio.sleep(0.01)
    await checks.stop()
    return checks.get(ASKER, check.id)


async def test_an_honest_log_is_proven() -> None:
    """The page would say nothing, or the wrong thing, of a log that is well."""
    export = PeerLog.of(300).export()
    found = await checked([export[at : at + 4096] for at in range(0, len(export), 4096)])
    assert found.report is not None
    assert (found.report.verdict, found.done, found.total) == ("proven", 300, 300)


async def test_a_reader_that_dies_ends_the_check() -> None:
    """The stream would wait for ever for a thread that is gone, and no other check could be begun."""
    found = await checked(b"no header at all\n" for _ in range(500))
    assert (found.report, "broke off" in found.failed) == (None, True)
