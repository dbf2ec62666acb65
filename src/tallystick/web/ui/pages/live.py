"""The live tail: new rows of a search as server-sent events, each row as the page's own table has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import json
from msgspec.structs import replace

from tallystick.errors import Refused, Unauthorized
from tallystick.query.model import filters_of
from tallystick.services.principal import Principal
from tallystick.web.call import Answer, Call
from tallystick.web.cookies import SESSION, read_cookie
from tallystick.web.live import Write
from tallystick.web.live import follow as followed
from tallystick.web.ui.events.projects import Project, labels
from tallystick.web.ui.events.rows import Rows
from tallystick.web.ui.events.state import State
from tallystick.web.ui.pages.events import state_of
from tallystick.web.ui.render import templates


async def follow(call: Call) -> Answer:
    """Follow a search live from the position `after`, or from where the browser was when it lost the connection."""
    pairs = call.query()
    after = next((value for key, value in pairs if key == "after"), "")
    after = call.header(b"last-event-id") or after
    rest = [pair for pair in pairs if pair[0] not in ("after", "first")]
    state = state_of(call, rest)
    if state.wrong is not None:
        raise state.wrong
    query = filters_of(state.query)
    size = await call.services.read.search(call.caller, replace(query, limit=1))
    start = _position(after) if after else size.size - 1
    return followed(call, query, start, admit=_still, write=await _writer(call, state))


async def _writer(call: Call, state: State) -> Write:
    """Return what writes each event as the row that the page would have for it."""
    known = await call.services.projects.of(call.caller)
    named = labels(Project(id=row.id, name=row.name, team=row.team) for row in known)
    line = templates().get_template("events/cells.html").module.line  # pyright: ignore[reportAttributeAccessIssue]

    def write(events: list[Mapping[str, Any]]) -> Iterator[tuple[str, bytes]]:
        rows = Rows(state, named, call.services.now())
        return (("row", json.encode(str(line(rows.row(event), state.look.columns)))) for event in events)

    return write


async def _still(call: Call) -> Principal:
    if call.viewer is not None:
        return (await call.services.viewers.authenticate(call.path("viewer"))).principal
    token = read_cookie(call, SESSION)
    if token is None:
        raise Unauthorized("You are no longer signed in.")
    return await call.services.sessions.authenticate(token)


def _position(text: str) -> int:
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18 or int(text) < -1:
        raise Refused("'after' is the position of an event.", path="/after", rule="number")
    return int(text)
