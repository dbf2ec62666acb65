"""The log in order of position, dense: as pages, or live as server-sent events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import json

from tallystick.errors import Refused
from tallystick.query import filters_of, parse
from tallystick.web.api.answers import json_answer, newest_checkpoint
from tallystick.web.call import Answer, Call
from tallystick.web.guard import authenticate
from tallystick.web.live import follow

FEED_LIMIT_DEFAULT = 100
FEED_LIMIT_MAX = 1000


async def get_feed(call: Call) -> Answer:
    """Return events after a position; with `Accept: text/event-stream` follow the log live.

    A page's `next` is the position to ask after next time. A live stream takes filters and resumes by Last-Event-ID.
    """
    after, limit, rest = _parameters(call)
    if "text/event-stream" in (call.header(b"accept") or ""):
        query = filters_of(parse(rest, now=call.services.now()))
        return follow(call, query, after, admit=authenticate, write=_written)
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


def _written(events: list[Mapping[str, Any]]) -> Iterator[tuple[str, bytes]]:
    return (("audit", json.encode(event)) for event in events)


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
