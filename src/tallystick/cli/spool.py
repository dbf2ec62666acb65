"""`spool`: what waits on this machine, sending it, and what the server refused."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
from rich.table import Table

from tallystick.cli.output import err, out, safe
from tallystick.client.drain import drain as drain_spool
from tallystick.client.drain import open_spool
from tallystick.client.settings import settings
from tallystick.client.spool_contents import counts, dead_letters, discard, revive
from tallystick.errors import Misconfigured, NotFound, TryLater

FOLDER = click.Option(
    ["--spool"], envvar="TALLYSTICK_SPOOL", type=click.Path(path_type=Path),
    help="Folder of the spool files. [default: ~/.local/state/tallystick/spool]",
)  # fmt: skip
FILE = click.Option(
    ["--file"], type=click.Path(path_type=Path), help="One spool file instead of the folder's."
)


def _folder(spool: Path | None) -> Path:
    folder = settings(spool=spool, profile="durable").folder
    assert folder is not None
    return folder


def _files(spool: Path | None, file: Path | None = None) -> list[Path]:
    if file is not None:
        return [file]
    found = sorted(_folder(spool).glob("*.spool"))
    if not found:
        raise NotFound(f"There is no spool in {_folder(spool)}. Nothing was recorded here yet.")
    return found


def status(spool: Path | None, as_json: bool) -> None:
    """Show each spool file: what waits and since when, what was refused, what was lost."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("file", "waiting", "bytes", "oldest", "refused", "lost", "sent"):
        table.add_column(name, overflow="fold", justify="left" if name == "file" else "right")
    for path in _files(spool):
        found = counts(open_spool(path))
        age = 0.0 if found.oldest_at_ms is None else max(0.0, time.time() - found.oldest_at_ms / 1000)
        if as_json:
            numbers = {"waiting": found.queued, "bytes": found.queued_bytes, "oldest_seconds": round(age, 3)}
            numbers |= {"refused": found.dead, "lost": found.lost, "sent": found.sent}
            click.echo(json.dumps({"file": str(path), **numbers}))
            continue
        numbers = (found.queued, found.queued_bytes, _age(age), found.dead, found.lost, found.sent)
        table.add_row(safe(path), *(safe(number) for number in numbers))
    if not as_json:
        out.print(table)


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds else "—"


def drain(spool: Path | None, url: str | None, key: str | None, file: Path | None, seconds: float) -> None:
    """Send what waits, now and in the foreground.

    Takes the file of this address and key; with --file any other, as after a key was changed: be sure that the
    new key belongs to the same organization.
    """
    chosen = settings(url=url, api_key=key, spool=spool, profile="durable")
    if chosen.url is None:
        raise Misconfigured("No server: give --url (TALLYSTICK_URL).")
    path = file or chosen.path
    assert path is not None
    last: list[int] = []

    def progress(found: object) -> None:
        queued = getattr(found, "queued", 0)
        if last[-1:] != [queued]:
            last.append(queued)
            err.print(safe(f"{queued} to go"))

    left = drain_spool(path, chosen.url, chosen.api_key, timeout_seconds=seconds, progress=progress)
    if left.queued:
        raise TryLater(
            f"{left.queued} events still wait in {path}: the server did not take them in {seconds:.0f} seconds. Nothing "
            "is lost; run this again when it answers."
        )
    refused = f"; {left.dead} were refused, see: tallystick spool dead-letters" if left.dead else ""
    out.print(safe(f"{path} is empty{refused}."))


def letters(
    spool: Path | None, file: Path | None, retry: tuple[str, ...], give_up: tuple[str, ...], as_json: bool
) -> None:
    """Show the events the server refused for good, and why; send them again, or give them up.

    Giving up is counted, and the count will be in the log.
    """
    for path in _files(spool, file):
        opened = open_spool(path)
        found = dead_letters(opened)
        if retry:
            number = revive(opened, [one.id for one in found if one.id in retry or "all" in retry])
            out.print(safe(f"{path}: {number} wait again."))
        elif give_up:
            number = discard(opened, [one.id for one in found if one.id in give_up or "all" in give_up])
            out.print(safe(f"{path}: {number} given up, and counted as lost."))
        else:
            for one in found:
                if as_json:
                    event = json.loads(one.event)
                    click.echo(json.dumps({"rule": one.rule, "message": one.message, "event": event}))
                else:
                    action = json.loads(one.event).get("action", "")
                    out.print(safe(f"{one.id}  {action}  {one.rule}: {one.message}"))
        opened.close()


_JSON = click.Option(["--json", "as_json"], is_flag=True, help="One JSON object a line.")
SPOOL = click.Group("spool", help="What applications on this machine recorded and have not sent yet.")
SPOOL.add_command(click.Command("status", callback=status, help=status.__doc__, params=[FOLDER, _JSON]))
SPOOL.add_command(
    click.Command(
        "drain", callback=drain, help=drain.__doc__, params=[
            FOLDER,
            click.Option(["--url"], envvar="TALLYSTICK_URL", help="Address of the server."),
            click.Option(["--key"], envvar="TALLYSTICK_API_KEY", help="API key that may write."),
            FILE,
            click.Option(["--seconds"], type=click.FloatRange(0), default=60.0, show_default=True,
                         help="How long to try."),
        ],
    )
)  # fmt: skip
SPOOL.add_command(
    click.Command(
        "dead-letters", callback=letters, help=letters.__doc__, params=[
            FOLDER, FILE, _JSON,
            click.Option(["--retry"], multiple=True, help="Id of one to send again, or: all."),
            click.Option(["--discard", "give_up"], multiple=True, help="Id of one to give up, or: all."),
        ],
    )
)  # fmt: skip
