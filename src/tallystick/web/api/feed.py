"""The log in order of position, dense: as pages, or live as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from msgspec import json
from starlette.responses import StreamingResponse

from tallystick.errors import AuditError, Refused
from tallystick.query import Query, filters_of, parse
from tallystick.services.permissions import READ
from tallystick.web.api.answers import json_answer, newest_checkpoint
from tallystick.web.call import Answer, Call
from tallystick.web.guard import authenticate

FEED_LIMIT_DEFAULT = 100
FEED_LIMIT_MAX = 1000
LIVE_PAGE = 100  # events read at once for a live stream: many streams take turns, and none holds much
HEARTBEAT_SECONDS = 15.0
STOP_SECONDS = 1.0  # how soon a stream notices that the server is stopping
_STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def get_feed(call: Call) -> Answer:
    """Return events after a position; with `Accept: text/event-stream` follow the log live.

    A page's `next` is the position to ask after next time. A live stream takes filters and resumes by Last-Event-ID.
    """
    after, limit, rest = _parameters(call)
    if "text/event-stream" in (call.header(b"accept") or ""):
        query = filters_of(parse(rest, now=call.services.now()))
        return StreamingResponse(
            _stream(call, after, query), headers=_STREAM_HEADERS, media_type="text/event-stream"
        )
    if rest:
        key = rest[0][0][:80]
        raise Refused(
            f"'{key}' cannot filter a page of the feed, which is dense so that nothing can be skipped; use "
            "GET /v1/events to filter, or follow the feed live.",
            path=f"/{key}",
            rule="parameter",
        )
    page = await call.services.read.feed_page(call.caller, after, limit)
    checkpoint = await newest_checkpoint(call)
    return json_answer({"events": page.events, "next": page.last, "checkpoint": checkpoint})


async def _stream(call: Call, after: int, query: Query) -> AsyncIterator[bytes]:
    """Yield what `_follow` does, and say why when it ends before the client hangs up."""
    yield b"retry: 1000\n\n"
    try:
        async for piece in _follow(call, after, query):
            yield piece
    except AuditError as error:
        yield b"event: problem\ndata: " + json.encode({"rule": error.rule, "detail": str(error)}) + b"\n\n"


async def _follow(call: Call, after: int, query: Query) -> AsyncIterator[bytes]:
    """Yield each event as `id: position`; a comment every 15 s keeps proxies from hanging up."""
    services = call.services
    quiet_since = services.monotonic()
    while not services.stopping():
        # A stream lives for days: a key that is revoked meanwhile must not go on reading, nor a member beyond the role
        # it has now.
        call.principal = (await authenticate(call)).under(READ)
        await services.switches.require_reading(call.caller.organization_id)
        page = await services.read.follow(call.caller, query, after, LIVE_PAGE)
        for event in page.events:
            yield b"id: %d\nevent: audit\ndata: " % event["position"] + json.encode(event) + b"\n\n"
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
                await services.read.wait_beyond(call.caller.organization_id, after)


def _parameters(call: Call) -> tuple[int, int, list[tuple[str, str]]]:
    after, limit, rest = -1, FEED_LIMIT_DEFAULT, []
    for key, value in call.query():
        if key == "after":
            after = _number(key, value, least=-1, most=2**62)
        elif key == "limit":
            limit = _number(key, value, least=1, most=FEED_LIMIT_MAX)
        else:
            rest.append((key, value))
    resumed = call.header(b"last-event-id")
    if resumed:
        after = _number("Last-Event-ID", resumed, least=-1, most=2**62)
    return after, limit, rest


def _number(key: str, value: str, *, least: int, most: int) -> int:
    digits = value.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 19 or not least <= int(value) <= most:
        raise Refused(f"'{key}' is a whole number from {least} to {most}.", path=f"/{key}", rule="number")
    return int(value)
