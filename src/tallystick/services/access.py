"""API keys, and the principal that a valid one stands for."""

from __future__ import annotations

import hashlib
import hmac
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from tallystick.errors import NotFound, Refused, Unauthorized
from tallystick.event.limits import DEVELOPER
from tallystick.services.permissions import expand_permissions
from tallystick.services.principal import Principal
from tallystick.store import keys as key_rows
from tallystick.store.connect import Pool

KEY_PREFIX = "tst_"
KEY_LENGTH = len(KEY_PREFIX) + 43 + 6
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# A revoked key must stop working within five seconds on every server; so no answer is kept longer than this.
_REMEMBER_SECONDS = 4.0
_REMEMBER_MAX = 4096
_TOUCH_SECONDS = 60.0


class NewKey(Struct, frozen=True, kw_only=True):
    """A key just made; `key` is shown this once and stored nowhere."""

    id: str
    name: str
    key: str
    permissions: tuple[str, ...]
    workspace: str | None
    expires_at: datetime | None


def _base62(number: int, width: int) -> str:
    digits: list[str] = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def format_key(secret: bytes, prefix: str = KEY_PREFIX) -> str:
    """Write 32 random bytes as a key: `tst_`, 43 base62 digits, and a CRC32 that catches slips of the hand."""
    body = prefix + _base62(int.from_bytes(secret, "big"), 43)
    return body + _base62(zlib.crc32(body.encode()), 6)


def is_well_formed(key: str, prefix: str = KEY_PREFIX) -> bool:
    """Tell whether `key` has the shape and checksum of a key, before any database is asked."""
    if len(key) != KEY_LENGTH or not key.startswith(prefix) or not key.isascii():
        return False
    return hmac.compare_digest(_base62(zlib.crc32(key[:-6].encode()), 6), key[-6:])


class Access:
    """Authenticates keys and keeps them; remembers answers for less than five seconds.

    Args:
        writer: the pool of the writing database role.
        now: the clock, in UTC.
        random: gives that many random bytes.
    """

    def __init__(self, writer: Pool, *, now: Callable[[], datetime], random: Callable[[int], bytes]) -> None:
        self._writer = writer
        self._now = now
        self._random = random
        self._remembered: OrderedDict[bytes, tuple[datetime, Principal | None]] = OrderedDict()
        self._touched: dict[tuple[UUID, str], datetime] = {}

    async def authenticate(self, key: str, *, ip: str | None = None) -> Principal:
        """Return the principal a key stands for, or raise Unauthorized with one text for every reason."""
        if not is_well_formed(key):
            raise _unauthorized()
        digest = hashlib.sha256(key.encode()).digest()
        at = self._now()
        remembered = self._remembered.get(digest)
        if remembered is None or (at - remembered[0]).total_seconds() > _REMEMBER_SECONDS:
            remembered = (at, await self._look_up(digest, at))
            self._remember(digest, remembered)
        principal = remembered[1]
        if principal is None:
            raise _unauthorized()
        await self._touch(principal, at, ip)
        return principal

    async def _look_up(self, digest: bytes, at: datetime) -> Principal | None:
        row = await key_rows.find(self._writer, digest)
        if row is None or row["revoked_at"] is not None:
            return None
        if row["expires_at"] is not None and row["expires_at"] <= at:
            return None
        return Principal(
            organization_id=row["organization_id"],
            kind="key",
            id=row["id"],
            name=row["name"],
            permissions=frozenset(row["permissions"]),
            workspaces=None if row["workspace"] is None else frozenset({row["workspace"]}),
        )

    def _remember(self, digest: bytes, answer: tuple[datetime, Principal | None]) -> None:
        self._remembered[digest] = answer
        self._remembered.move_to_end(digest)
        if len(self._remembered) > _REMEMBER_MAX:
            self._remembered.popitem(last=False)

    async def _touch(self, principal: Principal, at: datetime, ip: str | None) -> None:
        """Note when and from where a key was last used, at most once a minute for each key."""
        name = (principal.organization_id, principal.id)
        before = self._touched.get(name)
        if before is None or (at - before).total_seconds() > _TOUCH_SECONDS:
            self._touched[name] = at
            await key_rows.touch(self._writer, principal.organization_id, principal.id, at, ip)

    async def create_key(
        self,
        organization_id: UUID,
        name: str,
        permissions: Sequence[str],
        *,
        workspace: str | None = None,
        lifetime: timedelta | None = None,
    ) -> NewKey:
        """Make a key for an organization and return it with its secret, which is shown only here.

        Raises:
            Refused: unknown permission, or a name or workspace that is empty, too long or not printable.
        """
        _require_text(name, 128, "name")
        if workspace is not None:
            _require_text(workspace, DEVELOPER["workspace"], "workspace")
        granted = expand_permissions(permissions)
        key = format_key(self._random(32))
        made = NewKey(
            id="key_" + self._random(8).hex(),
            name=name,
            key=key,
            permissions=granted,
            workspace=workspace,
            expires_at=None if lifetime is None else self._now() + lifetime,
        )
        await key_rows.insert(
            self._writer,
            organization_id=organization_id,
            id=made.id,
            name=name,
            prefix=key[:12],
            sha256=hashlib.sha256(key.encode()).digest(),
            permissions=list(granted),
            workspace=workspace,
            expires_at=made.expires_at,
        )
        return made

    async def list_keys(self, organization_id: UUID) -> list[dict[str, object]]:
        """Return every key of an organization, newest first, without secrets or hashes."""
        return await key_rows.list_all(self._writer, organization_id)

    async def revoke_key(self, organization_id: UUID, key_id: str) -> None:
        """Revoke a key for good; it stops working within five seconds everywhere.

        Raises:
            NotFound: no such key in this organization.
        """
        if not await key_rows.revoke(self._writer, organization_id, key_id, self._now()):
            raise NotFound(f"There is no key {key_id} in this organization.")
        self._remembered.clear()


def _require_text(text: str, characters_max: int, field: str) -> None:
    if not 1 <= len(text) <= characters_max or not text.isprintable():
        raise Refused(
            f"A key's {field} has 1 to {characters_max} characters, all of them printable.",
            path=f"/{field}",
            rule="text",
        )


def _unauthorized() -> Unauthorized:
    # One text whatever was wrong: a caller must not learn whether a key is unknown, revoked or expired.
    return Unauthorized(
        "No valid API key came with this request. Send it as 'Authorization: Bearer tst_…' or 'X-API-Key: tst_…'."
    )
