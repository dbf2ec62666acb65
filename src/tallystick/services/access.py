"""From a key to the principal it stands for: an organization's own keys, and those of who runs this server."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from tallystick.errors import NotFound, Refused, Unauthorized
from tallystick.event.limits import DEVELOPER
from tallystick.query.filters import ORGANIZATION_LEVEL
from tallystick.services.key_text import (
    KEY_LENGTH,
    KEY_PREFIX,
    OPERATOR_PREFIX,
    SHOWN_CHARACTERS,
    format_key,
    is_well_formed,
)
from tallystick.services.permissions import WRITE, expand_permissions
from tallystick.services.principal import Principal
from tallystick.services.together import Together
from tallystick.store import keys as key_rows
from tallystick.store import organizations
from tallystick.store.connect import Pool

__all__ = ["KEY_LENGTH", "KEY_PREFIX", "Access", "NewKey", "format_key", "is_well_formed"]

# A revoked key must stop working within five seconds on every server; so no answer is kept longer than this.
_REMEMBER_SECONDS = 4.0
_REMEMBER_MAX = 4096
_TOUCH_SECONDS = 60.0
NO_ORGANIZATION = UUID(int=0)  # of an operator key before the call has named one


class NewKey(Struct, frozen=True, kw_only=True):
    """A key just made; `key` is shown this once and stored nowhere."""

    id: str
    name: str
    key: str
    permissions: tuple[str, ...]
    workspace: str | None
    expires_at: datetime | None


class Access:
    """Authenticates keys; remembers answers for less than five seconds.

    Args:
        writer: the pool of the writing database role.
        now: the clock, in UTC.
        random: gives that many random bytes.
    """

    def __init__(self, writer: Pool, *, now: Callable[[], datetime], random: Callable[[int], bytes]) -> None:
        self._writer = writer
        self._now = now
        self._random = random
        # By hash: until when, and who; None = nobody.
        self._remembered: OrderedDict[bytes, tuple[datetime, Principal | None]] = OrderedDict()
        self._asking: Together[tuple[bytes, int], tuple[datetime, Principal | None]] = Together()
        self._forgotten = 0  # times; whoever asks after one must not get an answer from before it
        self._touched: OrderedDict[tuple[UUID, str], datetime] = OrderedDict()
        self._organizations: OrderedDict[UUID, datetime] = OrderedDict()

    async def authenticate(
        self, key: str, *, ip: str | None = None, organization: str | None = None
    ) -> Principal:
        """Return the principal a key stands for, or raise Unauthorized with one text for every reason.

        `organization` is what the call names in X-Organization-Id, which counts for operator keys alone: Refused
        without one, NotFound for one that does not exist.
        """
        is_operator = key.startswith(OPERATOR_PREFIX)
        digest = digest_of(key)
        at = self._now()
        remembered = self._remembered.get(digest)
        if remembered is None or remembered[0] <= at:
            # The checksum is asked for only here: it costs more than all the rest.
            if not is_well_formed(key, OPERATOR_PREFIX if is_operator else KEY_PREFIX):
                raise _unauthorized()
            remembered = await self._asking.ask(
                (digest, self._forgotten), lambda: self._look_up(digest, at, is_operator=is_operator)
            )
            self._remember(digest, remembered)
        principal = remembered[1]
        if principal is None:
            raise _unauthorized()
        await self._touch(principal, at, ip)
        if is_operator:
            return replace(principal, organization_id=await self._named(organization, at))
        return principal

    def forget(self) -> None:
        """Forget what is remembered: something was revoked on this server."""
        self._remembered.clear()
        self._forgotten += 1

    async def _look_up(
        self, digest: bytes, at: datetime, *, is_operator: bool
    ) -> tuple[datetime, Principal | None]:
        """Return who holds the key with this hash now, None = nobody, and until when that may be remembered."""
        until = at + timedelta(seconds=_REMEMBER_SECONDS)
        row = await (key_rows.find_operator if is_operator else key_rows.find)(self._writer, digest)
        if row is None or row["revoked_at"] is not None:
            return until, None
        if row["expires_at"] is not None:
            if row["expires_at"] <= at:
                return until, None
            until = min(until, row["expires_at"])
        return until, _operator(row) if is_operator else _holder(row)

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
            self._touched.move_to_end(name)
            if len(self._touched) > _REMEMBER_MAX:
                self._touched.popitem(last=False)
            await key_rows.touch(self._writer, principal.organization_id, principal.id, at, ip)

    async def _named(self, text: str | None, at: datetime) -> UUID:
        """Return the organization that a call with an operator key names."""
        try:
            wanted = UUID(text or "")
        except ValueError:
            raise Refused(
                "A key of an operator works for the organization that the header X-Organization-Id names. Send its id.",
                path="/X-Organization-Id",
                rule="organization",
            ) from None
        if wanted not in self._organizations:
            if await organizations.get(self._writer, wanted) is None:
                raise NotFound(f"There is no organization {wanted}.")
            self._organizations[wanted] = at  # organizations are never removed
            if len(self._organizations) > _REMEMBER_MAX:
                self._organizations.popitem(last=False)
        return wanted

    def new_key(
        self,
        name: str,
        permissions: Sequence[str],
        *,
        workspace: str | None = None,
        lifetime: timedelta | None = None,
    ) -> NewKey:
        """Return a new key, kept nowhere yet (`keep`).

        Raises:
            Refused: unknown permission, or a name or workspace that is empty, too long or not printable.
        """
        _require_text(name, 128, "name")
        if workspace is not None:
            _require_text(workspace, DEVELOPER["workspace"], "workspace")
            if workspace == ORGANIZATION_LEVEL:
                raise Refused(
                    f"'{ORGANIZATION_LEVEL}' stands for the organization itself and is no workspace.",
                    path="/workspace",
                    rule="text",
                )
        return NewKey(
            id="key_" + self._random(8).hex(),
            name=name,
            key=format_key(self._random(32)),
            permissions=expand_permissions(permissions),
            workspace=workspace,
            expires_at=None if lifetime is None else self._now() + lifetime,
        )

    def new_operator_key(
        self, name: str, permissions: Sequence[str], *, lifetime: timedelta | None = None
    ) -> NewKey:
        """Return a new key that works for whichever organization a call names, kept nowhere yet."""
        made = self.new_key(name, permissions, lifetime=lifetime)
        return replace(
            made, id="opk_" + self._random(8).hex(), key=format_key(self._random(32), OPERATOR_PREFIX)
        )


def row_of(
    organization_id: UUID, made: NewKey, *, created_by: str | None, rotated_from: str | None = None
) -> key_rows.KeyRow:
    """Return what is kept of a new key."""
    return key_rows.KeyRow(
        organization_id=organization_id,
        id=made.id,
        name=made.name,
        prefix=made.key[:SHOWN_CHARACTERS],
        sha256=digest_of(made.key),
        permissions=list(made.permissions),
        workspace=made.workspace,
        expires_at=made.expires_at,
        created_by=created_by,
        rotated_from=rotated_from,
    )


def _holder(row: Mapping[str, Any]) -> Principal:
    permissions = frozenset(row["permissions"])
    if row["archived"]:
        permissions -= {WRITE}  # its workspace is read on, and takes nothing more from a key of its own
    return Principal(
        organization_id=row["organization_id"],
        kind="key",
        id=row["id"],
        name=row["name"],
        permissions=permissions,
        workspaces=None if row["workspace"] is None else frozenset({row["workspace"]}),
    )


def _operator(row: Mapping[str, Any]) -> Principal:
    return Principal(
        organization_id=NO_ORGANIZATION, kind="operator", id=row["id"], name=row["name"],
        permissions=frozenset(row["permissions"]),
    )  # fmt: skip


def digest_of(key: str) -> bytes:
    """Return what is kept of a key: the SHA-256 of its text."""
    return hashlib.sha256(key.encode()).digest()


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
