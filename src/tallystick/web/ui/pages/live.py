"""The live tail: new rows of a search as server-sent events, each row as the page's own table has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from msgspec import json
from msgspec.structs import replace
from starlette.responses import StreamingResponse

from tallystick.errors import AuditError, Refused, Unauthorized
from tallystick.query.model import filters_of
from tallystick.services.permissions import READ
from tallystick.services.principal import Principal
from tallystick.web.call import Answer, Call
from tallystick.web.cookies import SESSION, read_cookie
from tallystick.web.ui.events.look import COOKIE, read_look
from tallystick.web.ui.events.projects import Project, labels
from tallystick.web.ui.events.rows import Rows
from tallystick.web.ui.events.state import State, read_state
from tallystick.web.ui.render import templates

PAGE = 100  # events read at once
HEARTBEAT_SECONDS = 15.0
STOP_SECONDS = 1.0  # how soon a stream notices that the server is stopping
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def follow(call: Call) -> Answer:
    """Follow a search live from the position `after`, or from where the browser was when it lost the connection."""
    pairs = call.query()
    after = next((value for key, value in pairs if key == "after"), "")
    after = call.header(b"last-event-id") or after
    rest = [pair for pair in pairs if pair[0] not in ("after", "first")]
    state = read_state(rest, read_look(read_cookie(call, COOKIE)), now=call.services.now())
    if state.wrong is not None:
        raise state.wrong
    size = await call.services.read.search(call.caller, replace(filters_of(state.query), limit=1))
    start = _position(after) if after else size.size - 1
    return StreamingResponse(_stream(call, state, start), headers=_HEADERS, media_type="text/event-stream")


async def _stream(call: Call, state: State, after: int) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n: open\n\n"
    try:
        async for piece in _rows(call, state, after):
            yield piece
    except AuditError as error:
        yield b"event: problem\ndata: " + json.encode({"detail": str(error)}) + b"\n\n"


async def _rows(call: Call, state: State, after: int) -> AsyncIterator[bytes]:
    """Yield each row as `id: position`; a comment every 15 s keeps proxies from hanging up."""
    services: Any = call.services
    query = filters_of(state.query)
    named = labels(
        Project(id=row.id, name=row.name, team=row.team) for row in await services.projects.of(call.caller)
    )
    line = templates().get_template("events/cells.html").module.line  # pyright: ignore[reportAttributeAccessIssue]
    quiet_since = services.monotonic()
    while not services.stopping():
        # A tail lives for hours: whoever was signed out or lost a right meanwhile must not go on reading.
        principal = await _still(call)
        page = await services.read.follow(principal, query, after, PAGE)
        rows = Rows(state, named, services.now())
        for event in page.events:
            html = str(line(rows.row(event), state.look.columns))
            yield b"id: %d\nevent: row\ndata: " % event["position"] + json.encode(html) + b"\n\n"
        if page.events:
            quiet_since = services.monotonic()
        if page.last > after:
            after = page.last
            continue
        if services.monotonic() - quiet_since >= HEARTBEAT_SECONDS:
            quiet_since = services.monotonic()
            yield b"id: %d\n: still here\n\n" % after if after >= 0 else b": still here\n\n"
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await services.read.wait_beyond(principal.organization_id, after)


async def _still(call: Call) -> Principal:
    token = read_cookie(call, SESSION)
    if token is None:
        raise Unauthorized("You are no longer signed in.")
    return (await call.services.sessions.authenticate(token)).under(READ)


def _position(text: str) -> int:
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18 or int(text) < -1:
        raise Refused("'after' is the position of an event.", path="/after", rule="number")
    return int(text)
