"""`operator-keys`: keys that work for whichever organization a call names; straight in the database.

For who runs this server: whoever may use its data folder or its database may do everything anyway. Each key that is
made or revoked is an event of the first organization's log.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
import uvloop
from rich.table import Table

from tallystick.cli.connection import DATA
from tallystick.cli.organizations import with_office
from tallystick.cli.output import err, out, safe

if TYPE_CHECKING:
    from tallystick.runtime.beside import Office


def create(data: Path, name: str, permission: tuple[str, ...], days: int | None) -> None:
    """Make an operator key. Its secret is printed once, on standard output alone."""

    async def make(office: Office) -> tuple[str, str]:
        lifetime = None if days is None else timedelta(days=days)
        made = await office.operator_keys.create(name, permission, lifetime=lifetime)
        return made.id, made.key

    made, key = uvloop.run(with_office(data, make))
    err.print(safe(f"{made}; send X-Organization-Id with each call. Shown only now:"))
    click.echo(key)


def list_keys(data: Path) -> None:
    """Show the operator keys, without their secrets."""

    async def read(office: Office) -> list[dict[str, object]]:
        return await office.operator_keys.list_all()

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("id", "name", "begins", "permissions", "last used", "state"):
        table.add_column(column, overflow="fold")
    for one in uvloop.run(with_office(data, read)):
        state = "revoked" if one["revoked_at"] else f"until {one['expires_at']:%Y-%m-%d}" if one["expires_at"] else "valid"  # fmt: skip
        used = (
            f"{one['last_used_at']:%Y-%m-%d %H:%M} {one['last_used_ip'] or ''}"
            if one["last_used_at"]
            else "never"
        )
        permissions = one["permissions"]
        assert isinstance(permissions, list)
        cells = (one["id"], one["name"], f"{one['prefix']}…", " ".join(permissions), used, state)
        table.add_row(*(safe(str(cell)) for cell in cells))
    out.print(table)


def revoke(data: Path, key_id: str) -> None:
    """Revoke an operator key for good."""

    async def end(office: Office) -> None:
        await office.operator_keys.revoke(key_id)

    uvloop.run(with_office(data, end))
    out.print(safe(f"{key_id} is revoked; it stops working within five seconds on every server."))


OPERATOR_KEYS = click.Group("operator-keys", help="List, create and revoke keys of who runs this server.")
OPERATOR_KEYS.add_command(
    click.Command(
        "create", callback=create, help=create.__doc__, params=[
            click.Argument(["name"]),
            click.Option(["--permission", "-p"], multiple=True, required=True,
                         help="write, read, admin, or a permission by its full name; repeatable."),
            click.Option(["--days"], type=click.IntRange(1, 3650), help="Days until it expires."),
            DATA,
        ],
    )
)  # fmt: skip
OPERATOR_KEYS.add_command(click.Command("list", callback=list_keys, help=list_keys.__doc__, params=[DATA]))
OPERATOR_KEYS.add_command(
    click.Command("revoke", callback=revoke, help=revoke.__doc__, params=[click.Argument(["key_id"]), DATA])
)
