"""The columns there are: declared once; the table, the picker, `cols=` and the remembered choice follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from tallystick.query.values import refusal


class Column(Struct, frozen=True, kw_only=True):
    """One column: its name in `cols=`, its heading, what it holds, and whether it is shown unless chosen otherwise."""

    name: str
    label: str
    summary: str
    usual: bool = False


COLUMNS: tuple[Column, ...] = (
    Column(name="time", label="Time", summary="When it occurred, and how long ago that is.", usual=True),
    Column(name="stream", label="Source", summary="The stream the event came in.", usual=True),
    Column(name="user", label="User", summary="Who did it: name over e-mail or id.", usual=True),
    Column(name="action", label="Action", summary="What was done.", usual=True),
    Column(name="target", label="Target", summary="What it was done to: kind over name and id.", usual=True),
    Column(name="project", label="Project", summary="The project or workspace it belongs to.", usual=True),
    Column(name="ip", label="IP address", summary="Where it was done from.", usual=True),
    Column(name="outcome", label="Outcome", summary="How it ended, and the error if it did not succeed.", usual=True),
    Column(name="proof", label="Proof", summary="Its place in the sealed log.", usual=True),
    Column(name="sentence", label="What happened", summary="The event in one sentence."),
    Column(name="id", label="Event id", summary="The id of the event."),
    Column(name="actor_type", label="Actor type", summary="User, API key, agent, service, system or anonymous."),
    Column(name="role", label="Role at the time", summary="The role the actor held when acting."),
    Column(name="on_behalf_of", label="On behalf of", summary="Whom an agent or service acted for."),
    Column(name="credential", label="Credential", summary="The key or token that was used."),
    Column(name="user_agent", label="User agent", summary="The program that was used."),
    Column(name="request_id", label="Request id", summary="The request it was part of."),
    Column(name="error_code", label="Error code", summary="The code of the error."),
    Column(name="country", label="Country", summary="Where the address is thought to be."),
    Column(name="sensitivity", label="Sensitivity", summary="What kind of thing the action touches."),
    Column(name="received", label="Received", summary="When this server recorded it."),
    Column(name="tags", label="Tags", summary="The event's metadata.tags."),
)  # fmt: skip
BY_NAME: Mapping[str, Column] = {column.name: column for column in COLUMNS}
USUAL: tuple[str, ...] = tuple(column.name for column in COLUMNS if column.usual)


def read_columns(text: str, known: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the columns that `cols=` names, in their order; raises Refused naming the one that does not exist.

    `known` are those there may be, none = all.
    """
    names = tuple(dict.fromkeys(name for name in text.split(",") if name))
    unknown = next((name for name in names if name not in (known or BY_NAME)), None)
    if unknown is not None:
        raise refusal(
            "cols", f"there is no column '{unknown[:40]}'; known are {', '.join(known or BY_NAME)}."
        )
    if not names:
        raise refusal("cols", "no column is named. Leave it out to see the usual ones.")
    return names


def in_picker(shown: Sequence[str], known: Sequence[str] = ()) -> list[Column]:
    """Return every column as the picker lists it: those that are shown in their order, then the others there may be."""
    others = [BY_NAME[name] for name in known] or COLUMNS
    return [BY_NAME[name] for name in shown] + [column for column in others if column.name not in shown]
