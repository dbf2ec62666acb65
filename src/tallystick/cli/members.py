"""`members`: links with which people set a password."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tallystick.cli.connection import OPTIONS, connect
from tallystick.cli.output import err, safe


def link(url: str | None, key: str | None, data: Path, email: str | None) -> None:
    """Make a link with which a member sets a password; it works once. Without EMAIL: the first owner's."""
    made = connect(url, key, data).post("/v1/sign-in-links", json.dumps({"email": email}).encode())
    err.print(safe(f"{made['purpose']}, until {made['expires_at'][:16]} UTC; shown only now:"))
    click.echo(made["url"])


MEMBERS = click.Group("members", help="Make links with which people set a password.")
MEMBERS.add_command(
    click.Command(
        "link", callback=link, help=link.__doc__, params=[click.Argument(["email"], required=False), *OPTIONS]
    )
)
