"""`teams`, `groups`, `sessions`, `viewers`, `single-sign-on`: what else an organization has, for whoever has no browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from rich.table import Table

from tallystick.cli.connection import OPTIONS, connect
from tallystick.cli.output import err, out, safe


def list_teams(url: str | None, key: str | None, data: Path) -> None:
    """Show the teams and how many workspaces each has."""
    server = connect(url, key, data)
    workspaces = [one["team_id"] for one in server.get("/v1/workspaces")["workspaces"]]
    _print(
        ("id", "name", "workspaces"),
        [
            (one["id"], one["display_name"], workspaces.count(one["id"]))
            for one in server.get("/v1/teams")["teams"]
        ],
    )


def create_team(url: str | None, key: str | None, data: Path, name: str) -> None:
    """Make a team called NAME."""
    made = connect(url, key, data).post("/v1/teams", _json(display_name=name))
    out.print(safe(f"{made['id']} is made."))


def rename_team(url: str | None, key: str | None, data: Path, id: str, name: str) -> None:
    """Give a team another name."""
    connect(url, key, data).patch(f"/v1/teams/{_part(id)}", _json(display_name=name))
    out.print(safe(f"{id} is now called {name}."))


def delete_team(url: str | None, key: str | None, data: Path, id: str) -> None:
    """Delete a team; its workspaces stay, without a team."""
    connect(url, key, data).delete(f"/v1/teams/{_part(id)}")
    out.print(safe(f"{id} is deleted; its workspaces stay."))


def list_groups(url: str | None, key: str | None, data: Path) -> None:
    """Show the groups that a directory keeps, and the role that goes with each."""
    server, groups = connect(url, key, data), list[dict[str, Any]]()
    while page := server.get("/v1/groups", [("offset", str(len(groups)))])["groups"]:
        groups += page
    _print(
        ("id", "name", "role", "workspace", "members"),
        [(one["id"], one["display_name"], one["role"], one["workspace"], one["members"]) for one in groups],
    )


def give_role(
    url: str | None, key: str | None, data: Path, id: str, role: str, workspace: str | None
) -> None:
    """Say which ROLE goes with a group; none takes it away."""
    wish = _json(role=None if role == "none" else role, workspace=workspace)
    connect(url, key, data).patch(f"/v1/groups/{_part(id)}", wish)
    where = f" in {workspace}" if workspace else ""
    out.print(safe(f"{id} has no role{where}." if role == "none" else f"Who is in {id} is {role}{where}."))


def list_sessions(url: str | None, key: str | None, data: Path) -> None:
    """Show who is signed in, from where, and when they were last seen."""
    found = connect(url, key, data).get("/v1/sessions")["sessions"]
    _print(
        ("id", "member", "method", "from", "last seen"),
        [(one["id"], one["email"], one["method"], one["ip"], one["last_seen_at"][:16]) for one in found],
    )


def end_session(url: str | None, key: str | None, data: Path, id: str) -> None:
    """Sign somebody out, on every server within five seconds."""
    connect(url, key, data).delete(f"/v1/sessions/{_part(id)}")
    out.print(safe(f"{id} is over."))


def list_viewers(url: str | None, key: str | None, data: Path) -> None:
    """Show the tokens of delegated reading that are not over."""
    found = connect(url, key, data).get("/v1/viewer-sessions")["viewer_sessions"]
    _print(
        ("id", "name", "sees", "until", "state"),
        [
            (
                one["id"],
                one["name"],
                json.dumps(one["filters"]),
                one["expires_at"][:16],
                "revoked" if one.get("revoked_at") else "used" if one.get("used_at") else "open",
            )
            for one in found
        ],
    )


def create_viewer(
    url: str | None, key: str | None, data: Path, locked: tuple[str, ...], origin: tuple[str, ...], name: str | None,
    seconds: int | None,
) -> None:  # fmt: skip
    """Make a token that sees events with every FILTER=VALUE and no others. It is printed once, on standard output alone."""
    filters: dict[str, list[str]] = {}
    for text in locked:
        filter, separator, value = text.partition("=")
        if not separator or not value:
            raise click.BadParameter("write FILTER=VALUE, for example workspace=ws_7", param_hint="FILTER")
        filters.setdefault(filter, []).append(value)
    given = {"name": name, "expires_in_seconds": seconds}
    wish = _json(filters=filters, origins=origin, **{k: v for k, v in given.items() if v is not None})
    made = connect(url, key, data).post("/v1/viewer-sessions", wish)
    err.print(safe(f"{made['id']} until {made['expires_at'][:16]}; shown only now:"))
    click.echo(made["token"])


def end_viewer(url: str | None, key: str | None, data: Path, id: str) -> None:
    """End a token and the session it was exchanged for."""
    connect(url, key, data).delete(f"/v1/viewer-sessions/{_part(id)}")
    out.print(safe(f"{id} is over."))


def list_providers(url: str | None, key: str | None, data: Path) -> None:
    """Show the identity providers whose people may sign in."""
    found = connect(url, key, data).get("/v1/identity-providers")["identity_providers"]
    _print(
        ("id", "name", "issuer", "client", "secret", "passwords too"),
        [
            (one["id"], one["display_name"], one["issuer"], one["client_id"], "kept" if one["has_secret"] else "none",
             "no" if one["only_oidc"] else "yes")
            for one in found
        ],
    )  # fmt: skip


def add_provider(
    url: str | None, key: str | None, data: Path, name: str, issuer: str, client_id: str, secret_file: Path | None,
    group: tuple[str, ...],
) -> None:  # fmt: skip
    """Let the people of an identity provider sign in; the secret of its client is read from a file, never an argument."""
    roles = {}
    for text in group:
        named, separator, role = text.rpartition("=")
        if not separator or not named or not role:
            raise click.BadParameter(
                "write GROUP=ROLE, for example audit-readers=AUDITOR", param_hint="--group"
            )
        roles[named] = role
    wish: dict[str, Any] = {
        "display_name": name,
        "issuer": issuer,
        "client_id": client_id,
        "group_roles": roles,
    }
    if secret_file is not None:
        wish["client_secret"] = secret_file.read_text().strip()
    made = connect(url, key, data).post("/v1/identity-providers", _json(**wish))
    out.print(safe(f"{made['id']} is trusted."))


def remove_provider(url: str | None, key: str | None, data: Path, id: str) -> None:
    """Trust an identity provider no more."""
    connect(url, key, data).delete(f"/v1/identity-providers/{_part(id)}")
    out.print(safe(f"{id} is removed."))


def _print(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(safe("—" if cell is None else cell) for cell in row))
    out.print(table)


def _json(**wish: Any) -> bytes:
    return json.dumps(wish).encode()


def _part(text: str) -> str:
    return quote(text, safe="")


def _group(
    name: str, help: str, *commands: tuple[str, Callable[..., None], list[click.Parameter]]
) -> click.Group:
    made = click.Group(name, help=help)
    for command, callback, params in commands:
        made.add_command(
            click.Command(command, callback=callback, help=callback.__doc__, params=[*params, *OPTIONS])
        )
    return made


_ID = click.Argument(["id"])
_NAME = click.Argument(["name"])
TEAMS = _group(
    "teams", "List, make, rename and delete teams.",
    ("list", list_teams, []), ("create", create_team, [_NAME]), ("rename", rename_team, [_ID, _NAME]),
    ("delete", delete_team, [_ID]),
)  # fmt: skip
GROUPS = _group(
    "groups", "The groups of a directory, and which role goes with each.",
    ("list", list_groups, []),
    ("role", give_role, [
        _ID, click.Argument(["role"]), click.Option(["--workspace"], help="In this workspace only."),
    ]),
)  # fmt: skip
SESSIONS = _group(
    "sessions",
    "Who is signed in; sign somebody out.",
    ("list", list_sessions, []),
    ("end", end_session, [_ID]),
)
VIEWERS = _group(
    "viewers", "Tokens with which your own customers read a part of the log.",
    ("list", list_viewers, []),
    ("create", create_viewer, [
        click.Argument(["locked"], nargs=-1, required=True, metavar="FILTER=VALUE..."),
        click.Option(["--origin"], multiple=True, help="Pages of this origin may use it; repeatable."),
        click.Option(["--name"], help="What it is called in the list and the log."),
        click.Option(["--seconds"], type=click.IntRange(min=1), help="How long it lives."),
    ]),
    ("end", end_viewer, [_ID]),
)  # fmt: skip
SINGLE_SIGN_ON = _group(
    "single-sign-on", "The identity providers whose people may sign in.",
    ("list", list_providers, []),
    ("add", add_provider, [
        _NAME, click.Argument(["issuer"]), click.Argument(["client_id"]),
        click.Option(["--secret-file"], type=click.Path(path_type=Path, exists=True, dir_okay=False),
                     help="The file that holds the client's secret."),
        click.Option(["--group"], multiple=True, help="GROUP=ROLE; repeatable."),
    ]),
    ("remove", remove_provider, [_ID]),
)  # fmt: skip
