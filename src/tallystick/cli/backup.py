"""`backup` and `restore`: everything a server needs to be itself again, as one file."""

from __future__ import annotations

from pathlib import Path

import click
import uvloop
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tallystick.cli.connection import DATA
from tallystick.cli.output import err, out, safe


def _say(sentence: str) -> None:
    err.print(safe(sentence), style="dim")


def backup(file: Path, data: Path) -> None:
    """Write database, keys and signer's memory of a data folder into FILE; beside a running server or without one.

    The file holds the signing key: whoever has it can sign as this server. Keep it as you keep that key.
    """
    from tallystick.runtime.backups import make_backup

    made = uvloop.run(make_backup(data, file, say=_say))
    out.print(
        f"[green]✓[/] {made.events:,} events of {len(made.logs)} organizations, as of {made.made_at:%Y-%m-%d %H:%M:%S} UTC"
    )
    out.print(safe(f"  {file}, {file.stat().st_size / 2**20:,.1f} MiB, readable by you alone"), style="dim")


def restore(file: Path, data: Path) -> None:
    """Make an installation of the backup FILE in the empty folder of --data, and check every row of every log.

    Events recorded after the backup are not in it. Whoever kept a receipt or checkpoint of them can prove that they
    are missing, and `verify --known` will say so.
    """
    from tallystick.runtime.backups import restore_backup

    columns = (TextColumn("whole log"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("log", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        made, report = uvloop.run(restore_backup(file, data, say=_say, progress=show))
    for sentence in report.proven:
        out.print(safe(f"✓ {sentence}"), style="green", soft_wrap=True)
    out.print(
        safe(
            f"{made.events:,} events as of {made.made_at:%Y-%m-%d %H:%M:%S} UTC are in {data}. "
            f"Start the server: tallystick serve --data {data}"
        ),
        soft_wrap=True,
    )


_FILE = click.Path(path_type=Path, dir_okay=False)
BACKUP = click.Command(
    "backup", callback=backup, help=backup.__doc__, params=[click.Argument(["file"], type=_FILE), DATA]
)
RESTORE = click.Command(
    "restore", callback=restore, help=restore.__doc__,
    params=[click.Argument(["file"], type=click.Path(path_type=Path, dir_okay=False, exists=True)), DATA],
)  # fmt: skip
