"""`producers`: who numbers events, how far, and what of it is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from rich.table import Table

from tallystick.cli.connection import OPTIONS, Connection, connect
from tallystick.cli.output import out, safe

_STYLES = {"active": "green", "silent": "bold red", "stopped": "dim", "unwatched": "dim"}
_NUMBERS = ("sequence", "missing", "declared", "waiting", "conflicts")


def producers(url: str | None, key: str | None, data: Path, name: str | None, as_json: bool) -> None:
    """Show who numbers events, how far the numbers go, and what is missing; with NAME its gaps.

    `missing` was never heard of, `declared` the producer says it will not send, `waiting` lay in its spool at its last
    sign of life, `conflicts` are numbers that came twice. Exit code 0 even where something is missing.
    """
    connection = connect(url, key, data)
    if name is not None:
        found = [connection.get(f"/v1/producers/{quote(name, safe='')}")]
    else:
        found = _all(connection)
    if as_json:
        for one in found:
            click.echo(json.dumps(one))
        return
    if not found:
        out.print("No producer has numbered an event here yet.")
        return
    out.print(_table(found))
    for one in found:
        if one["missing"] or one["state"] == "silent" or name is not None:
            out.print(safe(one["summary"]))
    if name is not None and found[0]["gaps"]:
        out.print(_gaps(found[0]))


def _all(connection: Connection) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        page = connection.get("/v1/producers", [("after", after)] if after else [])
        found += page["producers"]
        after = page["next_after"]
    return found


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("producer", overflow="fold")
    table.add_column("state")
    for name in _NUMBERS:
        table.add_column(name, justify="right")
    table.add_column("last event", no_wrap=True)
    table.add_column("heartbeat", no_wrap=True)
    for one in found:
        numbers = [safe(f"{one[name]:,}" if one[name] else "—") for name in _NUMBERS]
        if one["missing"]:
            numbers[1].stylize("bold red")
        state = safe(one["state"])
        state.stylize(_STYLES.get(one["state"], ""))
        table.add_row(
            safe(one["id"]), state, *numbers, _when(one["last_event_at"]), _when(one["heartbeat_at"])
        )
    return table


def _gaps(one: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("epoch", "from", "to", "events", "what"):
        table.add_column(name, justify="right" if name in ("from", "to", "events") else "left")
    for gap in one["gaps"]:
        what = f"{gap['kind']}, told in the log" if gap["reported"] else gap["kind"]
        numbers = (gap["first"], gap["last"], gap["last"] - gap["first"] + 1)
        table.add_row(safe(gap["epoch"]), *(safe(f"{number:,}") for number in numbers), safe(what))
    return table


def _when(moment: str | None) -> Any:
    return safe("—" if moment is None else f"{moment[:10]} {moment[11:19]}")


PRODUCERS = click.Command(
    "producers", callback=producers, help=producers.__doc__, params=[
        click.Argument(["name"], required=False),
        click.Option(["--json", "as_json"], is_flag=True, help="One JSON object a line."),
        *OPTIONS,
    ],
)  # fmt: skip
