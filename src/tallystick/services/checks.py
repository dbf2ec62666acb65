"""Checks that a person asked this server for: the log read back, range by range, as a stranger would verify it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, suppress
from datetime import datetime
from uuid import UUID

import structlog
from msgspec import Struct, json

from tallystick.errors import AuditError, NotFound, TryLater
from tallystick.merkle.keys import VerifierKey
from tallystick.query.model import Query
from tallystick.services.export import Export
from tallystick.services.principal import Principal
from tallystick.services.sign import Signer
from tallystick.verify.export import verify_export
from tallystick.verify.layout import Header
from tallystick.verify.report import Report

CHECKS_KEPT = 50
_PIECES_WAITING = 8
log = structlog.get_logger("tallystick.checks")


class Check(Struct, kw_only=True):
    """One check: what was asked, how far it is, and what was found.

    `done` and `total` count positions of the log; `report` is None while it runs, `failed` says why it could not end.
    """

    id: str
    organization_id: UUID
    asked_by: str
    what: str
    started_at: datetime
    done: int = 0
    total: int = 0
    report: Report | None = None
    failed: str = ""

    @property
    def is_running(self) -> bool:
        """Tell whether the end is still to come."""
        return self.report is None and not self.failed


class Checks:
    """Runs one check at a time and remembers the last fifty until the server stops.

    Args:
        export: writes what is checked: the very bytes an auditor would be given.
        signer: knows the keys that count here.
        now: the clock, in UTC.
        random: gives that many random bytes.
    """

    def __init__(
        self, export: Export, signer: Signer, *, now: Callable[[], datetime], random: Callable[[int], bytes]
    ) -> None:
        self._export = export
        self._signer = signer
        self._now = now
        self._random = random
        self._checks: OrderedDict[str, Check] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()

    async def start(self, principal: Principal, query: Query, *, what: str) -> Check:
        """Begin to check what `query` reaches; `what` says it in words.

        Raises Forbidden without the permission to export, NotFound for an empty log, TryLater while another check
        runs: reading a whole log back costs a core.
        """
        if self._running:
            raise TryLater(
                "Another check is running on this server. Nothing was started; try again when it has ended."
            )
        stream = await self._export.jsonl(principal, query)
        check = Check(
            id="chk_" + self._random(8).hex(), organization_id=principal.organization_id, asked_by=principal.id,
            what=what, started_at=self._now(),
        )  # fmt: skip
        self._checks[check.id] = check
        while len(self._checks) > CHECKS_KEPT:
            self._checks.popitem(last=False)
        task = asyncio.create_task(self._run(check, stream))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return check

    def get(self, principal: Principal, check_id: str) -> Check:
        """Return a check; raises NotFound for one that is another's, or was forgotten when the server stopped."""
        check = self._checks.get(check_id)
        if check is None or (check.organization_id, check.asked_by) != (
            principal.organization_id,
            principal.id,
        ):
            raise NotFound(
                "There is no such check. Checks are forgotten when the server stops; start another one."
            )
        return check

    async def stop(self) -> None:
        """End what runs."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _run(self, check: Check, stream: AsyncIterator[bytes]) -> None:
        pieces = _Pieces()
        origin = self._signer.origin(check.organization_id)
        keys = (self._signer.verifier(origin), self._signer.clock())
        reading = asyncio.create_task(asyncio.to_thread(_verify, pieces, keys, check))
        try:
            async with aclosing(stream):  # pyright: ignore[reportArgumentType]
                async for piece in stream:
                    if not await asyncio.to_thread(pieces.put, piece):
                        break
        except AuditError as error:
            check.failed = str(error)
        finally:
            # The reader must come to its end whatever happened here, or its thread would wait for ever.
            await asyncio.shield(asyncio.to_thread(pieces.put, None))
            (report,) = await asyncio.shield(asyncio.gather(reading, return_exceptions=True))
        if isinstance(report, BaseException):
            log.error("check broke off", check=check.id, exc_info=report)
            check.failed = (
                check.failed or "The check broke off; nothing was found out. The server's log says why."
            )
        elif not check.failed:
            check.report = report


class _Pieces:
    """What the stream hands to the thread that verifies; neither of them ever waits for one that has ended."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[bytes | None] = queue.Queue(_PIECES_WAITING)
        self._ended = threading.Event()

    def put(self, piece: bytes | None) -> bool:
        """Hand on a piece, None after the last one; False when nobody takes any more."""
        if not self._ended.is_set():
            self._waiting.put(piece)
        return not self._ended.is_set()

    def __iter__(self) -> Iterator[bytes]:
        while (piece := self._waiting.get()) is not None:
            yield piece

    def end(self) -> None:
        """Take nothing more: whoever is about to hand on a piece gets room for it, whoever comes later hears of it."""
        self._ended.set()
        with suppress(queue.Empty):
            while True:
                self._waiting.get_nowait()


def _verify(pieces: _Pieces, keys: tuple[VerifierKey, ...], check: Check) -> Report:
    def counted() -> Iterator[bytes]:
        for piece in pieces:
            if not check.total:
                header = json.decode(piece.partition(b"\n")[0], type=Header)
                check.total = header.end - header.start
            yield piece
            check.done = min(check.total, check.done + piece.count(b"\n"))

    try:
        return verify_export(counted(), keys=keys)  # pyright: ignore[reportArgumentType]
    finally:
        pieces.end()
