"""Organizations: the first one of a fresh server, with the keys its operator starts with."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import msgspec
from msgspec import Struct

from tallystick.errors import Misconfigured
from tallystick.services.access import Access
from tallystick.store import organizations
from tallystick.store.connect import Pool
from tallystick.store.organizations import Organization

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
        default_config: what `organizations.config` of a new one holds.
    """

    def __init__(
        self, writer: Pool, access: Access, *, new_id: Callable[[], UUID], default_config: dict[str, object]
    ) -> None:
        self._writer = writer
        self._access = access
        self._new_id = new_id
        self._default_config = default_config

    async def create(self, display_name: str) -> Organization:
        """Make an organization."""
        made = Organization(id=self._new_id(), display_name=display_name, config=dict(self._default_config))
        await organizations.insert(self._writer, made)
        return made

    async def list_all(self) -> list[Organization]:
        """Return every organization, oldest first."""
        return await organizations.list_all(self._writer)

    async def first(self) -> Organization:
        """Return the first organization, making it on a fresh server."""
        return await organizations.first(self._writer) or await self.create(FIRST_NAME)

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
        existing = await self._access.list_keys(organization.id)
        if existing and not make:
            return None
        admin = await self._access.create_key(organization.id, "first admin key", ["admin"])
        write = await self._access.create_key(organization.id, "first write key", ["write"])
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
