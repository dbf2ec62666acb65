"""`workspaces`: list, make, archive, restore and delete."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import click
from rich.table import Table

from tallystick.cli.connection import OPTIONS, connect
from tallystick.cli.output import out, safe


def list_workspaces(url: str | None, key: str | None, data: Path, deleted: bool) -> None:
    """Show the workspaces this key may know of."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("id", "name", "team", "state"):
        table.add_column(name, overflow="fold")
    wanted = [("deleted", "true")] if deleted else []
    for one in connect(url, key, data).get("/v1/workspaces", wanted)["workspaces"]:
        state = "deleted" if one["deleted_at"] else "archived" if one["archived_at"] else "open"
        table.add_row(
            *(safe(cell) for cell in (one["id"], one["display_name"], one["team_id"] or "—", state))
        )
    out.print(table)


def create(url: str | None, key: str | None, data: Path, name: str, id: str | None, team: str | None) -> None:
    """Make a workspace called NAME."""
    wish = {"display_name": name} | ({"id": id} if id else {}) | ({"team_id": team} if team else {})
    made = connect(url, key, data).post("/v1/workspaces", json.dumps(wish).encode())
    out.print(safe(f"{made['id']} is made."))


def change(
    url: str | None, key: str | None, data: Path, workspace: str, name: str | None, team: str | None
) -> None:
    """Give a workspace another name, or another team; --team none takes it out of its team."""
    given = {"display_name": name, "team_id": "" if team == "none" else team}
    wish = json.dumps({field: value for field, value in given.items() if value is not None})
    connect(url, key, data).patch(f"/v1/workspaces/{quote(workspace, safe='')}", wish.encode())
    out.print(safe(f"{workspace} is changed."))


def archive(url: str | None, key: str | None, data: Path, workspace: str) -> None:
    """Archive a workspace: it is read as before, and keys bound to it record no more."""
    connect(url, key, data).patch(f"/v1/workspaces/{quote(workspace, safe='')}", b'{"archived": true}')
    out.print(safe(f"{workspace} is archived; its events stay readable."))


def restore(url: str | None, key: str | None, data: Path, workspace: str) -> None:
    """Take a workspace out of the archive."""
    connect(url, key, data).patch(f"/v1/workspaces/{quote(workspace, safe='')}", b'{"archived": false}')
    out.print(safe(f"{workspace} is open again."))


def delete(url: str | None, key: str | None, data: Path, workspace: str) -> None:
    """Delete a workspace: its keys are revoked, its roles end, its events stay readable to the organization."""
    connect(url, key, data).delete(f"/v1/workspaces/{quote(workspace, safe='')}")
    out.print(safe(f"{workspace} is deleted; its events stay readable to the organization."))


_ID = click.Argument(["workspace"])
WORKSPACES = click.Group("workspaces", help="List, make, archive and delete workspaces.")
for _name, _callback, _params in (
    ("list", list_workspaces, [click.Option(["--deleted"], is_flag=True, help="Deleted ones too.")]),
    (
        "create",
        create,
        [
            click.Argument(["name"]),
            click.Option(["--id"], help="The id that events name it by."),
            click.Option(["--team"], help="The id of its team."),
        ],
    ),
    (
        "change",
        change,
        [
            _ID,
            click.Option(["--name"], help="The new name."),
            click.Option(["--team"], help="Its team, or none."),
        ],
    ),
    ("archive", archive, [_ID]),
    ("restore", restore, [_ID]),
    ("delete", delete, [_ID]),
):
    WORKSPACES.add_command(
        click.Command(_name, callback=_callback, help=_callback.__doc__, params=[*_params, *OPTIONS])
    )
