"""`coverage`: which routes, models and permissions of an application can never leave an event."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from tallystick.coverage.measure import measure, named
from tallystick.coverage.seen import Seen


def coverage(
    app: str | None, models: tuple[str, ...], permissions: str | None, seen: Path | None, least: float, reads: bool,
    as_json: Path | None,
) -> None:  # fmt: skip
    """Tell which routes, models and permissions of APP (module:name) can never leave an event.

    With --seen, the file that `pytest --audit-seen` wrote, what tests had it record counts as well. Exit code 1 when of
    routes, models or permissions less than --min percent can.
    """
    sys.path.insert(0, "")  # the application lies where the command is given
    noted = Seen()
    if seen is not None:
        noted.add(json.loads(seen.read_text()))
    found = measure(
        app=None if app is None else named(app), models=[_base(one) for one in models],
        permissions=() if permissions is None else list(named(permissions)), seen=noted, reads=reads,
    )  # fmt: skip
    click.echo(found.as_text())
    if as_json is not None:
        as_json.write_text(json.dumps(found.as_json(), indent=1) + "\n")
    if short := found.below(least):
        click.echo(f"less than {least:g} % of {', '.join(f'{kind}s' for kind in short)}", err=True)
        raise SystemExit(1)


def _base(reference: str) -> Any:
    return reference if reference == "django" else named(reference)


COVERAGE = click.Command(
    "coverage", callback=coverage, help=coverage.__doc__, params=[
        click.Argument(["app"], required=False),
        click.Option(["--models"], multiple=True, help="A base of SQLAlchemy as module:name, or the word django."),
        click.Option(["--permissions"], help="The names of all permissions, as module:name of a list."),
        click.Option(["--seen"], type=click.Path(path_type=Path, exists=True, dir_okay=False),
                     help="What tests recorded, as `pytest --audit-seen` wrote it."),
        click.Option(["--min", "least"], type=click.FloatRange(0, 100), default=0.0, help="Fail below this percentage."),
        click.Option(["--reads"], is_flag=True, help="Ask of routes and permissions that only read, too."),
        click.Option(["--json", "as_json"], type=click.Path(path_type=Path, dir_okay=False), help="Write all of it to a file."),
    ],
)  # fmt: skip
