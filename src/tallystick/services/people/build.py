"""The parts that manage an organization's people and keys, put together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from tallystick.services.access import Access
from tallystick.services.ingest import Ingest
from tallystick.services.keys import Keys
from tallystick.services.people.directory import Directory
from tallystick.services.people.groups import Groups
from tallystick.services.people.members import Members
from tallystick.services.people.roles import Roles
from tallystick.services.people.workspaces import Workspaces
from tallystick.services.sign_in.links import Links
from tallystick.services.sign_in.sessions import Sessions
from tallystick.store.connect import Pool


class Office(Struct, frozen=True, kw_only=True):
    """Everything that changes who may do what."""

    members: Members
    roles: Roles
    workspaces: Workspaces
    directory: Directory
    groups: Groups
    keys: Keys


def build(
    writer: Pool,
    ingest: Ingest,
    access: Access,
    links: Links,
    sessions: Sessions,
    *,
    now: Callable[[], datetime],
    random: Callable[[int], bytes],
) -> Office:
    """Return the parts of one server; see each of them for the arguments."""

    def forget() -> None:
        access.forget()
        sessions.forget()

    return Office(
        members=Members(writer, ingest, links, forget=forget, now=now, random=random),
        roles=Roles(writer, ingest, forget=forget, now=now, random=random),
        workspaces=Workspaces(writer, ingest, forget=forget, now=now, random=random),
        directory=Directory(writer, ingest, forget=forget, now=now, random=random),
        groups=Groups(writer, ingest, forget=forget, now=now, random=random),
        keys=Keys(writer, ingest, access, now=now),
    )
