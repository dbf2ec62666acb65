"""`organizations`: list, create, and switch reading on or off; straight in the database, as an operator does.

Works beside a running server, for every organization and also while reading is switched off. A running server
notices a switch within a second or two.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import click
import uvloop
from rich.table import Table

from tallystick.cli.connection import DATA
from tallystick.cli.output import err, out, safe
from tallystick.errors import Refused

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
        made = await office.organize.create(name)
        key = await office.access.create_key(made.id, "first admin key", ["admin"])
        return str(made.id), key.key

    if not 1 <= len(name) <= 256:
        raise Refused("An organization's name has 1 to 256 characters.")
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
        await switch_by_operator(office.writer, found, on=on)
        return str(found)

    switched = uvloop.run(with_office(data, switch))
    what = "may read its audit log" if on else "can no longer read its audit log; recording goes on"
    out.print(safe(f"{switched} {what}. Every server knows within two seconds."))


class Office:
    """What acts on organizations without a server."""

    def __init__(self, writer: Any, organize: Any, access: Any, default: bool) -> None:
        self.writer = writer
        self.organize = organize
        self.access = access
        self.default = default


async def with_office(data: Path, act: Callable[[Office], Awaitable[_T]]) -> _T:
    """Run `act` on the database of a data folder, or that of TALLYSTICK_DATABASE_URL."""
    async with _office(data) as office:
        return await act(office)


@asynccontextmanager
async def _office(data: Path) -> AsyncIterator[Office]:
    """Open the database of a data folder, or that of TALLYSTICK_DATABASE_URL."""
    from tallystick.config import read_settings
    from tallystick.runtime import DATABASE, new_id, now
    from tallystick.services.access import Access
    from tallystick.services.organize import Organize
    from tallystick.store import embedded
    from tallystick.store.connect import open_pool

    settings = read_settings(flags={"data": str(data)})
    logins = settings.logins() or embedded.running_logins(settings.data, DATABASE)
    writer = await open_pool(
        logins.writer, role="writer", pooler=settings.database_pooler == "transaction", size_max=2
    )
    default = settings.default_org_feature_can_use_audit_logs
    try:
        access = Access(writer, now=now, random=os.urandom)
        config: dict[str, object] = {"can_use_audit_logs": default}
        yield Office(writer, Organize(writer, access, new_id=new_id, default_config=config), access, default)
    finally:
        await writer.close()


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
