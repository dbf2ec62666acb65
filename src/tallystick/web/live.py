"""Following the log live as server-sent events: the one loop behind the feed of the API and the tail of the viewer.

Who asks is asked again before each read, and before what was read is sent. A stream lives for days, and must outlive neither its key or session, nor the
rights of its holder, nor the organization's switch of reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from msgspec import json
from starlette.responses import StreamingResponse

from tallystick.errors import AuditError
from tallystick.query import Query
from tallystick.services.permissions import READ
from tallystick.services.principal import Principal
from tallystick.web.call import Call

PAGE = 100  # events read at once: many streams take turns, and none holds much
HEARTBEAT_SECONDS = 15.0
STOP_SECONDS = 1.0  # how soon a stream notices that the server is stopping
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

Admit = Callable[[Call], Awaitable[Principal]]
# What of a page is sent: for each event its name among server-sent events and its data, JSON without a newline.
Write = Callable[[list[Mapping[str, Any]]], Iterable[tuple[str, bytes]]]


def follow(call: Call, query: Query, after: int, *, admit: Admit, write: Write) -> StreamingResponse:
    """Return the stream of what matches `query` beyond position `after`, each event as `id: position`.

    Args:
        call: the call that is answered; its principal is renewed by each `admit`.
        query: filters alone.
        after: the last position that the caller has.
        admit: returns who asks now, or raises the AuditError that ends the stream; the caller is told which.
        write: see `Write`.
    """
    return StreamingResponse(
        _stream(call, query, after, admit, write), headers=_HEADERS, media_type="text/event-stream"
    )


async def _stream(call: Call, query: Query, after: int, admit: Admit, write: Write) -> AsyncIterator[bytes]:
    """Yield what `_pieces` does, and say why when it ends before the client hangs up."""
    yield b"retry: 1000\n\n"
    try:
        async for piece in _pieces(call, query, after, admit, write):
            yield piece
    except AuditError as error:
        yield b"event: problem\ndata: " + json.encode({"rule": error.rule, "detail": str(error)}) + b"\n\n"


async def _pieces(call: Call, query: Query, after: int, admit: Admit, write: Write) -> AsyncIterator[bytes]:
    """Yield each event; a comment every 15 s keeps proxies from hanging up."""
    services: Any = call.services
    quiet_since = services.monotonic()
    while not services.stopping():
        principal = call.principal = (await admit(call)).under(READ)
        await services.switches.require_reading(principal.organization_id)
        page = await services.read.follow(principal, query, after, PAGE)
        # What was recorded while it was read may be younger than a change of the reader's rights: then read again.
        if page.events and (await admit(call)).under(READ) != principal:
            continue
        for event, (name, data) in zip(page.events, write(page.events), strict=True):
            yield b"id: %d\nevent: %s\ndata: %s\n\n" % (event["position"], name.encode(), data)
        if page.events:
            quiet_since = services.monotonic()
        if page.last > after:
            after = page.last
            continue
        if services.monotonic() - quiet_since >= HEARTBEAT_SECONDS:
            quiet_since = services.monotonic()
            # The position goes along, so that a filtered stream resumes where it has read to.
            yield b"id: %d\n: still here\n\n" % after if after >= 0 else b": still here\n\n"
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await services.read.wait_beyond(principal.organization_id, after)
