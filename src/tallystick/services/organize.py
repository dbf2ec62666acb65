"""Organizations: the first one of a fresh server, with the keys its operator starts with."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

import msgspec
from msgspec import Struct

from tallystick.errors import Misconfigured, Refused
from tallystick.event.model import Event, Target
from tallystick.services.access import Access, NewKey, row_of
from tallystick.services.host_acts import HostActs
from tallystick.services.keys import key_target, told
from tallystick.store import keys as key_rows
from tallystick.store import organizations
from tallystick.store.connect import Connection, Pool
from tallystick.store.organizations import Organization

NAME_MAX = 256
FIRST_NAME = "First organization"
FIRST_KEYS_FILE = "first-keys.json"


class FirstKeys(Struct, frozen=True, kw_only=True):
    """The organization a fresh server works for and its two keys; kept in the data folder for its operator."""

    organization_id: str
    admin_key: str
    write_key: str


class Organize:
    """Makes and lists organizations.

    Args:
        writer: the pool of the writing database role.
        acts: makes the changes with their events.
        default_config: what `organizations.config` of a new one holds.
    """

    def __init__(
        self,
        writer: Pool,
        access: Access,
        acts: HostActs,
        *,
        new_id: Callable[[], UUID],
        default_config: dict[str, object],
    ) -> None:
        self._writer = writer
        self._access = access
        self._acts = acts
        self._new_id = new_id
        self._default_config = default_config

    async def create(self, display_name: str) -> tuple[Organization, NewKey]:
        """Make an organization and its first admin key; its log begins with the two.

        Raises Refused for a name that is empty or longer than 256 characters.
        """
        if not 1 <= len(display_name) <= NAME_MAX:
            raise Refused(f"An organization's name has 1 to {NAME_MAX} characters.")
        key = self._access.new_key("first admin key", ["admin"])
        return await self._make(display_name, [key]), key

    async def _make(self, display_name: str, keys: Sequence[NewKey] = ()) -> Organization:
        made = Organization(id=self._new_id(), display_name=display_name, config=dict(self._default_config))

        async def change(connection: Connection) -> None:
            await organizations.insert(connection, made)
            await self._keep(connection, made.id, keys)

        target = Target(type="organization", id=str(made.id), name=display_name)
        event = self._acts.act(
            "organization.created", targets=[target], after={"display_name": display_name, **made.config}
        )
        await self._acts.record(made.id, [event, *map(self._key_made, keys)], change)
        return made

    async def _keep(self, connection: Connection, organization_id: UUID, keys: Sequence[NewKey]) -> None:
        for key in keys:
            await key_rows.insert(connection, row_of(organization_id, key, created_by="operator"))

    def _key_made(self, key: NewKey) -> Event:
        return self._acts.act("key.created", targets=[key_target(key.id, key.name)], after=told(key))

    async def list_all(self) -> list[Organization]:
        """Return every organization, oldest first."""
        return await organizations.list_all(self._writer)

    async def first(self) -> Organization:
        """Return the first organization, making it on a fresh server."""
        return await organizations.first(self._writer) or await self._make(FIRST_NAME)

    async def first_keys(self, data: Path, *, make: bool) -> FirstKeys | None:
        """Return the first keys as kept in the data folder, or new ones when none were kept and `make` is set.

        Raises:
            Misconfigured: the file is there but is not ours.
        """
        path = data / FIRST_KEYS_FILE
        if path.exists():
            try:
                return msgspec.json.decode(path.read_bytes(), type=FirstKeys)
            except msgspec.DecodeError as error:
                raise Misconfigured(
                    f"{path} is not the file of first keys: {error}. Move it away."
                ) from error
        organization = await self.first()
        existing = await key_rows.list_all(self._writer, organization.id)
        if existing and not make:
            return None
        admin = self._access.new_key("first admin key", ["admin"])
        write = self._access.new_key("first write key", ["write"])

        async def change(connection: Connection) -> None:
            await self._keep(connection, organization.id, [admin, write])

        await self._acts.record(organization.id, [self._key_made(admin), self._key_made(write)], change)
        kept = FirstKeys(organization_id=str(organization.id), admin_key=admin.key, write_key=write.key)
        _write_secret(path, msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
        return kept


def _write_secret(path: Path, content: bytes) -> None:
    half = path.with_suffix(f".{os.getpid()}.new")
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    half.replace(path)


def secret_of(path: Path, random: Callable[[int], bytes]) -> bytes:
    """Return the 32 secret bytes kept in a file of the data folder, making them at the first start."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_secret(path, random(32).hex().encode() + b"\n")
    try:
        return bytes.fromhex(path.read_text().strip())
    except ValueError as error:
        raise Misconfigured(f"The secret {path} is damaged. Put it back from your backup.") from error
