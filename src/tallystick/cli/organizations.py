"""`organizations`: list, create, and switch reading on or off; straight in the database, as an operator does.

Works beside a running server, for every organization and also while reading is switched off. A running server
notices a switch within a second or two. What is changed is an event of that organization's log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import click
import uvloop
from rich.table import Table

from tallystick.cli.connection import DATA
from tallystick.cli.output import err, out, safe
from tallystick.errors import Refused

if TYPE_CHECKING:
    from tallystick.runtime.beside import Office

_T = TypeVar("_T")


def list_organizations(data: Path) -> None:
    """Show every organization and whether its log may be read."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("id", "name", "audit logs"):
        table.add_column(name)
    for row in uvloop.run(with_office(data, _rows)):
        table.add_row(*(safe(cell) for cell in row))
    out.print(table)


def create(data: Path, name: str) -> None:
    """Make an organization and its first admin key, which is printed once, on standard output alone."""

    async def make(office: Office) -> tuple[str, str]:
        made, key = await office.organize.create(name)
        return str(made.id), key.key

    made, key = uvloop.run(with_office(data, make))
    err.print(safe(f"{made} is made. Its first admin key, shown only now:"))
    click.echo(key)


def enable(data: Path, organization: str | None) -> None:
    """Let ORGANIZATION read its audit log; it may be left out where there is only one."""
    _switch(data, organization, on=True)


def disable(data: Path, organization: str | None) -> None:
    """Close the audit log of ORGANIZATION to readers; recording goes on."""
    _switch(data, organization, on=False)


def _switch(data: Path, organization: str | None, *, on: bool) -> None:
    async def switch(office: Office) -> str:
        from tallystick.services.switches import switch_by_operator

        found = _id(organization) if organization else await _only_one(office)
        await switch_by_operator(office.acts, office.writer, found, on=on)
        return str(found)

    switched = uvloop.run(with_office(data, switch))
    what = "may read its audit log" if on else "can no longer read its audit log; recording goes on"
    out.print(safe(f"{switched} {what}. Every server knows within two seconds."))


async def with_office(data: Path, act: Callable[[Office], Awaitable[_T]]) -> _T:
    """Run `act` on the database of a data folder, or that of TALLYSTICK_DATABASE_URL; says what is not in the log yet."""
    from tallystick.config import read_settings
    from tallystick.runtime.beside import open_office

    async with open_office(read_settings(flags={"data": str(data)})) as office:
        done = await act(office)
    if office.acts.deferred:
        # At the end: what the command has to say comes first.
        click.get_current_context().call_on_close(_say_deferred)
    return done


def _say_deferred() -> None:
    err.print(
        "The log could not be written from here. What was done is kept beside it; a running server records it within "
        "two seconds, any other one at its next start."
    )


async def _rows(office: Office) -> list[tuple[str, str, str]]:
    from tallystick.services.switches import may_read

    found = await office.organize.list_all()
    return [
        (str(one.id), one.display_name, "on" if may_read(one.config, office.default) else "off")
        for one in found
    ]


async def _only_one(office: Office) -> UUID:
    found = await office.organize.list_all()
    if len(found) != 1:
        raise Refused(
            f"There are {len(found)} organizations; say which one. List them: tallystick organizations list"
        )
    return found[0].id


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Refused(
            f"'{text[:80]}' is no id of an organization. List them: tallystick organizations list"
        ) from None


_ORGANIZATION = click.Argument(["organization"], required=False)
ORGANIZATIONS = click.Group("organizations", help="List and create organizations, switch reading on and off.")
for _name, _callback, _params in (
    ("list", list_organizations, []),
    ("create", create, [click.Argument(["name"])]),
    ("enable-audit-logs", enable, [_ORGANIZATION]),
    ("disable-audit-logs", disable, [_ORGANIZATION]),
):
    ORGANIZATIONS.add_command(
        click.Command(_name, callback=_callback, help=_callback.__doc__, params=[*_params, DATA])
    )
