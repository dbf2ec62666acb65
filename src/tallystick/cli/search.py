"""`search`, `tail`: reading from a server."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from tallystick.cli import filters
from tallystick.cli.connection import OPTIONS, connect
from tallystick.cli.output import err, event_line, event_table, out, safe
from tallystick.errors import AuditError, TryLater

RECONNECT_SECONDS_MAX = 10.0


def search(
    url: str | None,
    key: str | None,
    data: Path,
    as_json: bool,
    limit: int,
    order: str,
    fetch_all: bool,
    **given: Any,
) -> None:
    """Find events. The flags are the filters of the API: they AND, a repeated one ORs."""
    server = connect(url, key, data)
    base = [*filters.pairs(given), ("order", order)]
    cursor, shown = None, 0
    while True:
        size = 1000 if fetch_all else min(1000, limit - shown)
        params = [*base, ("limit", str(size)), *([("cursor", cursor)] if cursor else [])]
        page = server.get("/v1/events", params)
        _show(page["events"], as_json)
        shown += len(page["events"])
        cursor = page["next_cursor"]
        if cursor is None or (not fetch_all and shown >= limit):
            break
    if not as_json:
        more = " There are more: raise --limit or give --all." if cursor else ""
        err.print(f"{shown} events.{more}", style="dim")


def _show(events: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        for event in events:
            click.echo(json.dumps(event, ensure_ascii=True))
    elif events:
        out.print(event_table(events))


def tail(
    url: str | None, key: str | None, data: Path, as_json: bool, after: int | None, **given: Any
) -> None:
    """Follow the log live from now on, or from --after; resumes by itself when the connection breaks."""
    server = connect(url, key, data)
    at = _end(server) if after is None else after
    delay = 0.5
    while True:
        try:
            for position, event in _follow(server, at, filters.pairs(given)):
                at, delay = position, 0.5
                if event is not None:
                    click.echo(json.dumps(event, ensure_ascii=True)) if as_json else out.print(
                        event_line(event)
                    )
        except TryLater as error:
            err.print(safe(f"{error} Trying again in {delay:.1f} s from position {at}."), style="dim")
        time.sleep(delay)
        delay = min(delay * 2, RECONNECT_SECONDS_MAX)


def _end(server: Any) -> int:
    page = server.get("/v1/events", [("limit", "1")])
    size = page["checkpoint"].split("\n")[1] if page["checkpoint"] else "0"
    return int(size) - 1


def _follow(server: Any, after: int, pairs: list[tuple[str, str]]) -> Any:
    params = [("after", str(after)), *pairs]
    with server.stream("/v1/feed", params, {"Accept": "text/event-stream"}) as answer:
        at, kind = after, ""
        for line in answer.iter_lines():
            field, _, value = line.partition(": ")
            if field == "id":
                at = int(value)
                yield at, None
            elif field == "event":
                kind = value
            elif field == "data" and kind == "audit":
                yield at, json.loads(value)
            elif field == "data" and kind == "problem":
                raise AuditError(json.loads(value)["detail"])


_JSON = click.Option(["--json", "as_json"], is_flag=True, help="Print events as JSON lines.")
SEARCH = click.Command(
    "search", callback=search, help=search.__doc__, params=[
        *filters.options(), _JSON,
        click.Option(["--limit"], type=click.IntRange(1), default=50, show_default=True, help="Events to show."),
        click.Option(["--order"], type=click.Choice(["newest", "oldest"]), default="newest", show_default=True),
        click.Option(["--all", "fetch_all"], is_flag=True, help="Show all that match."),
        *OPTIONS,
    ],
)  # fmt: skip
TAIL = click.Command(
    "tail", callback=tail, help=tail.__doc__, params=[
        *filters.options(), _JSON,
        click.Option(["--after"], type=int, help="Position to start after; -1 is the beginning."),
        *OPTIONS,
    ],
)  # fmt: skip
