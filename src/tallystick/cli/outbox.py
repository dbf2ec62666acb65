"""`outbox`: what waits in an application's database, sending it, and the SQL that puts it there."""

from __future__ import annotations

import asyncio
import json
import signal

import click

from tallystick.cli.output import err, out, safe
from tallystick.client.settings import Settings, settings
from tallystick.client.trigger_pack import capture_table, release_table
from tallystick.outbox import dsn as database
from tallystick.outbox.relay import PAUSE_SECONDS, Pace
from tallystick.outbox.table import TABLE, Statements

DSN = click.Option(
    ["--dsn"], envvar="TALLYSTICK_OUTBOX_DSN", required=True,
    help="Address of the application's PostgreSQL: postgresql://user@host/database.",
)  # fmt: skip
OUTBOX = click.Option(["--outbox"], default=TABLE, show_default=True, help="Name of the outbox table.")
URL = click.Option(["--url"], envvar="TALLYSTICK_URL", help="Address of the server.")
KEY = click.Option(["--key"], envvar="TALLYSTICK_API_KEY", help="API key that may write.")
_JSON = click.Option(["--json", "as_json"], is_flag=True, help="One JSON object a line.")


def status(dsn: str, outbox: str, as_json: bool) -> None:
    """Show how many events wait in the outbox, since when the oldest does, and how many were refused."""
    found = asyncio.run(database.lag(dsn, outbox))
    age = round(found.oldest_age_seconds, 3)
    if as_json:
        click.echo(json.dumps({"waiting": found.waiting, "oldest_seconds": age, "refused": found.refused}))
        return
    since = f", the oldest for {age:.0f} s" if found.waiting else ""
    refused = f"; {found.refused} refused, see: tallystick outbox dead-letters" if found.refused else ""
    out.print(safe(f"{found.waiting} events wait in {outbox}{since}{refused}."))


def relay(dsn: str, outbox: str, url: str | None, key: str | None, once: bool, pause: float) -> None:
    """Send what is committed to the server; until it is stopped, or with --once until the outbox is empty.

    Any number of these may run. A row is deleted when the server has answered for it, so a relay needs no disk and may
    be killed at any moment: what it sent last is sent again under the same ids, and is in the log once.
    """
    chosen = settings(url=url, api_key=key, profile="memory")
    if once:
        pace = asyncio.run(database.relay_all(dsn, outbox, chosen))
    else:
        pace = asyncio.run(_until_stopped(dsn, outbox, chosen, pause))
    refused = f"; {pace.dead} were refused, see: tallystick outbox dead-letters" if pace.dead else ""
    out.print(safe(f"{pace.sent} events sent{refused}."))


async def _until_stopped(dsn: str, outbox: str, chosen: Settings, pause: float) -> Pace:
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    err.print(safe(f"Relaying {outbox}; stop with Ctrl-C."))
    return await database.relay_on(dsn, outbox, chosen, stop, pause)


def letters(
    dsn: str, outbox: str, key: str | None, retry: tuple[str, ...], give_up: tuple[str, ...], as_json: bool
) -> None:
    """Show the events the server refused for good, and why; send them again, or give them up.

    Giving up is counted, and the count will be in the log.
    """
    named = retry or give_up

    def wanted(one: database.Letter) -> bool:
        return one.id in named or "all" in named

    if retry:
        number = asyncio.run(database.retry(dsn, outbox, wanted))
        out.print(safe(f"{number} wait again."))
    elif give_up:
        chosen = settings(api_key=key, profile="memory")
        number = asyncio.run(database.discard(dsn, outbox, chosen, wanted))
        out.print(safe(f"{number} given up, and counted as lost."))
    else:
        for one in asyncio.run(database.dead_letters(dsn, outbox)):
            action = database.action_of(one)
            if as_json:
                click.echo(json.dumps({"id": one.id, "action": action, "reason": one.why}))
            else:
                out.print(safe(f"{one.id}  {action}  {one.why}"))


def table(outbox: str) -> None:
    """Print the SQL of the outbox table, for a migration."""
    click.echo(f"{Statements(outbox).create()};")


def triggers(
    tables: tuple[str, ...], outbox: str, key: str, kind: str | None, exclude: str, remove: bool
) -> None:
    """Print the SQL that makes every change of a table an event, whoever makes it; for a migration."""
    for name in tables:
        if remove:
            statements = release_table(name)
        else:
            statements = capture_table(
                name, key=_names(key), type=kind, exclude=_names(exclude), outbox=outbox
            )
        for statement in statements:
            click.echo(f"{statement};")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


GROUP = click.Group("outbox", help="Events that wait in an application's own database.")
GROUP.add_command(click.Command("status", callback=status, help=status.__doc__, params=[DSN, OUTBOX, _JSON]))
GROUP.add_command(
    click.Command(
        "relay", callback=relay, help=relay.__doc__, params=[
            DSN, OUTBOX, URL, KEY,
            click.Option(["--once"], is_flag=True, help="End when nothing waits any more."),
            click.Option(["--pause"], type=click.FloatRange(0.01, 3600), default=PAUSE_SECONDS, show_default=True,
                         help="Seconds between two looks at an empty outbox."),
        ],
    )
)  # fmt: skip
GROUP.add_command(
    click.Command(
        "dead-letters", callback=letters, help=letters.__doc__, params=[
            DSN, OUTBOX, KEY, _JSON,
            click.Option(["--retry"], multiple=True, help="Id of one to send again, or: all."),
            click.Option(["--discard", "give_up"], multiple=True, help="Id of one to give up, or: all."),
        ],
    )
)  # fmt: skip
GROUP.add_command(click.Command("table", callback=table, help=table.__doc__, params=[OUTBOX]))
GROUP.add_command(
    click.Command(
        "triggers", callback=triggers, help=triggers.__doc__, params=[
            click.Option(["--table", "tables"], multiple=True, required=True, help="Table to watch; may be repeated."),
            OUTBOX,
            click.Option(["--key"], default="id", show_default=True, help="Columns of the primary key, with commas."),
            click.Option(["--type", "kind"], help="Type of the target. [default: the table's name]"),
            click.Option(["--exclude"], default="", help="Columns that are in no event, with commas."),
            click.Option(["--remove"], is_flag=True, help="Print the SQL that takes the triggers away."),
        ],
    )
)  # fmt: skip
