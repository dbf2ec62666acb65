"""`record`: one event from flags or JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from tallystick.cli.connection import OPTIONS, connect
from tallystick.cli.output import out, safe
from tallystick.errors import Refused


def record(
    url: str | None, key: str | None, data: Path, action: str | None, from_json: str | None, receipt: Path | None,
    as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Record one event and wait until it is in the log.

    \b
    tallystick record api_key.create --actor user:usr_1 --actor-name Ada --target api_key:key_9
    tallystick record --json event.json
    """
    if (action is None) == (from_json is None):
        raise Refused("Give an action with flags, or --json FILE; just one of the two.")
    event = _from_json(from_json) if from_json is not None else _from_flags(str(action), given)
    # With an id of ours a repetition after an unknown outcome is a duplicate, never a second row.
    event.setdefault("id", str(uuid4()))
    answer = connect(url, key, data, write=True).post("/v1/events", json.dumps(event).encode())
    if receipt is not None:
        receipt.write_text(answer["receipt"])
    if as_json:
        click.echo(json.dumps(answer))
    else:
        out.print(
            safe(
                f"recorded {answer['id']} at position {answer['position']}, received {answer['received_at']}"
            )
        )


def _from_json(name: str) -> dict[str, Any]:
    with click.open_file(name, "rb") as file:
        raw = file.read()
    try:
        event = json.loads(raw)
    except ValueError as error:
        raise Refused(f"{name} is not JSON: {error}.") from error
    if not isinstance(event, dict):
        raise Refused(f"{name} holds no JSON object; for many events use: tallystick import")
    return event


def _from_flags(action: str, given: dict[str, Any]) -> dict[str, Any]:
    kind, _, actor_id = (given["actor"] or "system").partition(":")
    actor = {"type": kind, "id": actor_id or None, "name": given["actor_name"], "email": given["actor_email"]}
    event: dict[str, Any] = {"action": action, "actor": _present(actor)}
    if given["target"]:
        event["targets"] = [_target(text) for text in given["target"]]
    for name in ("workspace", "stream", "outcome", "occurred_at", "id"):
        if given[name] is not None:
            event[name] = given[name]
    for name in ("before", "after", "metadata"):
        if given[name] is not None:
            event[name] = _json(name, given[name])
    context = _present({"ip": given["ip"], "request_id": given["request_id"]})
    if context:
        event["context"] = context
    if given["error"] is not None:
        event["error"] = {"message": given["error"]}
    return event


def _target(text: str) -> dict[str, str]:
    kind, _, rest = text.partition(":")
    if not rest:
        raise Refused(f"--target {text!r}: write TYPE:ID, or TYPE:ID=NAME.")
    target_id, _, name = rest.partition("=")
    return _present({"type": kind, "id": target_id, "name": name or None})


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Refused(f"--{name} is not JSON: {error}. Put texts in double quotes.") from error


RECORD = click.Command(
    "record", callback=record, help=record.__doc__, params=[
        click.Argument(["action"], required=False),
        click.Option(["--actor"], help="TYPE:ID, such as user:usr_1. [default: system]"),
        click.Option(["--actor-name"], help="Name at the time of the act."),
        click.Option(["--actor-email"], help="E-mail at the time of the act."),
        click.Option(["--target"], multiple=True, help="TYPE:ID or TYPE:ID=NAME; the first is the main target."),
        click.Option(["--workspace"], help="Workspace or project."),
        click.Option(["--stream"], help="Stream. [default: platform]"),
        click.Option(["--outcome"], type=click.Choice(["success", "failure", "denied", "unknown"])),
        click.Option(["--error"], help="Message of what went wrong."),
        click.Option(["--ip"], help="Address the act came from."),
        click.Option(["--request-id"], help="Id of the request."),
        click.Option(["--occurred-at"], help="RFC 3339 time with offset. [default: now]"),
        click.Option(["--id"], help="UUID; the same id again is a duplicate."),
        click.Option(["--before"], help="State before, as JSON."),
        click.Option(["--after"], help="State after, as JSON."),
        click.Option(["--metadata"], help="Anything else, as a JSON object."),
        click.Option(["--json", "from_json"], metavar="FILE", help="Take the whole event from a file; - is standard input."),
        click.Option(["--receipt"], type=click.Path(path_type=Path), help="Write the receipt to this file."),
        click.Option(["--print-json", "as_json"], is_flag=True, help="Print the answer as JSON."),
        *OPTIONS,
    ],
)  # fmt: skip
