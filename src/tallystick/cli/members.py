"""`members`: who belongs to the organization, what they may do, and links with which they set a password."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from rich.table import Table

from tallystick.cli.connection import OPTIONS, Connection, connect
from tallystick.cli.output import err, out, safe
from tallystick.errors import NotFound


def link(url: str | None, key: str | None, data: Path, email: str | None) -> None:
    """Make a link with which a member sets a password; it works once. Without EMAIL: the first owner's."""
    made = connect(url, key, data).post("/v1/sign-in-links", json.dumps({"email": email}).encode())
    err.print(safe(f"{made['purpose']}, until {made['expires_at'][:16]} UTC; shown only now:"))
    click.echo(made["url"])


def list_members(url: str | None, key: str | None, data: Path) -> None:
    """Show who belongs to the organization, and their roles."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("id", "e-mail", "name", "role", "in workspaces", "state"):
        table.add_column(name, overflow="fold")
    for one in _members(connect(url, key, data)):
        state = "shut out" if not one["active"] else "invited" if one["invited"] else "active"
        roles = " ".join(f"{there['id']}={there['role']}" for there in one["workspaces"]) or "—"
        row = (one["id"], one["email"], one["display_name"], one["role"], roles, state)
        table.add_row(*(safe(cell) for cell in row))
    out.print(table)


def invite(
    url: str | None, key: str | None, data: Path, email: str, role: str, name: str | None, workspace: tuple[str, ...]
) -> None:  # fmt: skip
    """Invite somebody with a ROLE, and print the link to send to them: it works once, for seven days."""
    there = connect(url, key, data)
    wish: dict[str, Any] = {"email": email, "role": role, "workspaces": dict(_pair(one) for one in workspace)}
    made = there.post("/v1/members", json.dumps(wish | ({"display_name": name} if name else {})).encode())
    err.print(safe(f"{made['member']['id']} {made['member']['email']}; the link, shown only now:"))
    click.echo(there.url.rstrip("/") + made["link"]["path"])


def change_role(
    url: str | None, key: str | None, data: Path, email: str, role: str, workspace: str | None
) -> None:
    """Give EMAIL another ROLE, on the organization or in one workspace; there `none` takes it."""
    there = connect(url, key, data)
    path = f"/v1/members/{_id_of(there, email)}"
    if workspace is None:
        there.patch(path, json.dumps({"role": role}).encode())
    elif role == "none":
        there.delete(f"{path}/workspaces/{quote(workspace, safe='')}")
    else:
        there.put(f"{path}/workspaces/{quote(workspace, safe='')}", json.dumps({"role": role}).encode())
    out.print(safe(f"{email} is {role} from now on" + (f" in {workspace}." if workspace else ".")))


def remove(url: str | None, key: str | None, data: Path, email: str) -> None:
    """Remove a member for good; what they did stays done under their name."""
    there = connect(url, key, data)
    there.delete(f"/v1/members/{_id_of(there, email)}")
    out.print(safe(f"{email} is removed, and signed out within five seconds everywhere."))


def _members(there: Connection) -> Iterator[dict[str, Any]]:
    after: list[tuple[str, str]] = []
    while True:
        page = there.get("/v1/members", after)
        yield from page["members"]
        if page["next"] is None:
            return
        after = [("after", page["next"])]


def _id_of(there: Connection, email: str) -> str:
    found = next((one["id"] for one in _members(there) if email.lower() in (one["email"], one["id"])), None)
    if found is None:
        raise NotFound(f"Nobody here has the address {email[:80]}. List them: tallystick members list")
    return found


def _pair(text: str) -> tuple[str, str]:
    workspace, separator, role = text.rpartition("=")
    if not separator or not workspace or not role:
        raise click.BadParameter("write WORKSPACE=ROLE, for example ws_7=AUDITOR", param_hint="--workspace")
    return workspace, role


_EMAIL = click.Argument(["email"])
_ROLE = click.Argument(["role"])
MEMBERS = click.Group(
    "members", help="List, invite, change and remove members; links with which they set a password."
)
MEMBERS.add_command(
    click.Command("list", callback=list_members, help=list_members.__doc__, params=[*OPTIONS])
)
MEMBERS.add_command(
    click.Command(
        "invite", callback=invite, help=invite.__doc__, params=[
            _EMAIL, _ROLE,
            click.Option(["--name"], help="The name others see; the address when left out."),
            click.Option(["--workspace"], multiple=True, help="WORKSPACE=ROLE; repeatable."),
            *OPTIONS,
        ],
    )
)  # fmt: skip
MEMBERS.add_command(
    click.Command(
        "role", callback=change_role, help=change_role.__doc__,
        params=[_EMAIL, _ROLE, click.Option(["--workspace"], help="In this workspace only."), *OPTIONS],
    )
)  # fmt: skip
MEMBERS.add_command(click.Command("remove", callback=remove, help=remove.__doc__, params=[_EMAIL, *OPTIONS]))
MEMBERS.add_command(
    click.Command(
        "link", callback=link, help=link.__doc__, params=[click.Argument(["email"], required=False), *OPTIONS]
    )
)
