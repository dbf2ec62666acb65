"""`keys`: list, create, rotate, revoke."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from tallystick.cli.connection import OPTIONS, connect
from tallystick.cli.output import err, out, safe


def list_keys(url: str | None, key: str | None, data: Path) -> None:
    """Show the organization's keys, without their secrets."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("id", "name", "begins", "permissions", "workspace", "last used", "state"):
        table.add_column(name, overflow="fold")
    for found in connect(url, key, data).get("/v1/keys")["keys"]:
        table.add_row(*(safe(cell) for cell in _row(found)))
    out.print(table)


def _row(key: dict[str, Any]) -> list[str]:
    state = (
        "revoked"
        if key["revoked_at"]
        else f"until {key['expires_at'][:10]}"
        if key["expires_at"]
        else "valid"
    )
    used = f"{key['last_used_at'][:19]} {key['last_used_ip'] or ''}" if key["last_used_at"] else "never"
    return [
        key["id"],
        key["name"],
        key["prefix"] + "…",
        " ".join(key["permissions"]),
        key["workspace"] or "—",
        used,
        state,
    ]


def create(
    url: str | None, key: str | None, data: Path, name: str, permission: tuple[str, ...], workspace: str | None,
    days: int | None,
) -> None:  # fmt: skip
    """Make a key. Its secret is printed once, on standard output alone."""
    wish = {"name": name, "permissions": permission, "workspace": workspace, "expires_in_days": days}
    made = connect(url, key, data).post("/v1/keys", json.dumps(wish).encode())
    err.print(safe(f"{made['id']} ({', '.join(made['permissions'])}); shown only now:"))
    click.echo(made["key"])


def rotate(url: str | None, key: str | None, data: Path, key_id: str) -> None:
    """Make a key in the place of another, which works for 24 hours more. The new secret is printed once."""
    made = connect(url, key, data).post(f"/v1/keys/{key_id}:rotate", b"")
    err.print(safe(f"{made['id']} takes the place of {key_id}; shown only now:"))
    click.echo(made["key"])


def revoke(url: str | None, key: str | None, data: Path, key_id: str) -> None:
    """Revoke a key for good."""
    connect(url, key, data).delete(f"/v1/keys/{key_id}")
    out.print(safe(f"{key_id} is revoked; it stops working within five seconds on every server."))


def verifier(url: str | None, key: str | None, data: Path) -> None:
    """Print the log's public verifier key: keep it elsewhere, and pin it with `tallystick verify --key`."""
    click.echo(connect(url, key, data).get("/v1/log/key")["log"])


KEYS = click.Group("keys", help="List, create, rotate and revoke API keys; print the log's verifier key.")
KEYS.add_command(click.Command("verifier", callback=verifier, help=verifier.__doc__, params=[*OPTIONS]))
KEYS.add_command(click.Command("list", callback=list_keys, help=list_keys.__doc__, params=[*OPTIONS]))
KEYS.add_command(
    click.Command(
        "create", callback=create, help=create.__doc__, params=[
            click.Argument(["name"]),
            click.Option(["--permission", "-p"], multiple=True, required=True,
                         help="write, read, admin, or a permission by its full name; repeatable."),
            click.Option(["--workspace"], help="Bind the key to one workspace."),
            click.Option(["--days"], type=click.IntRange(1, 3650), help="Days until it expires."),
            *OPTIONS,
        ],
    )
)  # fmt: skip
KEYS.add_command(
    click.Command(
        "rotate", callback=rotate, help=rotate.__doc__, params=[click.Argument(["key_id"]), *OPTIONS]
    )
)
KEYS.add_command(
    click.Command(
        "revoke", callback=revoke, help=revoke.__doc__, params=[click.Argument(["key_id"]), *OPTIONS]
    )
)
