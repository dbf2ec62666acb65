"""`roles`: the built-in ones and the organization's own."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.table import Table

from tallystick.cli.connection import OPTIONS, connect
from tallystick.cli.output import out, safe


def list_roles(url: str | None, key: str | None, data: Path) -> None:
    """Show every role and what it may do."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("id", "name", "permissions"):
        table.add_column(name, overflow="fold")
    for one in connect(url, key, data).get("/v1/roles")["roles"]:
        table.add_row(
            *(safe(cell) for cell in (one["id"], one["name"], " ".join(one["permissions"]) or "none"))
        )
    out.print(table)


def create(url: str | None, key: str | None, data: Path, name: str, permission: tuple[str, ...]) -> None:
    """Make a role called NAME."""
    wish = {"name": name, "permissions": permission}
    made = connect(url, key, data).post("/v1/roles", json.dumps(wish).encode())
    out.print(safe(f"{made['id']} {made['name']}: {', '.join(made['permissions'])}"))


def remove(url: str | None, key: str | None, data: Path, role: str) -> None:
    """Remove a role, given by its id, that nobody has any more."""
    connect(url, key, data).delete(f"/v1/roles/{role}")
    out.print(safe(f"{role} is removed."))


ROLES = click.Group("roles", help="List, make and remove the organization's own roles.")
_PERMISSION = click.Option(
    ["--permission", "-p"], multiple=True, required=True, help="A permission by its full name; repeatable."
)
for _name, _callback, _params in (
    ("list", list_roles, []),
    ("create", create, [click.Argument(["name"]), _PERMISSION]),
    ("remove", remove, [click.Argument(["role"])]),
):
    ROLES.add_command(
        click.Command(_name, callback=_callback, help=_callback.__doc__, params=[*_params, *OPTIONS])
    )
