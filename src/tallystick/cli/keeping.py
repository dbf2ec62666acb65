"""`retention`, `holds`, `erase`, `approvals`: how long events are kept, what a court holds, and who is forgotten."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from tallystick.cli.connection import DATA, OPTIONS, connect
from tallystick.cli.output import err, out, safe

_SCOPE = (
    click.Option(["--stream"], help="The rule of this stream."),
    click.Option(["--workspace"], help="The rule of this workspace; - is the organization's own level."),
)


def _table(rows: list[dict[str, Any]], *columns: str) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(safe("—" if row.get(name) is None else str(row[name])) for name in columns))
    out.print(table)


def _said(answer: dict[str, Any], done: str) -> None:
    """Say that it is done, or that it waits for a second person."""
    if "waits_for" in answer:
        err.print(
            safe(
                f"It waits for {answer['waits_for']}: somebody else runs tallystick approvals approve {answer['approval']['id']}"
            )
        )
    else:
        out.print(safe(done))


def _given(**values: Any) -> bytes:
    return json.dumps({name: value for name, value in values.items() if value not in (None, ())}).encode()


def show_retention(url: str | None, key: str | None, data: Path) -> None:
    """Show how long events are kept: the rules in force, and those announced."""
    found = connect(url, key, data).get("/v1/retention")
    columns = ("rule", "class", "days", "stream", "workspace", "effective_at")
    _table(found["in_force"], *columns)
    if found["announced"]:
        out.print("Announced:")
        _table(found["announced"], *columns, "ended")


def set_retention(
    url: str | None, key: str | None, data: Path, class_: str, days: int | None, stream: str | None,
    workspace: str | None, preview: bool,
) -> None:  # fmt: skip
    """Change how long events are kept. What shortens takes effect after seven days; --preview counts and changes nothing."""
    wish = _given(**{"class": class_}, days=days, stream=stream, workspace=workspace)
    server = connect(url, key, data)
    if preview:
        found = server.post("/v1/retention:preview", wish)
        out.print(safe(f"It would take effect on {found['effective_at'][:19]}. Events that go then:"))
        for title, name in (("as it stands", "as_it_stands"), ("with the change", "with_the_change")):
            out.print(title + ":")
            _table(found[name], "rule", "events", "held")
        return
    answer = server.put("/v1/retention", wish)
    _said(answer, f"In force from {str(answer.get('effective_at'))[:19]} on.")


def end_retention(
    url: str | None, key: str | None, data: Path, stream: str | None, workspace: str | None
) -> None:
    """End a stream's or workspace's own rule: the rule of everything else counts again."""
    answer = connect(url, key, data).put(
        "/v1/retention", _given(stream=stream, workspace=workspace, ended=True)
    )
    _said(answer, f"It ends on {str(answer.get('effective_at'))[:19]}.")


def run_retention(url: str | None, key: str | None, data: Path) -> None:
    """Remove now what is due, which the server does by itself every hour."""
    removed = connect(url, key, data).post("/v1/retention:run", b"")["removed"]
    out.print(f"{removed} events removed.")


def list_holds(url: str | None, key: str | None, data: Path) -> None:
    """Show every legal hold, those released included."""
    found = connect(url, key, data).get("/v1/holds")["holds"]
    _table(found, "id", "reason", "actor", "target", "workspace", "since", "until", "set_at", "released_at")


def set_hold(
    url: str | None, key: str | None, data: Path, reason: str, actor: str | None, target: str | None,
    workspace: str | None, since: str | None, until: str | None, preview: bool,
) -> None:  # fmt: skip
    """Hold events that fit every filter given; without a filter all of them. --preview counts and holds nothing."""
    wish = _given(reason=reason, actor=actor, target=target, workspace=workspace, since=since, until=until)
    server = connect(url, key, data)
    if preview:
        out.print(f"{server.post('/v1/holds:preview', wish)['events']} events now.")
        return
    out.print(safe(f"{server.post('/v1/holds', wish)['id']} is in force."))


def release_hold(url: str | None, key: str | None, data: Path, hold_id: str) -> None:
    """Release a hold."""
    _said(
        connect(url, key, data).post(f"/v1/holds/{hold_id}:release", b""),
        f"{hold_id} is released; what is due goes.",
    )


def erase_person(
    url: str | None, key: str | None, data: Path, id: str | None, type: str | None, email: str | None,
    also: tuple[str, ...], remove_whole: bool, yes: bool,
) -> None:  # fmt: skip
    """Erase a person from everywhere. Shows what it would touch and asks, unless --yes."""
    wish = _given(id=id, type=type, email=email, also=also, remove_whole=remove_whole)
    server = connect(url, key, data)
    found = server.post("/v1/erasures:preview", wish)
    out.print(
        safe(
            f"{found['people']} people, {found['events']} events; {found['in_clear']} show a text in clear, {found['held']} "
            "are under a legal hold."
        )
    )
    if not yes:
        click.confirm("This cannot be undone. Erase?", abort=True)
    answer = server.post("/v1/erasures", wish)
    _said(
        answer,
        f"{answer.get('id')}: {answer.get('events')} events erased in part, {answer.get('removed')} removed, "
        f"{answer.get('left_in_clear')} still show a text in clear. Run tallystick erase scrub to wipe the files.",
    )


def erase_fields(
    url: str | None,
    key: str | None,
    data: Path,
    events: tuple[str, ...],
    path: tuple[str, ...],
) -> None:
    """Erase chosen values of chosen events, such as --path metadata --path context/ip."""
    answer = connect(url, key, data).post("/v1/erasures", _given(events=events, paths=path))
    _said(answer, f"{answer.get('id')}: {answer.get('events')} events.")


def scrub_files(data: Path) -> None:
    """Write the tables anew from which values were erased, so that no file of the database holds them any more.

    For the machine of the server. Recording waits while the month that is running is written.
    """
    from tallystick import config
    from tallystick.services.keeping.scrub import scrub
    from tallystick.store import embedded

    settings = config.read_settings(flags={"data": str(data)})
    logins = settings.logins() or embedded.running_logins(settings.data, "tallystick")
    asyncio.run(scrub(logins.owner, say=lambda sentence: err.print(safe(sentence))))
    out.print(
        "Old files of the write-ahead log go with the next checkpoints, the server's logs when they are rotated."
    )


def list_approvals(url: str | None, key: str | None, data: Path) -> None:
    """Show what waits for a second person, and what was decided."""
    found = connect(url, key, data).get("/v1/approvals")
    out.print(f"Dual control is {'on' if found['dual_control'] else 'off'}.")
    _table(
        found["approvals"],
        "id",
        "act",
        "requested_by",
        "requested_at",
        "expires_at",
        "decision",
        "decided_by",
    )


def approve(url: str | None, key: str | None, data: Path, approval_id: str) -> None:
    """Approve what somebody else asked for, and have it done."""
    connect(url, key, data).post(f"/v1/approvals/{approval_id}:approve", b"")
    out.print(safe(f"{approval_id} is approved and done."))


def refuse(url: str | None, key: str | None, data: Path, approval_id: str) -> None:
    """Refuse what somebody else asked for."""
    connect(url, key, data).post(f"/v1/approvals/{approval_id}:refuse", b"")
    out.print(safe(f"{approval_id} is refused."))


def dual_control(url: str | None, key: str | None, data: Path, state: str) -> None:
    """Have shortening retention, releasing holds and erasing need a second person: on or off."""
    _said(
        connect(url, key, data).put("/v1/approvals", _given(dual_control=state == "on")),
        f"Dual control is {state}.",
    )


def _command(name: str, callback: Any, *params: click.Parameter, online: bool = True) -> click.Command:
    return click.Command(
        name, callback=callback, help=callback.__doc__, params=[*params, *(OPTIONS if online else (DATA,))]
    )


_PREVIEW = click.Option(["--preview"], is_flag=True, help="Count, and change nothing.")

RETENTION = click.Group("retention", help="How long events are kept.")
RETENTION.add_command(_command("show", show_retention))
RETENTION.add_command(
    _command(
        "set", set_retention,
        click.Argument(["class_"], type=click.Choice(["thirty_days", "one_year", "seven_years", "forever", "custom"])),
        click.Option(["--days"], type=click.IntRange(1, 36_500), help="With custom: how many days."), *_SCOPE, _PREVIEW,
    )
)  # fmt: skip
RETENTION.add_command(_command("end", end_retention, *_SCOPE))
RETENTION.add_command(_command("run", run_retention))

HOLDS = click.Group("holds", help="Legal holds: what must stay until released.")
HOLDS.add_command(_command("list", list_holds))
HOLDS.add_command(
    _command(
        "set", set_hold, click.Argument(["reason"]),
        click.Option(["--actor"], help="Id, name or e-mail of who acted, or on whose behalf."),
        click.Option(["--target"], help="Id of a target."), click.Option(["--workspace"], help="A workspace; - is the organization's level."),
        click.Option(["--since"], help="RFC 3339."), click.Option(["--until"], help="RFC 3339, not included."), _PREVIEW,
    )
)  # fmt: skip
HOLDS.add_command(_command("release", release_hold, click.Argument(["hold_id"])))

ERASE = click.Group("erase", help="Erase a person, or chosen values; every proof still holds.")
ERASE.add_command(
    _command(
        "person", erase_person, click.Option(["--id"], help="Id of the person as an actor."),
        click.Option(["--type"], help="Type of the actor, where an id is used by several."),
        click.Option(["--email"], help="E-mail, or a name, the person was seen with."),
        click.Option(["--also"], multiple=True, help="A further text to look for; repeatable."),
        click.Option(["--remove-whole"], is_flag=True, help="Remove events that show a text in clear as a whole."),
        click.Option(["--yes"], is_flag=True, help="Do not ask."),
    )
)  # fmt: skip
ERASE.add_command(
    _command(
        "fields", erase_fields, click.Argument(["events"], nargs=-1, required=True),
        click.Option(["--path"], multiple=True, required=True, help="A sealed path, such as after or context/ip; repeatable."),
    )
)  # fmt: skip
ERASE.add_command(_command("scrub", scrub_files, online=False))

APPROVALS = click.Group("approvals", help="What needs a second person.")
APPROVALS.add_command(_command("list", list_approvals))
APPROVALS.add_command(_command("approve", approve, click.Argument(["approval_id"])))
APPROVALS.add_command(_command("refuse", refuse, click.Argument(["approval_id"])))
APPROVALS.add_command(
    _command("dual-control", dual_control, click.Argument(["state"], type=click.Choice(["on", "off"])))
)
