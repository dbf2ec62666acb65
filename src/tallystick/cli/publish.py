"""`tallystick publish`: copies of the proof, without the events, for a place that nobody here can change."""

from __future__ import annotations

from pathlib import Path

import click
import uvloop

from tallystick.cli.connection import DATA
from tallystick.cli.output import err, out, safe


def publish(target: str, data: Path, lock_days: int) -> None:
    """Write checkpoints and tiles of all logs to TARGET, a folder or s3://bucket/prefix; only what is new each time.

    An organization's log is published as hashes alone. Beside a running server or without one.
    """
    uvloop.run(_publish(target, data, lock_days))


async def _publish(target: str, data: Path, lock_days: int) -> None:
    from tallystick.runtime.chance import now
    from tallystick.runtime.outside import publisher
    from tallystick.services.publishing import target_of

    place = target_of(target, now=now, lock_days=lock_days)
    async with publisher(data, say=lambda sentence: err.print(safe(sentence), style="dim")) as publishing:
        out.print(safe(f"Published to {target}: {await publishing.publish(place)}."), soft_wrap=True)


PUBLISH = click.Command(
    "publish", callback=publish, help=publish.__doc__, params=[
        click.Argument(["target"]),
        DATA,
        click.Option(["--lock-days"], type=click.IntRange(0, 36_500), default=0, show_default=True,
                     help="S3 Object Lock: for how long nobody can remove or replace what is published; 0 = not locked."),
    ],
)  # fmt: skip
